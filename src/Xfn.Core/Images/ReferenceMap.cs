using System.Buffers;
using System.Collections.Concurrent;
using System.Security.Cryptography;
using System.Text;
using Microsoft.Win32.SafeHandles;
using Xfn.Core.Cache;
using Xfn.Core.Sources;

namespace Xfn.Core.Images;

/// <summary>What references led to when their source was last asked. The cache has it by the source's name, so that no
/// source answers for another; where the source has none, it is only kept here.</summary>
internal sealed class ReferenceMap(CacheDirectory cache, IImageFetcher fetcher, Platform platform)
{
    /// <summary>More than the longest path and two digests.</summary>
    private const int MaxBytes = 8 << 10;

    // More references than a program runs again and again.
    private const int MostKept = 1024;

    private readonly ConcurrentDictionary<ImageReference, ResolvedReference> _unnamed = new();
    private readonly ConcurrentDictionary<string, string> _headers = new();

    /// <summary>What a reference was resolved to when it was last; null when it never was.</summary>
    public ResolvedReference? Read(ImageReference reference)
    {
        if (fetcher.SourceOf(reference) is not { } source)
            return _unnamed.GetValueOrDefault(reference);

        // Earlier versions knew no levels of a processor, and chose what runs on all of them.
        return Read(PathOf(reference, source, platform), source)
            ?? (platform is { Architecture: "amd64", Variant: not null } ? Read(PathOf(reference, source, platform with { Variant = null }), source) : null);
    }

    private ResolvedReference? Read(string path, string source)
    {
        byte[] content = ArrayPool<byte>.Shared.Rent(MaxBytes);
        try
        {
            // Read each time, as another process may have resolved it anew. All but ReadWrite would make .NET lock it.
            using SafeFileHandle file = File.OpenHandle(path, FileMode.Open, FileAccess.Read, FileShare.ReadWrite);
            return ResolvedReference.Parse(content.AsSpan(0, RandomAccess.Read(file, content.AsSpan(0, MaxBytes), 0)), HeaderOf(source));
        }
        catch (FileNotFoundException)
        {
            return null;
        }
        finally
        {
            ArrayPool<byte>.Shared.Return(content);
        }
    }

    public void Write(ImageReference reference, ResolvedReference resolved)
    {
        if (fetcher.SourceOf(reference) is { } source)
        {
            cache.Write(PathOf(reference, source, platform), Encoding.UTF8.GetBytes($"{HeaderOf(source)}\n{reference} {platform}\n{resolved.Top}\n{resolved.Manifest}\n"));
            return;
        }

        if (_unnamed.Count >= MostKept)
            _unnamed.Clear();
        _unnamed[reference] = resolved;
    }

    /// <summary>What the cache says of references of all sources, by the manifest that each leads to.</summary>
    public ILookup<Digest, StoredReference> List() => Directory.EnumerateFiles(cache.References)
        .Select(path => (Path: path, Lines: ReadLines(path)))
        .Where(r => r.Lines is [_, _, _, _] && r.Lines[0].StartsWith(ResolvedReference.FormatStart, StringComparison.Ordinal) && r.Lines[1].Contains(' ', StringComparison.Ordinal))
        .Select(r => (Reference: new StoredReference(r.Lines![1][..r.Lines[1].LastIndexOf(' ')], r.Lines[0], r.Path), Valid: Digest.TryParse(r.Lines[3], out Digest manifest), Manifest: manifest))
        .Where(r => r.Valid)
        .ToLookup(r => r.Manifest, r => r.Reference);

    /// <summary>The names by which this runner knows images, by their manifests.</summary>
    public ILookup<Digest, string> ListNames() => List()
        .SelectMany(image => image.Where(IsOfOurSource).Select(reference => (Manifest: image.Key, reference.Name)))
        .Concat(_unnamed.Select(reference => (reference.Value.Manifest, Name: reference.Key.ToString())))
        .ToLookup(reference => reference.Manifest, reference => reference.Name);

    /// <summary>Forgets what a reference was resolved to.</summary>
    /// <returns>How many bytes of the disk that gave back.</returns>
    public static long Remove(StoredReference reference) => CountedRemoval.RemoveFile(reference.Path);

    /// <summary>Forgets a name by which this runner knows an image.</summary>
    /// <returns>How many bytes of the disk that gave back.</returns>
    public long Remove(Digest manifest, string name) => List()[manifest].Where(r => r.Name == name && IsOfOurSource(r)).Sum(Remove);

    private bool IsOfOurSource(StoredReference known) =>
        ImageReference.TryParse(known.Name, ImageReference.DefaultRegistry, out ImageReference? reference, out _)
        && fetcher.SourceOf(reference) is { } source && HeaderOf(source) == known.Header;

    /// <summary>A source's name may be long, or hold line ends; its digest does not.</summary>
    private string HeaderOf(string source) => source == NamedSource.Itself
        ? ResolvedReference.Format
        : _headers.GetOrAdd(source, static s => $"{ResolvedReference.FormatStart}2 {Convert.ToHexStringLower(SHA256.HashData(Encoding.UTF8.GetBytes(s)))}");

    private string PathOf(ImageReference reference, string source, Platform platform) => Path.Combine(
        cache.References,
        Convert.ToHexStringLower(SHA256.HashData(Encoding.UTF8.GetBytes(source == NamedSource.Itself ? $"{reference} {platform}" : $"{reference} {platform}\n{source}"))));

    private static string[]? ReadLines(string path)
    {
        try
        {
            return File.ReadAllLines(path);
        }
        catch (FileNotFoundException)
        {
            return null;
        }
    }
}

/// <summary>What a reference was resolved to: the manifest or index that the source has under it, and the manifest that
/// was chosen, the same where there was nothing to choose.</summary>
internal sealed record ResolvedReference(Digest Top, Digest Manifest)
{
    /// <summary>How the first of an entry's four lines begins. The reference and its result follow.</summary>
    public const string FormatStart = "xfn reference ";

    /// <summary>That line, where the source is the one that the reference itself names.</summary>
    public const string Format = FormatStart + "1";

    /// <summary>Reads an entry's four lines, of which the first is a header; null when they are something
    /// else.</summary>
    public static ResolvedReference? Parse(ReadOnlySpan<byte> content, string header = Format)
    {
        Span<Range> lines = stackalloc Range[6];
        char[] text = ArrayPool<char>.Shared.Rent(content.Length);
        try
        {
            ReadOnlySpan<char> all = text.AsSpan(0, Encoding.UTF8.GetChars(content, text));
            return all.Split(lines, '\n') == 5 && all[lines[0]].SequenceEqual(header) && all[lines[4]].IsEmpty
                && Digest.TryParse(all[lines[2]], out Digest top) && Digest.TryParse(all[lines[3]], out Digest manifest)
                ? new ResolvedReference(top, manifest)
                : null;
        }
        finally
        {
            ArrayPool<char>.Shared.Return(text);
        }
    }
}

/// <summary>A reference that was resolved, what tells its source from others, and the file that says what to.</summary>
internal sealed record StoredReference(string Name, string Header, string Path);
