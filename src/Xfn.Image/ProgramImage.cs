using Xfn.Core;

namespace Xfn.Image;

/// <summary>No image can be made; the message says of what and why.</summary>
internal sealed class ImageWriterException(string message) : Exception(message);

/// <summary>An image of a published program: its directory above, the shared libraries it needs below.</summary>
/// <remarks>Two layers: a machine's programs share the libraries, which seldom change: a cache has one copy.</remarks>
internal sealed class ProgramImage(string program)
{
    private const string ProgramDirectory = "app";

    public IReadOnlyList<string> Arguments { get; init; } = [];

    public string? User { get; init; }

    public IReadOnlyList<string> Environment { get; init; } = [];

    /// <summary>Writes layers, configuration and manifest, and names the manifest <paramref name="tag"/>.</summary>
    /// <returns>The manifest's digest.</returns>
    /// <exception cref="ImageWriterException">The program is no ELF file, or a library it needs is missing.</exception>
    public Digest WriteTo(OciLayout layout, string? tag)
    {
        if (!File.Exists(program))
            throw new ImageWriterException($"cannot make an image of '{program}': there is no such file. Name the executable that was published.");

        string published = Path.GetDirectoryName(Path.GetFullPath(program))!;
        string architecture = ElfFile.ArchitectureOf(program)
            ?? throw new ImageWriterException($"cannot make an image of '{program}': it is no ELF executable. Publish the program for Linux as NativeAOT or self-contained.");

        string[] files = Directory.GetFiles(published, "*", SearchOption.AllDirectories);
        HashSet<string> programs = [.. files.Where(path => ElfFile.ArchitectureOf(path) is not null)];
        List<LayerFile> programLayer = [.. files.Select(path => new LayerFile($"{ProgramDirectory}/{Path.GetRelativePath(published, path)}", path, programs.Contains(path)))];
        List<LayerFile> libraryLayer = [.. programs
            .SelectMany(SharedLibraries.Of)
            .Distinct()
            .Where(path => !path.StartsWith(published + "/", StringComparison.Ordinal))
            .Select(path => new LayerFile(path.TrimStart('/'), path, Executable: true))];

        WrittenLayer[] layers = [.. new[] { libraryLayer, programLayer }.Where(layer => layer.Count > 0).Select(layout.WriteLayer)];
        var config = new ImageConfig
        {
            Os = "linux",
            Architecture = architecture,
            Config = new ImageExecutionConfig
            {
                User = User,
                Env = Environment.Count > 0 ? Environment : null,
                Entrypoint = [$"/{ProgramDirectory}/{Path.GetFileName(program)}", .. Arguments],
                WorkingDir = "/",
            },
            RootFs = new ImageRootFs { DiffIds = [.. layers.Select(layer => layer.DiffId)] },
        };
        var manifest = new ImageManifest
        {
            MediaType = MediaTypes.OciManifest,
            Config = layout.WriteBlob(MediaTypes.OciConfig, OciJson.Serialize(config)),
            Layers = [.. layers.Select(layer => layer.Descriptor)],
        };
        Descriptor written = layout.WriteBlob(MediaTypes.OciManifest, OciJson.Serialize(manifest));
        layout.Tag(written, tag);
        return written.Digest;
    }
}
