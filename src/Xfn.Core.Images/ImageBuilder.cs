using System.Globalization;
using Microsoft.Extensions.Logging;
using Microsoft.Extensions.Logging.Abstractions;
using Xfn.Core.Images;
using Xfn.Core.Images.Targets;
using Xfn.Core.Interop;

namespace Xfn.Core;

/// <summary>Makes an OCI image: from nothing or on a base, of files, directories and published programs; no daemon, no
/// root, and the same bytes for the same input.</summary>
/// <remarks>
/// <para>A base is not unpacked: its layers go into the image as they are. What is added lies in at most four layers
/// above: the libraries of programs, the runtime of .NET, files, the package. All belong to root; modes are 0755 for
/// directories and programs and 0644 for the rest, unless a <see cref="LayerFile"/> says otherwise.</para>
/// <para>A builder may write the same image several times. It is not safe for concurrent use.</para>
/// </remarks>
public sealed class ImageBuilder
{
    private readonly RegistryOptions? _registry;
    private readonly IImageFetcher? _fetcher;
    private readonly ILogger _logger;

    /// <summary>Makes a builder.</summary>
    /// <param name="registry">How registries are reached, for bases and for pushes, with which credentials. Null, the
    /// default, for the defaults of <see cref="RegistryOptions"/>.</param>
    /// <param name="fetcher">Where bases come from. Null, the default, for registries, layouts and archives.</param>
    /// <param name="logger">Gets what was left out, and uploads that are taken up again. Null, the default, for
    /// none.</param>
    public ImageBuilder(RegistryOptions? registry = null, IImageFetcher? fetcher = null, ILogger? logger = null) =>
        (_registry, _fetcher, _logger) = (registry, fetcher, logger ?? NullLogger.Instance);

    /// <summary>Gets the registry meant by names without one, of bases and of targets.
    /// <see cref="ImageReference.DefaultRegistry"/> by default.</summary>
    public string DefaultRegistry { get; init; } = ImageReference.DefaultRegistry;

    internal ImageDescription Description { get; } = new();

    /// <summary>Begins with an image: its layers and its configuration, which later calls add to.</summary>
    /// <param name="image">The base: a name in a registry, <c>oci:PATH[:NAME]</c>, <c>oci-archive:PATH[:NAME]</c> or
    /// <c>docker-archive:PATH[:NAME]</c>. <c>scratch</c> is none, as in a Dockerfile.</param>
    /// <exception cref="FormatException">It is no reference.</exception>
    public ImageBuilder From(string image)
    {
        Description.Base = image == "scratch" ? null : ImageReference.Parse(image, DefaultRegistry);
        return this;
    }

    /// <summary>Sets the platform: which one of the base's is taken, and what the image says of itself. By default the
    /// added program's, else this machine's.</summary>
    /// <param name="platform">Such as <c>linux/arm64</c>.</param>
    /// <exception cref="ArgumentException">It is no platform.</exception>
    public ImageBuilder WithPlatform(string platform)
    {
        ArgumentNullException.ThrowIfNull(platform);
        Description.Platform = platform.Split('/') switch
        {
            [{ Length: > 0 } os, { Length: > 0 } architecture] => new Platform { Os = os, Architecture = architecture },
            [{ Length: > 0 } os, { Length: > 0 } architecture, { Length: > 0 } variant] => new Platform { Os = os, Architecture = architecture, Variant = variant },
            _ => throw new ArgumentException($"cannot use platform '{platform}': expected OS/ARCHITECTURE[/VARIANT]. Write it like linux/arm64."),
        };
        return this;
    }

    /// <summary>Adds a file, a directory or a symbolic link. It takes the place of what was added at its path.</summary>
    /// <param name="file">The file.</param>
    /// <exception cref="ArgumentException">Its path leads nowhere in an image.</exception>
    public ImageBuilder AddFile(LayerFile file)
    {
        ArgumentNullException.ThrowIfNull(file);
        Description.Files.Add(file);
        return this;
    }

