namespace Xfn.Core;

/// <summary>Describes the container that an image and a request need. <c>RuntimeBundleBuilder</c> is the default; one
/// that wraps it changes what that gives.</summary>
/// <remarks>
/// <para>A builder returns a description that nobody else has, each time: a caller may change it. What it leaves out of
/// the description is what the function does not get: without a mount of <c>/proc</c> there is none, without
/// <see cref="ContainerSpecification.Seccomp"/> no system call is refused, and without
/// <see cref="ContainerSpecification.MaskedPaths"/> nothing of <c>/proc</c> is
/// hidden. Limits of memory, processors and processes are the runner's.</para>
/// <para>A builder that wraps another passes on <see cref="NeedsUserFiles"/>, and <see cref="IsStable"/> where what it
/// adds is as stable. Implementations are called concurrently.</para>
/// </remarks>
public interface IBundleBuilder
{
    /// <summary>Describes a container. Called concurrently, and for each run unless <see cref="IsStable"/>.</summary>
    /// <param name="context">The image and how it is to be run.</param>
    /// <returns>A description that nobody else has: one that wraps this builder may change it.</returns>
    /// <exception cref="InvalidImageException">The image cannot be run: it has no entrypoint, or its user is
    /// unknown.</exception>
    /// <exception cref="InvalidRequestException">The request cannot be met, such as a user of it that is
    /// unknown.</exception>
    ContainerSpecification Build(BundleContext context);

    /// <summary>Whether <see cref="Build"/> needs the image's <c>/etc/passwd</c> and <c>/etc/group</c>. To read them
    /// the first time takes about as long as a run.</summary>
    /// <param name="image">The image's configuration, with the request's user in it where that has one.</param>
    /// <returns>True by default.</returns>
    bool NeedsUserFiles(ImageConfig image) => true;

    /// <summary>Whether the container is the same in all runs of an image by one runner with the same network policy,
    /// and no settings of its own (<see cref="BundleContext.Container"/>). The runner then keeps it, and does not call
    /// <see cref="Build"/> again for that image.</summary>
    /// <param name="context">What <see cref="Build"/> was called with.</param>
    /// <returns>False, the default, to be asked for each run.</returns>
    bool IsStable(BundleContext context) => false;
}

/// <summary>What a container is described from.</summary>
public sealed record BundleContext
{
    /// <summary>The image's name, for messages.</summary>
    public required ImageReference Reference { get; init; }

    /// <summary>The image's configuration.</summary>
    public required ImageConfig Image { get; init; }

    /// <summary>The image's <c>/etc/passwd</c>. Empty when the image has none, or when
    /// <see cref="IBundleBuilder.NeedsUserFiles"/> was false.</summary>
    public ReadOnlyMemory<byte> Passwd { get; init; }

    /// <summary>The image's <c>/etc/group</c>, likewise.</summary>
    public ReadOnlyMemory<byte> Group { get; init; }

    /// <summary>How to run it.</summary>
    public required RunFunctionConfig Config { get; init; }

    /// <summary>What the request sets of the container, checked. A builder puts that in the place of what the image
    /// says. Nothing by default.</summary>
    public ContainerSettings Container { get; init; } = new();

    /// <summary>The ids of the user namespace it will run in.</summary>
    public required IdMapping Mapping { get; init; }
}
