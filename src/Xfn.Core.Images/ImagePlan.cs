using System.Globalization;
using Microsoft.Extensions.Logging;
using Xfn.Core.Images.Programs;

namespace Xfn.Core.Images;

/// <summary>A layer that is to be made.</summary>
/// <param name="Name">What it holds.</param>
/// <param name="Files">Its files, in their order.</param>
internal sealed record PlannedLayer(string Name, IReadOnlyList<LayerFile> Files)
{
    /// <summary>What marks a package's layer in a manifest, and in a configuration's labels before its digest.</summary>
    public const string PackageMark = "io.crossplane.xpkg";

    public const string Package = "package";

    /// <summary>How many bytes its files have. Fails for a file that is gone.</summary>
    public long Bytes => Files.Sum(file => file.SourcePath is { } path ? new FileInfo(path).Length : file.Content.Length);
}

/// <summary>An image of one platform, found to be possible: nothing of it is written yet.</summary>
internal sealed record ImagePlan(ImageDescription Description, Platform Platform, BaseImage? Base, IReadOnlyList<PlannedLayer> Layers, ImageDefaults Defaults, DateTimeOffset Time)
{
    /// <exception cref="XfnException">The image cannot be made, or its base not be fetched.</exception>
    public static async Task<ImagePlan> MakeAsync(ImageDescription description, IImageFetcher? fetcher, ILogger logger, CancellationToken cancellationToken)
    {
        PublishedProgram[] programs = [.. description.Programs.Select(PublishedProgram.Read)];
        Platform wanted = PlatformOf(description, programs);
        BaseImage? from = description.Base is { } reference ? await BaseImage.FetchAsync(reference, wanted, fetcher!, cancellationToken).ConfigureAwait(false) : null;
        Platform platform = from?.Platform ?? (description.Platform is null ? wanted with { Variant = null } : wanted);

        DotnetRuntime? runtime = description.AddsRuntime ? DotnetRuntime.Find(description.RuntimeRoot, programs) : null;
        if (runtime is null && from is null && programs.FirstOrDefault(program => program.Frameworks.Count > 0) is { } dependent)
        {
            throw Fault.Of($"cannot make an image of '{dependent.Path}': it needs {dependent.Frameworks[0]}, which an image from nothing lacks. "
                + "Publish it with --self-contained, name a base that has it (From, --from), or add this machine's (AddDotnetRuntime, --add-runtime).");
        }

        // A base's directories have owners and modes that are not known here.
        HashSet<string>? directories = from is null ? [] : null;
        var layers = new List<PlannedLayer>();
        void Add(string name, FileTree files)
        {
            if (!files.IsEmpty)
                layers.Add(new PlannedLayer(name, files.Sorted(directories)));
        }

        bool lacksCultures = false;
        if (from is null)
        {
            SystemLibraries libraries = SystemLibraries.Of(programs, runtime, platform, logger);
            lacksCultures = libraries.LacksCultures;
            Add("libraries", libraries.Files);
        }

        if (runtime is not null)
            Add("runtime", runtime.Files);
        var files = new FileTree();
        foreach (PublishedProgram program in programs)
            program.AddTo(files);
        files.Add(description.Files);
        Add("files", files);
        if (description.Package is { } package)
            Add(PlannedLayer.Package, PackageFile.Read(package));
        if (from is null && layers.Count == 0)
            throw Fault.Of("cannot make an image of nothing: expected a file, a program or a base. Add one (AddFile, AddProgram, From; on the command line PROGRAM, --copy, --from).");

        var environment = new Dictionary<string, string>();
        if (runtime is not null)
            environment["DOTNET_ROOT"] = "/" + DotnetRuntime.Directory;
        if (lacksCultures)
            environment["DOTNET_SYSTEM_GLOBALIZATION_INVARIANT"] = "1";
        return new ImagePlan(description, platform, from, layers, new ImageDefaults(programs.LastOrDefault()?.EntrypointWith(runtime), programs.LastOrDefault()?.Directory, environment), description.Time ?? SourceDate());
    }

    private static Platform PlatformOf(ImageDescription description, PublishedProgram[] programs)
    {
        string? architecture = null;
        foreach (PublishedProgram program in programs.Where(program => program.Architecture is not null))
        {
            architecture ??= description.Platform?.Architecture ?? program.Architecture;
            if (program.Architecture != architecture)
                throw Fault.Of($"cannot make an image for {description.Platform?.ToString() ?? "linux/" + architecture}: '{program.Path}' is for {program.Architecture}. Publish it for that platform, or make an image for each.");
        }

        return description.Platform
            ?? (architecture is null || architecture == PlatformSelector.Host.Architecture ? PlatformSelector.Host : new Platform { Os = "linux", Architecture = architecture });
    }

    private static DateTimeOffset SourceDate()
    {
        const string variable = "SOURCE_DATE_EPOCH";
        if (Environment.GetEnvironmentVariable(variable) is not { Length: > 0 } text)
            return DateTimeOffset.UnixEpoch;
        return long.TryParse(text, NumberStyles.None, CultureInfo.InvariantCulture, out long seconds) && seconds <= uint.MaxValue
            ? DateTimeOffset.FromUnixTimeSeconds(seconds)
            : throw Fault.Of($"cannot use {variable} '{text}': expected seconds since 1970, at most {uint.MaxValue}. Unset it, or correct it.");
    }
}

/// <summary>What holds unless a user says otherwise.</summary>
internal sealed record ImageDefaults(IReadOnlyList<string>? Entrypoint, string? WorkingDirectory, IReadOnlyDictionary<string, string> Environment);

/// <summary>The layer of a Crossplane package: <c>package.yaml</c>.</summary>
internal static class PackageFile
{
    public static FileTree Read(string source)
    {
        var files = new FileTree();
        files.Add(new LayerFile("package.yaml") { Content = System.Text.Encoding.UTF8.GetBytes(ReadText(source)), Mode = (UnixFileMode)0b110_100_100 });
        return files;
    }

    private static string ReadText(string source)
    {
        try
        {
            if (!Directory.Exists(source))
                return NotEmpty(source, File.ReadAllText(source));
            string first = Path.Combine(source, "crossplane.yaml");
            if (!File.Exists(first))
                throw Fault.Of($"cannot add package '{source}': there is no crossplane.yaml in it. Write one, with the package's kind and name.");
            IEnumerable<string> others = Directory.GetFiles(source).Where(file => file != first && Path.GetExtension(file) is (".yaml" or ".yml")).Order(StringComparer.Ordinal);
            return string.Join("\n---\n", others.Prepend(first).Select(file => NotEmpty(file, File.ReadAllText(file)).Trim())) + "\n";
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            throw Fault.Of($"cannot read package '{source}': {e.Message.TrimEnd('.')}. Make it readable.", e);
        }
    }

    private static string NotEmpty(string file, string text) =>
        string.IsNullOrWhiteSpace(text) ? throw Fault.Of($"cannot add package file '{file}': it is empty. Write the package's objects into it.") : text;
}
