using Google.Protobuf.WellKnownTypes;
using Xfn.Core.Composition.Rendering;
using Xfn.Core.Composition.Yaml;

namespace Xfn.Core.Composition;

/// <summary>Renders composite resources: what Crossplane would compose of them, without a cluster and without a
/// daemon.</summary>
public static class Composition
{
    /// <summary>Renders what files say.</summary>
    /// <param name="xr">The file of the composite resource.</param>
    /// <param name="composition">The file of the Composition.</param>
    /// <param name="functions">The file of the Functions, or a directory of such files. Null, for those of the
    /// options alone.</param>
    /// <param name="options">What else there is. Null, the default, for nothing.</param>
    /// <param name="cancellationToken">Ends the render.</param>
    /// <inheritdoc cref="RenderAsync(Struct, Struct, IEnumerable{Struct}, RenderOptions, CancellationToken)"/>
    /// <exception cref="IOException">A file cannot be read.</exception>
    /// <exception cref="InvalidDataException">A file is no YAML, or holds no object.</exception>
    public static Task<RenderResult> RenderAsync(string xr, string composition, string? functions, RenderOptions? options = null, CancellationToken cancellationToken = default)
    {
        ArgumentNullException.ThrowIfNull(xr);
        ArgumentNullException.ThrowIfNull(composition);
        YamlNode file = CompositionObjects.ReadNode(composition);
        return RenderAsync(CompositionObjects.ReadOne(xr), file.ToStruct(), functions is null ? [] : CompositionObjects.Read(functions), (options ?? new()) with { CompositionFile = file }, cancellationToken);
    }

    /// <summary>Renders.</summary>
    /// <param name="xr">The composite resource.</param>
    /// <param name="composition">The Composition.</param>
    /// <param name="functions">The Functions. Those that the composition names are started, side by side, and end with
    /// the render.</param>
    /// <param name="options">What else there is. Null, the default, for nothing.</param>
    /// <param name="cancellationToken">Ends the render.</param>
    /// <returns>What it has made.</returns>
    /// <exception cref="RenderException">It failed; <see cref="RenderException.Reason"/> says why. Where a function was
    /// fatal, <see cref="RenderException.Partial"/> has what there was by then.</exception>
    /// <exception cref="OperationCanceledException"><paramref name="cancellationToken"/> was cancelled.</exception>
    public static async Task<RenderResult> RenderAsync(Struct xr, Struct composition, IEnumerable<Struct> functions, RenderOptions? options = null, CancellationToken cancellationToken = default)
    {
        ArgumentNullException.ThrowIfNull(xr);
        ArgumentNullException.ThrowIfNull(composition);
        ArgumentNullException.ThrowIfNull(functions);
        options ??= new();
        if (options.Timeout <= TimeSpan.Zero || options.Timeout > TimeSpan.FromDays(1))
            throw new ArgumentOutOfRangeException(nameof(options), $"cannot use timeout '{options.Timeout}': expected more than 0 and at most 1 day.");
        using var over = CancellationTokenSource.CreateLinkedTokenSource(cancellationToken);
        over.CancelAfter(options.Timeout);
        try
        {
            RenderResult result = await new Render(xr, composition, options).RunAsync(functions, over.Token).ConfigureAwait(false);
            if (options.GoldenFile is { } golden)
                await GoldenFile.CompareAsync(golden, result, cancellationToken).ConfigureAwait(false);
            return result;
        }
        catch (Exception e) when (over.IsCancellationRequested && !cancellationToken.IsCancellationRequested && e is not RenderException { Reason: RenderFailure.Fatal or RenderFailure.Golden })
        {
            string why = e is OperationCanceledException ? "" : $" {e.Message}";
            throw new RenderException(RenderFailure.Timeout, $"cannot render {xr.Title()}: after {options.Timeout.TotalSeconds:0.###} s it was not done.{why} Give it more time, or look at what its functions wait for.", e);
        }
    }
}
