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

    /// <summary>Renders, on the functions of the render before where their file is the same.</summary>
    public async Task<RenderResult> RenderAsync(Struct xr, Struct composition, IReadOnlyList<Struct> functions, RenderOptions options, CancellationToken cancellationToken)
    {
        // A composition that calls another function wants that started.
        string key = string.Concat(functions.Select(CompositionObjects.ToYaml)) + string.Join(' ', NamesOf(composition));
        if (_functions is not null && _key != key)
            await EndAsync();
        try
        {
            _functions ??= await StartAsync(composition, functions, options, cancellationToken);
            _key = key;
            return await Composition.RenderAsync(xr, composition, functions, options with { Host = host, Started = _functions, FunctionAnnotations = annotations }, cancellationToken);
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

    private async Task<CompositionFunctions> StartAsync(Struct composition, IReadOnlyList<Struct> functions, RenderOptions options, CancellationToken cancellationToken)
    {
        using var over = CancellationTokenSource.CreateLinkedTokenSource(cancellationToken);
        over.CancelAfter(options.Timeout);
        try
        {
            CompositionFunctions started = await CompositionFunctions.StartAsync(host, functions, composition, annotations, over.Token);
            if (showLogs)
                _logs = Task.WhenAll(started.Containers.Select(container => ShowAsync(container.Key, container.Value)));
            return started;
        }
        catch (OperationCanceledException e) when (!cancellationToken.IsCancellationRequested)
        {
            throw new RenderException(RenderFailure.Timeout, $"cannot render: after {options.Timeout.TotalSeconds:0.###} s the functions have not started. Give it more time (--timeout).", e);
        }
    }

    private async Task ShowAsync(string function, RunningContainer container)
    {
        await foreach (LogLine line in container.ReadLogsAsync(follow: true))
            globals.Say($"{function}: {line.Text}");
    }

    private async Task EndAsync()
    {
        if (_functions is { } functions)
            await functions.DisposeAsync();
        _functions = null;
        await _logs;
    }
}
