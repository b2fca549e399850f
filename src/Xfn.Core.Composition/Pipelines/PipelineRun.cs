using System.Globalization;
using Google.Protobuf;
using Google.Protobuf.Collections;
using Google.Protobuf.WellKnownTypes;
using Xfn.Core.Composition.Protocol;

namespace Xfn.Core.Composition.Pipelines;

/// <summary>One run of a pipeline, and what it has come to.</summary>
internal sealed class PipelineRun(PipelineRequest request)
{
    // What a function requires and answers is somebody else's to say. Each of these is far more than any needs: a composite
    // resource with 10,000 references is about as large as a cluster stores.
    private const int MaxRequirements = 1_000, MaxItems = 100_000, MaxAnswered = 10_000;

    private static readonly Capability[] Capabilities =
        [Capability.Capabilities, Capability.RequiredResources, Capability.Credentials, Capability.Conditions, Capability.RequiredSchemas];

    private readonly List<StepResult> _results = [];
    private readonly List<Condition> _conditions = [];
    private readonly Dictionary<string, Struct> _outputs = [];
    private readonly List<ResourceSelector> _resources = [];
    private readonly List<SchemaSelector> _schemas = [];
    private State _desired = request.Desired;
    private Struct? _context = request.Context;
    private TimeSpan? _ttl;
    private int _calls;

    public async Task<PipelineResult> RunAsync(CancellationToken cancellationToken)
    {
        foreach (PipelineStep step in request.Steps)
        {
            cancellationToken.ThrowIfCancellationRequested();
            Protocol.RunFunctionResponse response;
            try
            {
                response = await SettleAsync(step, cancellationToken).ConfigureAwait(false);
            }
            catch (Exception ex) when (ex is not PipelineException && !cancellationToken.IsCancellationRequested)
            {
                throw Failed(step, ex.Message.TrimEnd('.'), ex);
            }

            _conditions.AddRange(response.Conditions);
            _results.AddRange(response.Results.Select(result => new StepResult(step.Name, result)));
            if (response.Results.FirstOrDefault(IsFatal) is { } fatal)
                return Result(new StepResult(step.Name, fatal));
            _desired = response.Desired ?? new State();
            _context = response.Context;
            if (response.Output is { } output)
                _outputs[step.Name] = output;
            if (AnswerTime.Of(response) is { } ttl && (_ttl is null || ttl < _ttl))
                _ttl = ttl;
        }

        return Result(fatal: null);
    }

    private static bool IsFatal(Result result) => result.Severity == Severity.Fatal;

    /// <summary>Calls a step's function until it requires nothing new.</summary>
    private async Task<Protocol.RunFunctionResponse> SettleAsync(PipelineStep step, CancellationToken cancellationToken)
    {
        ICompositionFunction function = request.Functions[step.FunctionName];
        var given = new Protocol.RunFunctionRequest { Observed = request.Observed, Desired = _desired, Context = _context, Input = step.Input };
        foreach (StepCredentials credentials in step.Credentials)
            given.Credentials[credentials.Name] = Find(step, credentials);
        var items = new Count(MaxItems);
        MapField<string, Resources> firstResources = await FindAsync(step, step.RequiredResources, items, cancellationToken).ConfigureAwait(false);
        MapField<string, Schema> firstSchemas = await FindAsync(step, step.RequiredSchemas, cancellationToken).ConfigureAwait(false);
        given.RequiredResources.MergeFrom(firstResources);
        given.RequiredSchemas.MergeFrom(firstSchemas);

        var before = new Requirements();
        for (int call = 1; ; call++)
        {
            given.Meta = null;
            given.Meta = new RequestMeta { Tag = RequestTag.Of(given), Capabilities = { Capabilities } };
            _calls++;
            Protocol.RunFunctionResponse response = await function.RunAsync(given, cancellationToken).ConfigureAwait(false)
                ?? throw Failed(step, "its function answered with null");
            Check(step, response);
            Requirements required = response.Requirements ?? new();
            if (response.Results.Any(IsFatal) || required.Equals(before))
                return response;

            Protocol.RunFunctionRequest next = Copy(given);
            items = new Count(MaxItems);
            next.Context = response.Context;
            next.RequiredResources.MergeFrom(firstResources);
            next.RequiredResources.MergeFrom(await FindAsync(step, required.Resources, items, cancellationToken).ConfigureAwait(false));
#pragma warning disable CS0612 // Functions of before Crossplane 1.20 know no others.
            next.ExtraResources.MergeFrom(await FindAsync(step, required.ExtraResources, items, cancellationToken).ConfigureAwait(false));
            bool isSame = call == 1 && next.RequiredResources.Equals(given.RequiredResources) && next.ExtraResources.Equals(given.ExtraResources);
#pragma warning restore CS0612
            next.RequiredSchemas.MergeFrom(firstSchemas);
            next.RequiredSchemas.MergeFrom(await FindAsync(step, required.Schemas, cancellationToken).ConfigureAwait(false));
            if (isSame && next.RequiredSchemas.Equals(given.RequiredSchemas))
                return response;
            if (call == Pipeline.MaxCalls)
                throw Failed(step, $"its function requires other things after each of {Pipeline.MaxCalls} calls. Let it require the same when it is given the same");
            (given, before) = (next, required);
        }
    }

