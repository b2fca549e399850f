namespace Xfn.Core;

/// <summary>Turns an image and a request into what an OCI runtime needs to run it.</summary>
public interface IBundleBuilder
{
    /// <summary>Builds a bundle. Called for every run, so quick; the result may be shared between runs.</summary>
    /// <param name="context">The image and how it is to be run.</param>
    /// <exception cref="InvalidImageException">The image cannot be run: it has no entrypoint, or its user is unknown.</exception>
    /// <exception cref="InvalidRequestException">The request cannot be met.</exception>
    Bundle Build(BundleContext context);
}

/// <summary>What a bundle is made from.</summary>
public sealed record BundleContext
{
    /// <summary>The image's name, for messages.</summary>
    public required ImageReference Reference { get; init; }

    /// <summary>The image's configuration.</summary>
    public required ImageConfig Image { get; init; }

    /// <summary>The image's <c>/etc/passwd</c>; empty when it has none, or the configured user needs none.</summary>
    public ReadOnlyMemory<byte> Passwd { get; init; }

    /// <summary>The image's <c>/etc/group</c>; likewise.</summary>
    public ReadOnlyMemory<byte> Group { get; init; }

    /// <summary>How to run it.</summary>
    public required RunFunctionConfig Config { get; init; }

    /// <summary>The ids of the user namespace it will run in.</summary>
    public required IdMapping Mapping { get; init; }
}

/// <summary>A runtime specification, and what its root file system needs besides the image's layers.</summary>
public sealed record Bundle
{
    /// <summary>The runtime's <c>config.json</c>, in UTF-8. Its <c>root.path</c> is <c>rootfs</c>; the root is mounted there before the runtime starts.</summary>
    /// <remarks><see href="https://github.com/opencontainers/runtime-spec/blob/v1.2.0/config.md">runtime-spec, Configuration</see>.</remarks>
    public required ReadOnlyMemory<byte> RuntimeConfig { get; init; }

    /// <summary>Directories that must be real directories in the root, whatever the image has there: mount points. Relative to the root, parents first.</summary>
    public IReadOnlyList<string> MountPoints { get; init => field = value ?? []; } = [];

    /// <summary>Files that must be real files in the root, whatever the image has there: mount points of single files. Relative to the root; their directories
    /// are in <see cref="MountPoints"/>.</summary>
    public IReadOnlyList<string> FileMountPoints { get; init => field = value ?? []; } = [];

    /// <summary>Directories made where the image has nothing: the working directory. Relative to the root, parents first.</summary>
    public IReadOnlyList<string> Directories { get; init => field = value ?? []; } = [];

    /// <summary>Files that are made for the run, whatever the image has there. None by default.</summary>
    /// <remarks>Where the image has something other than a directory on a file's way, as a link, the file is mounted over what
    /// the way leads to; a file whose way leads nowhere is left out.</remarks>
    public IReadOnlyList<BundleFile> Files { get; init; } = [];

    /// <summary>Directories that can be written to, each with the image's content, owner and mode, if the root cannot be.
    /// Relative to the root, each once; those that the image may lack are in <see cref="Directories"/> too. None by default.</summary>
    /// <remarks><see href="https://github.com/opencontainers/image-spec/blob/v1.1.1/conversion.md">image-spec, Conversion to
    /// OCI Runtime Configuration</see>.</remarks>
    public IReadOnlyList<string> Volumes { get; init; } = [];

    /// <summary>How many bytes all <see cref="Volumes"/> together may have, in memory, besides what the image has in
    /// them.</summary>
    public long VolumeBytes { get; init; }

    /// <summary>Bytes of a writable directory, in memory, over the image's layers; 0 for a root that is mounted read-only.</summary>
    public long WritableRootBytes { get; init; }

    /// <summary>Whether the container may be made under the runner's own <c>/proc</c> where the kernel refuses a fresh one; false is an error then. The runtime's
    /// <c>config.json</c> must bind <c>/proc</c>, for it would be refused a fresh one too.</summary>
    public bool OuterProc { get; init; }
}

/// <summary>A file that is made for a run.</summary>
/// <param name="Path">Its path, relative to the root; such as <c>etc/hosts</c>.</param>
/// <param name="Content">What it holds.</param>
/// <param name="FollowsImage">Whether what the image has in the file of that path, up to 64 KiB, comes first.</param>
/// <param name="IsLink">Whether it is a symbolic link, to the path that is its content. It is left out where the image has something else than a directory on its way.</param>
public sealed record BundleFile(string Path, ReadOnlyMemory<byte> Content, bool FollowsImage = false, bool IsLink = false);
