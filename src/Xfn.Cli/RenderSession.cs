using Google.Protobuf.WellKnownTypes;
using Xfn.Core;
using Xfn.Core.Composition;

namespace Xfn.Cli;

/// <summary>One render after another, on functions that stay alive for as long as they are the same.</summary>
/// <param name="host">Starts the functions.</param>
/// <param name="annotations">Annotations for all of them.</param>
/// <param name="globals">Where xfn says something itself.</param>
/// <param name="showLogs">Whether functions' logs are shown.</param>
internal sealed class RenderSession(IContainerHost host, IReadOnlyDictionary<string, string> annotations, GlobalOptions globals, bool showLogs) : IAsyncDisposable
{
    private CompositionFunctions? _functions;
    private string _key = "";
    private Task _logs = Task.CompletedTask;

    /// <summary>Whether the functions have started.</summary>
    public bool HasStarted => _functions is not null;

    /// <summary>Renders files, on the functions of the render before where theirs is the same.</summary>
    public async Task<RenderResult> RenderAsync(string xr, string compositionFile, string functionsFile, RenderOptions options, CancellationToken cancellationToken)
    {
        // All three before functions are started for nothing.
        CompositionObjects.ReadOne(xr);
        Struct composition = CompositionObjects.ReadOne(compositionFile);
        IReadOnlyList<Struct> functions = CompositionObjects.Read(functionsFile);

        // A composition that calls another function wants that started.
        string key = string.Concat(functions.Select(CompositionObjects.ToYaml)) + string.Join(' ', NamesOf(composition));
        if (_functions is not null && _key != key)
            await EndAsync();
        using var over = CancellationTokenSource.CreateLinkedTokenSource(cancellationToken);
        over.CancelAfter(options.Timeout);
        try
        {
            _functions ??= await StartAsync(composition, functions, over.Token);
            _key = key;
            return await Composition.RenderAsync(xr, compositionFile, functionsFile, options with { Host = host, Started = _functions, FunctionAnnotations = annotations }, over.Token);
        }
        catch (Exception e) when (over.IsCancellationRequested && !cancellationToken.IsCancellationRequested && e is not RenderException { Reason: RenderFailure.Fatal })
        {
            string what = HasStarted ? "it was not done" : "the functions have not started";
            await EndAsync();
            throw new RenderException(RenderFailure.Timeout, $"cannot render: after {options.Timeout.TotalSeconds:0.###} s {what}. Give it more time (--timeout), or look at what its functions wait for.", e);
        }
        catch (RenderException e) when (e.Reason is RenderFailure.Function or RenderFailure.Timeout)
        {
            // The next one has them anew.
            await EndAsync();
            throw;
        }
    }

    public async ValueTask DisposeAsync() => await EndAsync();

    /// <summary>The names of the functions that a composition calls.</summary>
    private static IEnumerable<string> NamesOf(Struct composition) =>
        from step in Field(Field(Value.ForStruct(composition), "spec"), "pipeline")?.ListValue?.Values ?? []
        select Field(Field(step, "functionRef"), "name")?.StringValue ?? "";

    private static Value? Field(Value? map, string name) => map?.StructValue?.Fields.GetValueOrDefault(name);

    private async Task<CompositionFunctions> StartAsync(Struct composition, IReadOnlyList<Struct> functions, CancellationToken cancellationToken)
    {
        CompositionFunctions started = await CompositionFunctions.StartAsync(host, functions, composition, annotations, cancellationToken);
        if (showLogs)
            _logs = FunctionLogs.ShowAsync(started, globals);
        return started;
    }

    private async Task EndAsync()
    {
        if (_functions is { } functions)
            await functions.DisposeAsync();
        _functions = null;
        await _logs;
    }
}