    /// <summary>Adds a file of this machine. It can be executed if its owner may do so here.</summary>
    /// <param name="source">Its path on this machine.</param>
    /// <param name="path">Its path in the image.</param>
    /// <exception cref="ArgumentException">There is no such file, it is a device, a pipe or a socket, or the path leads
    /// nowhere in an image.</exception>
    public ImageBuilder AddFile(string source, string path)
    {
        if (!File.Exists(source))
            throw new ArgumentException($"cannot add file '{source}': {(Directory.Exists(source) ? "it is a directory. Use AddDirectory" : "there is no such file. Check the path")}.");
        if (HostPlatform.IsLinux && Posix.IsSpecialFile(source))
            throw new ArgumentException($"cannot add file '{source}': it is a device, a pipe or a socket. Name a regular file.");
        Description.Files.Add(FileTree.FileOf(source, path));
        return this;
    }

    /// <summary>Adds a directory of this machine with all that is in it. Symbolic links stay what they are.</summary>
    /// <param name="source">Its path on this machine. It is read when the image is written.</param>
    /// <param name="path">Its path in the image; <c>/</c> for the root.</param>
    /// <exception cref="ArgumentException">There is no such directory, or the path leads nowhere in an
    /// image.</exception>
    public ImageBuilder AddDirectory(string source, string path)
    {
        if (!Directory.Exists(source))
            throw new ArgumentException($"cannot add directory '{source}': {(File.Exists(source) ? "it is a file. Use AddFile" : "there is no such directory. Check the path")}.");
        Description.Files.AddTree(source, path);
        return this;
    }

    /// <summary>Adds what <c>dotnet publish</c> made, or another program for Linux, and makes it the entrypoint unless
    /// <see cref="WithEntrypoint"/> names another.</summary>
    /// <remarks>In an image from nothing the shared libraries that it needs come from this machine. On a base they are
    /// the base's. A program that needs .NET's runtime needs a base that has it, or
    /// <see cref="AddDotnetRuntime"/>.</remarks>
    /// <param name="published">The directory, in which there must be one program only; or the executable, which goes into
    /// the image alone unless it is a program of .NET in several files. Read when the image is written.</param>
    /// <param name="path">The directory in the image. <c>/app</c> by default.</param>
    /// <exception cref="ArgumentException">There is nothing there, or the path leads nowhere in an image.</exception>
    public ImageBuilder AddProgram(string published, string path = "/app")
    {
        if (!Path.Exists(published))
            throw new ArgumentException($"cannot add program '{published}': there is no such file or directory. Name what was published.");
        Description.Programs.Add(new AddedProgram(Path.GetFullPath(published), FileTree.Normalize(path)));
        return this;
    }

    /// <summary>Adds the runtime of .NET for programs that do not bring it (<c>--no-self-contained</c>): those of its
    /// frameworks that they need, from this machine, into <c>/usr/share/dotnet</c>.</summary>
    /// <param name="root">The directory that holds <c>dotnet</c>. Null, the default, for this machine's usual
    /// one.</param>
    public ImageBuilder AddDotnetRuntime(string? root = null)
    {
        (Description.AddsRuntime, Description.RuntimeRoot) = (true, root);
        return this;
    }

    /// <summary>Adds a Crossplane package's <c>package.yaml</c>, in a layer of its own that is marked as such. Written
    /// to <c>docker-archive:NAME.xpkg</c>, the image is what <c>crossplane xpkg push</c> takes.</summary>
    /// <remarks><see href="https://github.com/crossplane/crossplane/blob/main/contributing/specifications/xpkg.md">
    /// xpkg Specification</see>.</remarks>
    /// <param name="source">The file; or a directory with <c>crossplane.yaml</c>, whose other <c>*.yaml</c> files follow
    /// that in their order. It is read when the image is written.</param>
    /// <exception cref="ArgumentException">There is nothing there.</exception>
    public ImageBuilder WithPackage(string source)
    {
        if (!Path.Exists(source))
            throw new ArgumentException($"cannot add package '{source}': there is no such file or directory. Name package.yaml, or the directory with crossplane.yaml.");
        Description.Package = source;
        return this;
    }