    /// <summary>Refuses what no cluster would take, and what would cost much more here than it cost the function.</summary>
    private void Check(PipelineStep step, Protocol.RunFunctionResponse response)
    {
        foreach ((string what, int count) in new[] { ("resources", response.Desired?.Resources.Count ?? 0), ("results", response.Results.Count), ("conditions", response.Conditions.Count) })
        {
            if (count > MaxAnswered)
                throw Failed(step, $"its function answered with {count} {what}, and {MaxAnswered} are the most. Let it answer with fewer");
        }

        CheckNumbers(step, response.Context, "context");
        CheckNumbers(step, response.Output, "output");
        CheckNumbers(step, response.Desired?.Composite?.Resource_, "composite resource");
        foreach ((string name, Resource resource) in response.Desired?.Resources ?? [])
            CheckNumbers(step, resource.Resource_, $"resource '{name}'");
    }

    private void CheckNumbers(PipelineStep step, Struct? answered, string where)
    {
        if (answered is not null && OddNumber(Value.ForStruct(answered)) is { } odd)
            throw Failed(step, $"its function answered with the number {odd.ToString(CultureInfo.InvariantCulture)} in {where}, and JSON has no such number. Let it send a text");
    }

    /// <summary>The first number that JSON does not have; null for none.</summary>
    private static double? OddNumber(Value value) => value.KindCase switch
    {
        Value.KindOneofCase.NumberValue => double.IsFinite(value.NumberValue) ? null : value.NumberValue,
        Value.KindOneofCase.StructValue => value.StructValue.Fields.Values.Select(OddNumber).FirstOrDefault(odd => odd is not null),
        Value.KindOneofCase.ListValue => value.ListValue.Values.Select(OddNumber).FirstOrDefault(odd => odd is not null),
        _ => null,
    };

    /// <summary>The same request, without what the function required.</summary>
    private static Protocol.RunFunctionRequest Copy(Protocol.RunFunctionRequest given)
    {
        var copy = new Protocol.RunFunctionRequest { Observed = given.Observed, Desired = given.Desired, Input = given.Input };
        copy.Credentials.MergeFrom(given.Credentials);
        return copy;
    }

    private async Task<MapField<string, Resources>> FindAsync(
        PipelineStep step, IEnumerable<KeyValuePair<string, ResourceSelector>> required, Count items, CancellationToken cancellationToken)
    {
        var found = new MapField<string, Resources>();
        foreach ((string name, ResourceSelector selector) in required)
        {
            Remember(step, _resources, selector, found.Count);
            IReadOnlyList<Resource> matching = await request.RequiredResources.FindAsync(selector, cancellationToken).ConfigureAwait(false);
            if (!items.Take(matching.Count))
                throw Failed(step, $"its function requires more than {MaxItems} resources. Let it select fewer");
            found[name] = new Resources { Items = { matching } };
        }

        return found;
    }

    private async Task<MapField<string, Schema>> FindAsync(PipelineStep step, IEnumerable<KeyValuePair<string, SchemaSelector>> required, CancellationToken cancellationToken)
    {
        var found = new MapField<string, Schema>();
        foreach ((string name, SchemaSelector selector) in required)
        {
            Remember(step, _schemas, selector, found.Count);
            found[name] = new Schema { OpenapiV3 = await request.RequiredSchemas.FindAsync(selector, cancellationToken).ConfigureAwait(false) };
        }

        return found;
    }

    private void Remember<T>(PipelineStep step, List<T> known, T selector, int found)
    {
        if (found == MaxRequirements)
            throw Failed(step, $"its function has more than {MaxRequirements} requirements. Let it have fewer");
        if (known.Count < MaxRequirements && !known.Contains(selector))
            known.Add(selector);
    }

    private Credentials Find(PipelineStep step, StepCredentials wanted)
    {
        Struct secret = request.Secrets.FirstOrDefault(s => ObjectField.Text(s, "metadata", "name") == wanted.SecretName && ObjectField.Text(s, "metadata", "namespace") == wanted.SecretNamespace)
            ?? throw Failed(step, $"there is no secret '{wanted.SecretNamespace}/{wanted.SecretName}' for its credentials '{wanted.Name}'. Give it");
        var data = new CredentialData();
        ObjectField field = ObjectField.Of(secret, "secret")["data"];
        foreach (string key in field.AsObject()?.Fields.Keys ?? (IEnumerable<string>)[])
        {
            try
            {
                data.Data[key] = ByteString.FromBase64(field[key].AsText() ?? "");
            }
            catch (FormatException)
            {
                // Not the value: it may be the secret itself.
                throw field[key].Invalid("it is not in base64. Encode it");
            }
        }

        return new Credentials { CredentialData = data };
    }

    private PipelineResult Result(StepResult? fatal) => new()
    {
        Desired = _desired,
        Context = _context,
        Results = _results,
        Conditions = _conditions,
        Outputs = _outputs,
        RequiredResources = _resources,
        RequiredSchemas = _schemas,
        Fatal = fatal,
        Ttl = _ttl,
        Calls = _calls,
    };

    private PipelineException Failed(PipelineStep step, string found, Exception? cause = null) =>
        new($"cannot run step '{step.Name}': {found}.", cause) { Step = step.Name, Partial = Result(fatal: null) };

    /// <summary>How many there may be still.</summary>
    private sealed class Count(int left)
    {
        private int _left = left;

        public bool Take(int count) => (_left -= count) >= 0;
    }
}
