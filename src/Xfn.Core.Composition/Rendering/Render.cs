using Google.Protobuf.WellKnownTypes;

namespace Xfn.Core.Composition.Rendering;

/// <summary>One render: what it is given is checked, its functions are started, and an engine makes the
/// result.</summary>
internal sealed class Render(Struct xr, Struct composition, RenderOptions options)
{
    /// <exception cref="RenderException">It failed.</exception>
    public async Task<RenderResult> RunAsync(IEnumerable<Struct> functions, CancellationToken cancellationToken)
    {
        Check();
        Struct composite = xr.Clone();
        if (options.Definition is { } definition)
            CompositeDefaults.Set(composite, definition);
        FunctionManifest[] missing = Missing(FunctionManifest.Read(functions, options.FunctionAnnotations));
        ContainerRunner? own = null;
        CompositionFunctions? started = null;
        IReadOnlyList<string> inputs = [];
        try
        {
            IContainerHost Host() => options.Host ?? (own ??= NewRunner());
            started = missing.Length == 0 && options.Started is not null ? null : await CompositionFunctions.StartAsync(Host, missing, cancellationToken).ConfigureAwait(false);
            CompositionFunctions?[] sets = [options.Started, started];
            var request = new RenderRequest
            {
                Composite = composite,
                Composition = composition,
                Functions = ByName(sets),
                Started = [.. sets.OfType<CompositionFunctions>()],
                Host = Host,
                Options = options,
                IsLegacy = IsLegacy(),
            };
            inputs = await InputNotes.MakeAsync(composition, options.CompositionFile, request.Started, cancellationToken).ConfigureAwait(false);
            RenderResult result = await options.Engine.RenderAsync(request, cancellationToken).ConfigureAwait(false);
            return result with { Notes = [.. missing.SelectMany(function => function.Notes), .. options.Started?.Notes ?? [], .. inputs, .. result.Notes] };
        }
        catch (RenderException e) when (e.Reason == RenderFailure.Fatal && inputs.Count > 0)
        {
            throw new RenderException(e.Reason, e.Message + Lines(inputs), e) { Partial = e.Partial };
        }
        catch (InvalidRequestException e)
        {
            throw new RenderException(RenderFailure.Input, $"cannot render {xr.Title()}: {e.Message}", e);
        }
        catch (PipelineException e)
        {
            throw new RenderException(RenderFailure.Function, $"cannot render {xr.Title()}: {e.Message}{CompositionFunctions.Logs((e.InnerException as FunctionCallException)?.LogTail ?? "")}{Lines(inputs)}", e);
        }
        finally
        {
            if (started is not null)
                await started.DisposeAsync().ConfigureAwait(false);
            if (own is not null)
                await own.DisposeAsync().ConfigureAwait(false);
        }
    }

    /// <summary>What may be the cause, for the end of a message.</summary>
    private static string Lines(IReadOnlyList<string> notes) => string.Concat(notes.Select(note => $"\n{note}"));

    private static ContainerRunner NewRunner() => OperatingSystem.IsLinux()
        ? new ContainerRunner()
        : throw new PlatformNotSupportedException("cannot start functions: this system is not Linux. Reach them elsewhere (annotation render.crossplane.io/runtime: Development).");

    /// <summary>Whether the composition is one for the resource.</summary>
    private void Check()
    {
        if (composition.Kind() != "Composition")
            throw Refuse($"cannot use {composition.Title()} as a composition: expected kind Composition of apiextensions.crossplane.io/v1.");
        if (xr.Kind().Length == 0 || xr.ApiVersion().Length == 0 || xr.Name().Length == 0)
            throw Refuse($"cannot render {xr.Title()}: it has no apiVersion, kind or metadata.name. Write all three.");
        (string version, string kind) = (composition.Text("spec", "compositeTypeRef", "apiVersion"), composition.Text("spec", "compositeTypeRef", "kind"));
        if (version != xr.ApiVersion() || kind != xr.Kind())
            throw Refuse($"cannot use composition '{composition.Name()}' for {xr.Title()}: it is for {kind} of '{version}' (spec.compositeTypeRef), and the resource is a {xr.Kind()} of '{xr.ApiVersion()}'.");
        if (composition.Text("spec", "mode") is { Length: > 0 } mode && mode != "Pipeline")
            throw Refuse($"cannot use composition '{composition.Name()}': its mode is '{mode}', and only Pipeline can be rendered.");
        var labels = composition.Texts("metadata", "labels").ToDictionary();
        foreach ((string label, string value) in xr.Texts("spec", "compositionSelector", "matchLabels").Concat(xr.Texts("spec", "crossplane", "compositionSelector", "matchLabels")))
        {
            if (labels.GetValueOrDefault(label) != value)
                throw Refuse($"cannot use composition '{composition.Name()}' for {xr.Title()}: that selects compositions with the label '{label}: {value}', which this one has not.");
        }
    }

    /// <summary>The functions that the composition names, and that are not there yet.</summary>
    private FunctionManifest[] Missing(IReadOnlyList<FunctionManifest> manifests)
    {
        var missing = new List<FunctionManifest>();
        foreach (string name in CompositionFunctions.NamesOf(composition))
        {
            if (options.Functions.ContainsKey(name) || options.Started?.ByName.ContainsKey(name) == true)
                continue;
            FunctionManifest manifest = manifests.FirstOrDefault(function => function.Name == name)
                ?? throw Refuse($"cannot render {xr.Title()}: there is no function '{name}', which composition '{composition.Name()}' names. Add it to the functions' file.");
            missing.Add(manifest.Runtime != FunctionRuntime.InProcess ? manifest
                : throw Refuse($"cannot render {xr.Title()}: function '{name}' is to run in this process, and is not given in RenderOptions.Functions."));
        }

        return [.. missing];
    }

    private Dictionary<string, ICompositionFunction> ByName(CompositionFunctions?[] sets)
    {
        var byName = new Dictionary<string, ICompositionFunction>(options.Functions);
        foreach ((string name, ICompositionFunction function) in sets.OfType<CompositionFunctions>().SelectMany(set => set.ByName))
            byName.TryAdd(name, function);
        return byName;
    }

    private bool IsLegacy() => options.Definition is { } definition && (definition.Text("spec", "scope"), definition.ApiVersion()) switch
    {
        ("LegacyCluster", _) => true,
        ("", "apiextensions.crossplane.io/v1") => true,
        _ => false,
    };

    private static RenderException Refuse(string message) => new(RenderFailure.Input, message);
}