    /// <summary>Sets the entrypoint: the program and its first arguments. The base's arguments go with its
    /// entrypoint.</summary>
    /// <param name="words">The words; none for no entrypoint.</param>
    public ImageBuilder WithEntrypoint(params IReadOnlyList<string> words)
    {
        ArgumentNullException.ThrowIfNull(words);
        Description.Entrypoint = [.. words];
        return this;
    }

    /// <summary>Sets the arguments behind the entrypoint (docker's <c>CMD</c>), which a run may replace.</summary>
    /// <param name="words">The words.</param>
    public ImageBuilder WithArguments(params IReadOnlyList<string> words)
    {
        ArgumentNullException.ThrowIfNull(words);
        Description.Arguments = [.. words];
        return this;
    }

    /// <summary>Sets an environment variable.</summary>
    /// <param name="name">Its name.</param>
    /// <param name="value">Its value.</param>
    /// <exception cref="ArgumentException">The name is empty, or has a <c>=</c>.</exception>
    public ImageBuilder WithEnvironment(string name, string value)
    {
        ArgumentNullException.ThrowIfNull(value);
        if (string.IsNullOrEmpty(name) || name.Contains('=') || (name + value).Contains('\0'))
            throw new ArgumentException($"cannot use variable '{name}': it has no name, or one with '=' or NUL. Write NAME=VALUE.");
        Description.Environment[name] = value;
        return this;
    }

    /// <summary>Sets the working directory. By default it is that of the program (<see cref="AddProgram"/>), where ASP.NET
    /// Core looks for its configuration; without one the base's, else <c>/</c>.</summary>
    /// <param name="path">An absolute path.</param>
    /// <exception cref="ArgumentException">It is not absolute.</exception>
    public ImageBuilder WithWorkingDirectory(string path)
    {
        Description.WorkingDirectory = Absolute(path, "working directory");
        return this;
    }

    /// <summary>Sets the user and group that the program runs as: names of the image's files, or numbers. The base's by
    /// default, else root.</summary>
    /// <param name="user"><c>USER[:GROUP]</c>.</param>
    public ImageBuilder WithUser(string user)
    {
        ArgumentException.ThrowIfNullOrWhiteSpace(user);
        Description.User = user;
        return this;
    }

    /// <summary>Sets a label of the configuration.</summary>
    /// <param name="name">Its name.</param>
    /// <param name="value">Its value.</param>
    public ImageBuilder WithLabel(string name, string value)
    {
        ArgumentException.ThrowIfNullOrEmpty(name);
        Description.Labels[name] = value;
        return this;
    }

    /// <summary>Sets an annotation of the manifest and, where there is one, of the index.</summary>
    /// <param name="name">Its name.</param>
    /// <param name="value">Its value.</param>
    public ImageBuilder WithAnnotation(string name, string value)
    {
        ArgumentException.ThrowIfNullOrEmpty(name);
        Description.Annotations[name] = value;
        return this;
    }

    /// <summary>Says that the program listens on a port.</summary>
    /// <param name="port">The port, 1 to 65,535.</param>
    /// <param name="protocol"><c>tcp</c>, the default, or <c>udp</c>.</param>
    /// <exception cref="ArgumentException">There is no such port or protocol.</exception>
    public ImageBuilder WithPort(int port, string protocol = "tcp")
    {
        if (port is < 1 or > ushort.MaxValue || protocol is not ("tcp" or "udp"))
            throw new ArgumentException($"cannot use port '{port.ToString(CultureInfo.InvariantCulture)}/{protocol}': expected 1 to 65535, and tcp or udp.");
        Description.Ports.Add($"{port.ToString(CultureInfo.InvariantCulture)}/{protocol}");
        return this;
    }

