using System.Formats.Tar;
using System.Text.Json;

namespace Xfn.Core.Images.Targets;

/// <summary>A layout as a tar file; with a <c>manifest.json</c>, as docker writes and loads it.</summary>
/// <remarks>Docker's archives have been both since version 25. Layers stay compressed, so that their digests are those of
/// the manifest.</remarks>
internal sealed class ArchiveTarget : ImageTarget
{
    private readonly string _temporary;
    private readonly FileStream _file;
    private readonly TarWriter _tar;

    public ArchiveTarget(ImageReference reference)
        : base(reference)
    {
        string path = reference.Repository;
        if (Directory.Exists(path))
            throw Fault.Of($"cannot write image '{reference}': '{path}' is a directory. Name a file, or write oci:{path}.");
        _temporary = Path.Combine(Path.GetDirectoryName(path)!, $".xfn-archive-{Guid.NewGuid():N}");
        try
        {
            _file = new FileStream(_temporary, FileMode.CreateNew, FileAccess.Write, FileShare.None, 128 << 10);
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            throw Fault.Of($"cannot write image '{reference}': {e.Message.TrimEnd('.')}. Name a file in a directory that exists and can be written to.", e);
        }

        _tar = new TarWriter(_file, TarEntryFormat.Ustar, leaveOpen: true);
    }

    public override async Task<bool> WriteBlobAsync(ImageBlob blob, CancellationToken cancellationToken)
    {
        // The archive's writer takes streams that know their length: what is not in a file is put into one.
        Spool? copy = blob.From is null ? null : MakeSpool();
        try
        {
            if (copy is not null)
                await blob.CopyToAsync(copy.Stream, cancellationToken).ConfigureAwait(false);
            Stream content = copy?.Stream ?? await blob.OpenAsync(0, cancellationToken).ConfigureAwait(false);
            content.Position = 0;
            await using (content.ConfigureAwait(false))
                await AddAsync(NameOf(blob.Descriptor.Digest), content, cancellationToken).ConfigureAwait(false);
            return true;
        }
        finally
        {
            if (copy is not null)
                await copy.DisposeAsync().ConfigureAwait(false);
        }
    }

    public override async Task<ImageReference> FinishAsync(NamedDocument top, IReadOnlyList<NamedDocument> others, CancellationToken cancellationToken)
    {
        bool isDockers = Reference.Transport == "docker-archive";
        if (isDockers && others.Count > 0)
            throw Fault.Of($"cannot write image '{Reference}': it is for {others.Count} platforms, and docker's archives have one. Write oci-archive:{Reference.Repository}.");
        foreach (NamedDocument document in others.Append(top))
            await AddAsync(NameOf(document.Descriptor.Digest), document.Content, cancellationToken).ConfigureAwait(false);
        await AddAsync(LayoutTarget.IndexName, LayoutTarget.IndexOf(Reference, top, []), cancellationToken).ConfigureAwait(false);
        await AddAsync(LayoutTarget.Marker, LayoutTarget.MarkerContent, cancellationToken).ConfigureAwait(false);
        if (isDockers)
            await AddAsync("manifest.json", DockersIndex(top), cancellationToken).ConfigureAwait(false);
        await _tar.DisposeAsync().ConfigureAwait(false);
        await _file.DisposeAsync().ConfigureAwait(false);
        File.Move(_temporary, Reference.Repository, overwrite: true);
        return isDockers ? Reference : Reference.WithDigest(top.Descriptor.Digest);
    }

    public override async ValueTask DisposeAsync()
    {
        // Its end would be written even then.
        await _file.DisposeAsync().ConfigureAwait(false);
        File.Delete(_temporary);
        await base.DisposeAsync().ConfigureAwait(false);
    }

    private byte[] DockersIndex(NamedDocument top)
    {
        ImageManifest manifest = OciJson.ParseManifest(top.Content);
        using var stream = new MemoryStream();
        using (var json = new Utf8JsonWriter(stream))
        {
            json.WriteStartArray();
            json.WriteStartObject();
            json.WriteString("Config", NameOf(manifest.Config.Digest));
            json.WriteStartArray("RepoTags");
            if (Reference.Tag is { } name)
                json.WriteStringValue(name.LastIndexOf(':') > name.LastIndexOf('/') ? name : name + ":latest");
            json.WriteEndArray();
            json.WriteStartArray("Layers");
            foreach (Descriptor layer in manifest.Layers)
                json.WriteStringValue(NameOf(layer.Digest));
            json.WriteEndArray();
            json.WriteEndObject();
            json.WriteEndArray();
        }

        return stream.ToArray();
    }

    private static string NameOf(Digest digest) => $"blobs/{digest.Algorithm}/{digest.Hex}";

    private async Task AddAsync(string name, byte[] content, CancellationToken cancellationToken)
    {
        using var stream = new MemoryStream(content, writable: false);
        await AddAsync(name, stream, cancellationToken).ConfigureAwait(false);
    }

    private Task AddAsync(string name, Stream content, CancellationToken cancellationToken) => _tar.WriteEntryAsync(
        new GnuTarEntry(TarEntryType.RegularFile, name) { Mode = (UnixFileMode)0b110_100_100, ModificationTime = DateTimeOffset.UnixEpoch, DataStream = content }, cancellationToken);
}
