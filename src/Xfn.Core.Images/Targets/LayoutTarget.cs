using System.Text;
using System.Text.Json;

namespace Xfn.Core.Images.Targets;

/// <summary>A directory that holds images.</summary>
/// <remarks>Every file is written under another name and renamed, so that readers find it whole or not at all. See
/// <see href="https://github.com/opencontainers/image-spec/blob/v1.1.1/image-layout.md">image-spec, Image
/// Layout</see>.</remarks>
internal sealed class LayoutTarget : ImageTarget
{
    public const string Marker = "oci-layout";
    public const string IndexName = "index.json";

    private readonly string _directory;
    private readonly bool _isLayout;
    private string? _made;

    /// <exception cref="XfnException">The directory holds something else.</exception>
    public LayoutTarget(ImageReference reference)
        : base(reference)
    {
        _directory = reference.Repository;
        _isLayout = File.Exists(At(Marker));
        if (File.Exists(_directory))
            throw Fault.Of($"cannot write image '{reference}': '{_directory}' is a file. Name a directory, or write oci-archive:{_directory}.");
        if (!_isLayout && Directory.Exists(_directory) && Directory.EnumerateFileSystemEntries(_directory).Any())
            throw Fault.Of($"cannot write image '{reference}': '{_directory}' is not empty, and no OCI layout. Name another directory.");
    }

    public static byte[] MarkerContent { get; } = Encoding.UTF8.GetBytes("""{"imageLayoutVersion":"1.0.0"}""");

    public override Spool MakeSpool()
    {
        MakeDirectory();
        return Spool.InFile(_directory);
    }

    public override async Task<bool> WriteBlobAsync(ImageBlob blob, CancellationToken cancellationToken)
    {
        MakeDirectory();
        string path = BlobPath(blob.Descriptor.Digest);
        if (new FileInfo(path) is { Exists: true } there && there.Length == blob.Descriptor.Size)
            return false;
        if (blob.Spool is { } spool)
        {
            await spool.MoveToAsync(path).ConfigureAwait(false);
            return true;
        }

        Spool copy = Spool.InFile(_directory);
        await using (copy.ConfigureAwait(false))
        {
            await blob.CopyToAsync(copy.Stream, cancellationToken).ConfigureAwait(false);
            await copy.MoveToAsync(path).ConfigureAwait(false);
        }

        return true;
    }

    /// <remarks>What had the name before stays as a blob.</remarks>
    public override Task<ImageReference> FinishAsync(NamedDocument top, IReadOnlyList<NamedDocument> others, CancellationToken cancellationToken)
    {
        cancellationToken.ThrowIfCancellationRequested();
        foreach (NamedDocument document in others.Append(top))
            Replace(BlobPath(document.Descriptor.Digest), document.Content);
        IReadOnlyList<Descriptor> before = File.Exists(At(IndexName)) ? ReadIndex() : [];
        Replace(At(IndexName), IndexOf(Reference, top, before));
        Replace(At(Marker), MarkerContent);
        _made = null;
        return Task.FromResult(Reference.WithDigest(top.Descriptor.Digest));
    }

    public override async ValueTask DisposeAsync()
    {
        // A layout without an image is no use to anybody.
        if (_made is not null)
            Directory.Delete(_made, recursive: true);
        await base.DisposeAsync().ConfigureAwait(false);
    }

    /// <summary>An index in which a document takes the place of what had its name.</summary>
    public static byte[] IndexOf(ImageReference reference, NamedDocument top, IReadOnlyList<Descriptor> before)
    {
        string? name = reference.Tag;
        Descriptor named = top.Descriptor with { Annotations = name is null ? null : new Dictionary<string, string> { [RefName] = name } };
        return OciJson.Serialize(new ImageIndex { MediaType = MediaTypes.OciIndex, Manifests = [.. before.Where(other => other.Annotations?.GetValueOrDefault(RefName) != name), named] });
    }

    private IReadOnlyList<Descriptor> ReadIndex()
    {
        try
        {
            return OciJson.ParseIndex(File.ReadAllBytes(At(IndexName))).Manifests;
        }
        catch (JsonException e)
        {
            throw Fault.Of($"cannot write image '{Reference}': its index.json is no index: {e.Message.TrimEnd('.')}. Name another directory.", e);
        }
    }

    private string BlobPath(Digest digest)
    {
        Directory.CreateDirectory(At($"blobs/{digest.Algorithm}"));
        return At($"blobs/{digest.Algorithm}/{digest.Hex}");
    }

    /// <summary>Makes the directory, and remembers the uppermost that was made for it.</summary>
    private void MakeDirectory()
    {
        if (_isLayout || _made is not null || Directory.Exists(_directory))
            return;
        string made = _directory;
        while (Path.GetDirectoryName(made) is { } parent && !Directory.Exists(parent))
            made = parent;
        Directory.CreateDirectory(_directory);
        _made = made;
    }

    private string At(string name) => Path.Combine(_directory, name);

    private void Replace(string path, byte[] content)
    {
        string temporary = At($".xfn-file-{Guid.NewGuid():N}");
        File.WriteAllBytes(temporary, content);
        File.Move(temporary, path, overwrite: true);
    }
}