    /// <summary>Says that the program writes to a directory, which a run gives it.</summary>
    /// <param name="path">An absolute path.</param>
    /// <exception cref="ArgumentException">It is not absolute.</exception>
    public ImageBuilder WithVolume(string path)
    {
        Description.Volumes.Add(Absolute(path, "volume"));
        return this;
    }

    /// <summary>Sets the signal that asks the program to end. The base's by default, else SIGTERM.</summary>
    /// <param name="signal">Such as <c>SIGINT</c>.</param>
    public ImageBuilder WithStopSignal(string signal)
    {
        ArgumentException.ThrowIfNullOrWhiteSpace(signal);
        Description.StopSignal = signal;
        return this;
    }

    /// <summary>Sets how docker finds out whether the program is healthy, and <c>Ready.HealthCheck</c>.</summary>
    /// <param name="command">The program and its arguments, which exits with 0 when all is well.</param>
    /// <param name="interval">How often it is asked. Null, the default, for docker's 30 seconds.</param>
    /// <param name="timeout">How long it may take. Null, the default, for docker's 30 seconds.</param>
    /// <param name="retries">How many failures in a row count. Null, the default, for docker's 3.</param>
    /// <exception cref="ArgumentException">The command is empty.</exception>
    public ImageBuilder WithHealthcheck(IReadOnlyList<string> command, TimeSpan? interval = null, TimeSpan? timeout = null, int? retries = null)
    {
        ArgumentNullException.ThrowIfNull(command);
        if (command.Count == 0)
            throw new ArgumentException("cannot use the health check: its command is empty. Name a program of the image.");
        Description.Healthcheck = new Healthcheck([.. command], interval, timeout, retries);
        return this;
    }

    /// <summary>Sets the one time that all files have, and the configuration. By default that of the variable
    /// SOURCE_DATE_EPOCH, else 1970.</summary>
    /// <remarks><see href="https://reproducible-builds.org/specs/source-date-epoch/">SOURCE_DATE_EPOCH</see>.</remarks>
    /// <param name="time">The time; whole seconds count.</param>
    public ImageBuilder WithTime(DateTimeOffset time)
    {
        Description.Time = DateTimeOffset.FromUnixTimeSeconds(time.ToUnixTimeSeconds());
        return this;
    }

    /// <summary>Writes the image. Whatever fails, the target is as it was, but for layers that nothing names.</summary>
    /// <param name="target">Where to: <c>oci:PATH[:NAME]</c>, a layout, which is made if need be;
    /// <c>oci-archive:PATH[:NAME]</c> or <c>docker-archive:PATH[:NAME]</c>, a file, which is replaced; or a name in a
    /// registry, to which the image is pushed.</param>
    /// <param name="progress">Gets how far the layers are. Null, the default, for none.</param>
    /// <param name="cancellationToken">Ends the work.</param>
    /// <returns>The target, by digest where it has some.</returns>
    /// <exception cref="FormatException">The target is no reference.</exception>
    /// <exception cref="XfnException">The image cannot be made, its base not be fetched, or the target not be
    /// written.</exception>
    public Task<ImageReference> WriteToAsync(string target, IProgress<WriteProgress>? progress = null, CancellationToken cancellationToken = default) =>
        WriteIndexToAsync([this], target, progress, cancellationToken);

