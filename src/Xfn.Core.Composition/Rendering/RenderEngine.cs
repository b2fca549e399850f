using Xfn.Core.Composition.Rendering;

namespace Xfn.Core.Composition;

/// <summary>What computes a render from its functions' answers.</summary>
public abstract class RenderEngine
{
    private protected RenderEngine()
    {
    }

    /// <summary>The one of this library. It needs nothing else, and takes a few milliseconds.</summary>
    public static RenderEngine BuiltIn { get; } = new BuiltInEngine();

    /// <summary>Crossplane itself, from its image, in a container without a network for each render.</summary>
    /// <param name="image">The image, pinned by a version or a digest: <c>crossplane/crossplane:v2.4.0</c>. Since version
    /// 2.3.</param>
    /// <exception cref="ArgumentException">The reference is none, or names no fixed version: what it means changes from
    /// one day to the next, and so would the output.</exception>
    public static RenderEngine FromImage(string image)
    {
        ImageReference reference = ImageReference.Parse(image);
        if (reference.Digest == default && (reference.Tag is null or "latest" or "stable" or "main" or "master" || !image.EndsWith($":{reference.Tag}", StringComparison.Ordinal)))
            throw new ArgumentException($"cannot use engine image '{image}': it names no fixed version, so the output would change from one day to the next. Name one, such as ':v2.4.0', or a digest.", nameof(image));
        return new CrossplaneImageEngine(image);
    }

    /// <summary>Crossplane itself, from its program on this machine, a process for each render. It runs with this user's
    /// rights.</summary>
    /// <param name="program">The program of Crossplane's core, not of its command line. Since version 2.3.</param>
    public static RenderEngine FromProgram(string program)
    {
        ArgumentException.ThrowIfNullOrEmpty(program);
        return new CrossplaneProgramEngine(program);
    }

    /// <summary>Renders.</summary>
    /// <param name="request">What is rendered.</param>
    /// <param name="cancellationToken">Ends it.</param>
    /// <exception cref="RenderException">It failed; or a function was fatal, with what there was by then.</exception>
    internal abstract Task<RenderResult> RenderAsync(RenderRequest request, CancellationToken cancellationToken);
}