    /// <summary>Writes images for several platforms under one name.</summary>
    /// <param name="images">The images, each for another platform. The registries are reached as the first one
    /// says. A single one is written without an index.</param>
    /// <param name="target">Where to, as <see cref="WriteToAsync"/> has it. A <c>docker-archive</c> has one platform
    /// only.</param>
    /// <param name="progress">Gets how far the layers are. Null, the default, for none.</param>
    /// <param name="cancellationToken">Ends the work.</param>
    /// <returns>The target, by digest where it has some.</returns>
    /// <exception cref="ArgumentException">There are no images, or two for one platform.</exception>
    /// <exception cref="FormatException">The target is no reference.</exception>
    /// <exception cref="XfnException">An image cannot be made, its base not be fetched, or the target not be
    /// written.</exception>
    public static async Task<ImageReference> WriteIndexToAsync(
        IReadOnlyList<ImageBuilder> images, string target, IProgress<WriteProgress>? progress = null, CancellationToken cancellationToken = default)
    {
        ArgumentNullException.ThrowIfNull(images);
        ArgumentNullException.ThrowIfNull(target);
        if (images.Count == 0)
            throw new ArgumentException("cannot write an image of no platform: expected at least one builder.");
        ImageBuilder first = images[0];
        ImageReference reference = ImageReference.Parse(target, first.DefaultRegistry);
        if (!reference.Digest.IsEmpty)
            throw new ArgumentException($"cannot write image '{target}': the digest is what comes out. Leave '@' and what follows it out.");
        return await WriteAsync(
            images,
            () => reference.Transport switch
            {
                "oci" => new LayoutTarget(reference),
                "docker" => new PushTarget(reference, first._registry, first._logger),
                _ => new ArchiveTarget(reference),
            },
            progress,
            cancellationToken).ConfigureAwait(false);
    }

    /// <summary>Adds the image to those in memory, its base's layers too.</summary>
    /// <param name="images">What gets it.</param>
    /// <param name="name">The image's reference there.</param>
    /// <param name="cancellationToken">Ends the work.</param>
    /// <returns>The reference, by digest.</returns>
    /// <exception cref="FormatException">The name is no reference.</exception>
    /// <exception cref="XfnException">The image cannot be made, or its base not be fetched.</exception>
    public Task<ImageReference> AddToAsync(InMemoryImageFetcher images, string name, CancellationToken cancellationToken = default)
    {
        ArgumentNullException.ThrowIfNull(images);
        ImageReference reference = ImageReference.Parse(name, DefaultRegistry);
        return WriteAsync([this], () => new MemoryTarget(reference, images), null, cancellationToken);
    }

    private static async Task<ImageReference> WriteAsync(
        IReadOnlyList<ImageBuilder> images, Func<ImageTarget> makeTarget, IProgress<WriteProgress>? progress, CancellationToken cancellationToken)
    {
        var usual = new List<DefaultImageFetcher>();
        try
        {
            IImageFetcher FetcherOf(ImageBuilder image)
            {
                if (image._fetcher is { } given)
                    return given;
                usual.Add(new DefaultImageFetcher(image._registry, image._logger));
                return usual[^1];
            }

            // All that may be wrong is looked at before anything is written.
            var plans = new List<ImagePlan>();
            foreach (ImageBuilder image in images)
                plans.Add(await ImagePlan.MakeAsync(image.Description, image.Description.Base is null ? null : FetcherOf(image), image._logger, cancellationToken).ConfigureAwait(false));
            if (plans.GroupBy(plan => plan.Platform).FirstOrDefault(same => same.Count() > 1) is { } twice)
                throw new ArgumentException($"cannot write an image twice for platform {twice.Key}: expected another platform for each. Set them with WithPlatform.");
            ImageTarget target = makeTarget();
            await using (target.ConfigureAwait(false))
            {
                using var writer = new ImageWriter(target, progress);
                return await writer.WriteAsync(plans, cancellationToken).ConfigureAwait(false);
            }
        }
        finally
        {
            usual.ForEach(fetcher => fetcher.Dispose());
        }
    }

    private static string Absolute(string path, string what) => path is ['/', ..]
        ? path
        : throw new ArgumentException($"cannot use {what} '{path}': it is not absolute. Begin it with '/'.");
}
