using Google.Protobuf;
using Google.Protobuf.WellKnownTypes;
using Microsoft.Extensions.Time.Testing;
using Xfn.Core.Composition.Pipelines;
using Xfn.Core.Composition.Protocol;
using Xfn.Core.Composition.Tests.Support;

namespace Xfn.Core.Composition.Tests;

[Parallelizable(ParallelScope.All)]
internal sealed class PipelineTests
{
    [Test, CancelAfter(60_000)]
    public async Task Steps_see_what_those_before_them_desired_and_passed_on_and_the_same_that_is_there(CancellationToken token)
    {
        var first = new InProcess(request => new()
        {
            Desired = new State { Resources = { ["bucket"] = Resource("bucket") } },
            Context = Object("{\"from\": \"first\"}"),
            Results = { new Result { Severity = Severity.Normal, Message = "one" } },
            Conditions = { new Condition { Type = "Great", Status = Status.ConditionTrue, Reason = "Because" } },
            Meta = new() { Ttl = Duration.FromTimeSpan(TimeSpan.FromMinutes(1)) },
        });
        var second = new InProcess(request => new()
        {
            Desired = new State(request.Desired) { Composite = new Resource { Ready = Protocol.Ready.True } },
            Results = { new Result { Severity = Severity.Warning, Message = "two" } },
            Output = Object("{\"n\": 1}"),
            Meta = new() { Ttl = Duration.FromTimeSpan(TimeSpan.FromSeconds(5)) },
        });
        PipelineRequest request = Request([Step("a", "first"), Step("b", "second") with { Input = Object("{\"kind\": \"Input\"}") }], ("first", first), ("second", second)) with { Context = Object("{\"from\": \"caller\"}") };
        PipelineResult result = await Pipeline.RunAsync(request, token);

        Assert.That(first.Requests.Single().Context.Fields["from"].StringValue, Is.EqualTo("caller"));
        Assert.That(second.Requests.Single().Context.Fields["from"].StringValue, Is.EqualTo("first"));
        Assert.That(second.Requests.Single().Desired.Resources.Keys, Is.EqualTo(["bucket"]));
        Assert.That(second.Requests.Single().Input.Fields["kind"].StringValue, Is.EqualTo("Input"));
        Assert.That(first.Requests.Concat(second.Requests).Select(r => r.Observed), Is.All.EqualTo(request.Observed));
        Assert.That(second.Requests.Single().Meta.Capabilities.Select(c => (int)c), Is.EqualTo([1, 2, 3, 4, 5]));
        Assert.That(result.Results.Select(r => (r.Step, r.Result.Message)), Is.EqualTo([("a", "one"), ("b", "two")]));
        Assert.That(result.Conditions.Single().Type, Is.EqualTo("Great"));
        Assert.That(result.Desired.Composite.Ready, Is.EqualTo(Protocol.Ready.True));
        Assert.That(result.Outputs["b"].Fields["n"].NumberValue, Is.EqualTo(1));
        Assert.That((result.Context, result.Fatal, result.Ttl, result.Calls), Is.EqualTo(((Struct?)null, (StepResult?)null, TimeSpan.FromSeconds(5), 2)));
    }

    [Test, CancelAfter(60_000)]
    public async Task A_fatal_result_ends_the_pipeline_with_what_there_is(CancellationToken token)
    {
        var first = new InProcess(_ => new() { Desired = new State { Resources = { ["kept"] = Resource("kept") } } });
        var fatal = new InProcess(_ => new() { Desired = new State(), Results = { new Result { Severity = Severity.Warning, Message = "soon" }, new Result { Severity = Severity.Fatal, Message = "no" } } });
        var never = new InProcess(_ => new());
        PipelineResult result = await Pipeline.RunAsync(Request([Step("a", "first"), Step("b", "fatal"), Step("c", "never")], ("first", first), ("fatal", fatal), ("never", never)), token);
        Assert.That((result.Fatal!.Step, result.Fatal.Result.Message), Is.EqualTo(("b", "no")));
        Assert.That(result.Results.Select(r => r.Result.Message), Is.EqualTo(["soon", "no"]));
        Assert.That(result.Desired.Resources.Keys, Is.EqualTo(["kept"]));
        Assert.That(never.Requests, Is.Empty);
    }

    [Test, CancelAfter(60_000)]
    public async Task A_function_is_called_again_with_what_it_required_until_that_stays_the_same(CancellationToken token)
    {
        // It learns from the first resource which labels the others have.
        var function = new InProcess(request =>
        {
            var response = new Protocol.RunFunctionResponse { Requirements = new(), Context = Object($"{{\"calls\": \"{request.Context?.Fields["calls"].StringValue}x\"}}") };
            response.Requirements.Resources["settings"] = new ResourceSelector { ApiVersion = "v1", Kind = "ConfigMap", MatchName = "settings", Namespace = "ns" };
            if (request.RequiredResources.TryGetValue("settings", out Resources? settings))
                response.Requirements.Resources["all"] = new ResourceSelector { ApiVersion = "v1", Kind = "ConfigMap", MatchLabels = new() { Labels = { ["app"] = settings.Items[0].Resource_.Fields["app"].StringValue } } };
            return response;
        });
        PipelineResult result = await Pipeline.RunAsync(
            Request([Step("a", "f")], ("f", function)) with
            {
                Context = Object("{\"calls\": \"\"}"),
                RequiredResources = new InMemoryResources([ConfigMap("settings", "ns", app: "web"), ConfigMap("settings", "other"), ConfigMap("z", "ns", label: "web"), ConfigMap("a", "ns", label: "web"), ConfigMap("b", "ms", label: "web"), ConfigMap("no", "ns", label: "db")]),
            },
            token);

        Assert.That(function.Requests, Has.Count.EqualTo(3));
        Assert.That(function.Requests[2].RequiredResources["all"].Items.Select(i => i.Resource_.Fields["metadata"].StructValue.Fields["name"].StringValue), Is.EqualTo(["b", "a", "z"]));
        Assert.That(result.Context!.Fields["calls"].StringValue, Is.EqualTo("xxx"));
        Assert.That(result.RequiredResources.Select(s => s.MatchCase), Is.EqualTo([ResourceSelector.MatchOneofCase.MatchName, ResourceSelector.MatchOneofCase.MatchLabels]));
        Assert.That(result.Calls, Is.EqualTo(3));
    }

    [Test, CancelAfter(60_000)]
    public async Task Requirements_that_never_settle_end_after_six_calls(
        [Values] bool areSchemas, CancellationToken token)
    {
        int call = 0;
        var function = new InProcess(_ =>
        {
            var required = new Requirements();
            if (areSchemas)
                required.Schemas[$"r{++call}"] = new SchemaSelector { ApiVersion = "v1", Kind = "X" };
            else
                required.Resources[$"r{++call}"] = new ResourceSelector { ApiVersion = "v1", Kind = "X" };
            return new() { Requirements = required };
        });
        PipelineException error = (await Assert.ThrowsAsync<PipelineException>(() => Pipeline.RunAsync(Request([Step("a", "f")], ("f", function)), token)))!;
        Assert.That((error.Step, function.Requests.Count), Is.EqualTo(("a", 6)));
        Assert.That(error.Message, Does.StartWith("cannot run step 'a': its function requires other things after each of 6 calls"));
        Assert.That(error.Partial.RequiredResources.Count + error.Partial.RequiredSchemas.Count, Is.EqualTo(1));
    }

    [Test, CancelAfter(60_000)]
    public async Task What_a_step_requires_is_there_at_the_first_call_and_stays(CancellationToken token)
    {
        var function = new InProcess(request => new() { Requirements = new() { Resources = { ["own"] = new ResourceSelector { ApiVersion = "v1", Kind = "Nothing" } } } });
        PipelineStep step = Step("a", "f") with
        {
            RequiredResources = new Dictionary<string, ResourceSelector> { ["first"] = new() { ApiVersion = "v1", Kind = "ConfigMap", MatchName = "x", Namespace = "ns" } },
            RequiredSchemas = new Dictionary<string, SchemaSelector> { ["schema"] = new() { ApiVersion = "v1", Kind = "None" } },
        };
        await Pipeline.RunAsync(Request([step], ("f", function)) with { RequiredResources = new InMemoryResources([ConfigMap("x", "ns")]) }, token);
        Assert.That(function.Requests.Select(r => string.Join(' ', r.RequiredResources.Keys.Order())), Is.EqualTo(["first", "first own"]));
        Assert.That(function.Requests[1].RequiredResources["own"].Items, Is.Empty);
        Assert.That(function.Requests.Select(r => r.RequiredSchemas["schema"].OpenapiV3), Is.All.Null);
    }

    [Test, CancelAfter(60_000)]
    public async Task A_function_that_asks_for_what_it_was_given_is_not_called_again(CancellationToken token)
    {
        var selector = new ResourceSelector { ApiVersion = "v1", Kind = "ConfigMap", MatchName = "x", Namespace = "ns" };
        var function = new InProcess(_ => new() { Requirements = new() { Resources = { ["r"] = selector } } });
        PipelineStep step = Step("a", "f") with { RequiredResources = new Dictionary<string, ResourceSelector> { ["r"] = selector } };
        await Pipeline.RunAsync(Request([step], ("f", function)) with { RequiredResources = new InMemoryResources([ConfigMap("x", "ns")]) }, token);
        Assert.That(function.Requests, Has.Count.EqualTo(1));
    }

    [Test, CancelAfter(60_000)]
    public async Task Old_functions_get_extra_resources(CancellationToken token)
    {
#pragma warning disable CS0612 // It is what old functions use.
        var function = new InProcess(_ => new() { Requirements = new() { ExtraResources = { ["r"] = new ResourceSelector { ApiVersion = "v1", Kind = "ConfigMap" } } } });
        await Pipeline.RunAsync(Request([Step("a", "f")], ("f", function)) with { RequiredResources = new InMemoryResources([ConfigMap("x", "ns")]) }, token);
        Assert.That(function.Requests[1].ExtraResources["r"].Items, Has.Count.EqualTo(1));
#pragma warning restore CS0612
        Assert.That(function.Requests[1].RequiredResources, Is.Empty);
    }

    [Test, CancelAfter(60_000)]
    public async Task A_selector_matches_as_in_a_cluster(CancellationToken token)
    {
        var resources = new InMemoryResources([ConfigMap("a", "ns"), ConfigMap("a", "ms"), ConfigMap("a", ""), ConfigMap("b", "ns", label: "web")]);
        Assert.That(await FindAsync(new() { MatchName = "a" }), Is.EqualTo(["/a"]));
        Assert.That(await FindAsync(new() { MatchName = "a", Namespace = "ns" }), Is.EqualTo(["ns/a"]));
        Assert.That(await FindAsync(new() { MatchName = "b" }), Is.Empty);
        Assert.That(await FindAsync(new()), Is.EqualTo(["/a", "ms/a", "ns/a", "ns/b"]));
        Assert.That(await FindAsync(new() { Namespace = "ns" }), Is.EqualTo(["ns/a", "ns/b"]));
        Assert.That(await FindAsync(new() { MatchLabels = new() { Labels = { ["app"] = "web" } } }), Is.EqualTo(["ns/b"]));
        Assert.That(await FindAsync(new() { MatchLabels = new() { Labels = { ["app"] = "web", ["x"] = "y" } } }), Is.Empty);
        Assert.That(() => new InMemoryResources([Object("{\"kind\": \"X\"}")]), Throws.InstanceOf<InvalidRequestException>().With.Message.Contains("apiVersion"));

        async Task<string[]> FindAsync(ResourceSelector selector)
        {
            (selector.ApiVersion, selector.Kind) = ("v1", "ConfigMap");
            return [.. (await resources.FindAsync(selector, token)).Select(r => $"{ObjectField.Text(r.Resource_, "metadata", "namespace")}/{ObjectField.Text(r.Resource_, "metadata", "name")}")];
        }
    }

    [Test, CancelAfter(60_000)]
    public async Task Credentials_are_the_data_of_secrets(CancellationToken token)
    {
        var function = new InProcess(_ => new());
        PipelineRequest request = Request([Step("a", "f") with { Credentials = [new("cloud", "ns", "secret")] }], ("f", function));
        Struct secret = Object("{\"metadata\": {\"namespace\": \"ns\", \"name\": \"secret\"}, \"data\": {\"key\": \"AAH/\"}, \"stringData\": {\"other\": \"x\"}}");
        await Pipeline.RunAsync(request with { Secrets = [secret] }, token);
        Assert.That(function.Requests.Single().Credentials["cloud"].CredentialData.Data.Single(), Is.EqualTo(KeyValuePair.Create("key", ByteString.CopyFrom(0, 1, 255))));
        Assert.That(() => Pipeline.RunAsync(request, token), Throws.InstanceOf<PipelineException>().With.Message.Contains("no secret 'ns/secret' for its credentials 'cloud'"));
        secret.Fields["data"].StructValue.Fields["key"].StringValue = "no!";
        Assert.That(() => Pipeline.RunAsync(request with { Secrets = [secret] }, token), Throws.InstanceOf<PipelineException>().With.Message.Contains("data.key").And.Message.Not.Contains("no!"));
    }

    [Test, CancelAfter(60_000)]
    public async Task What_breaks_says_its_step_and_keeps_what_there_was(CancellationToken token)
    {
        var first = new InProcess(_ => new() { Desired = new State { Resources = { ["kept"] = Resource("kept") } } });
        var broken = new InProcess(_ => throw new FunctionCallException(FunctionCallFailure.Died, "cannot call function 'x': gone.") { Function = "x" });
        PipelineException error = (await Assert.ThrowsAsync<PipelineException>(() => Pipeline.RunAsync(Request([Step("a", "first"), Step("b", "broken")], ("first", first), ("broken", broken)), token)))!;
        Assert.That((error.Step, error.Message), Is.EqualTo(("b", "cannot run step 'b': cannot call function 'x': gone.")));
        Assert.That(error.InnerException, Is.InstanceOf<FunctionCallException>());
        Assert.That(error.Partial.Desired.Resources.Keys, Is.EqualTo(["kept"]));
        Assert.That(() => Pipeline.RunAsync(Request([Step("a", "none")]), token), Throws.InstanceOf<InvalidRequestException>().With.Message.Contains("no function 'none'"));
    }

    [Test, CancelAfter(60_000)]
    public void What_a_function_requires_is_bounded(CancellationToken token)
    {
        var many = new InProcess(_ =>
        {
            var required = new Requirements();
            for (int i = 0; i < 1_001; i++)
                required.Resources[$"r{i}"] = new ResourceSelector { ApiVersion = "v1", Kind = "X" };
            return new() { Requirements = required };
        });
        Assert.That(() => Pipeline.RunAsync(Request([Step("a", "f")], ("f", many)), token), Throws.InstanceOf<PipelineException>().With.Message.Contains("more than 1000 requirements"));

        var much = new InProcess(_ =>
        {
            var required = new Requirements();
            for (int i = 0; i < 1_000; i++)
                required.Resources[$"r{i}"] = new ResourceSelector { ApiVersion = "v1", Kind = "ConfigMap" };
            return new() { Requirements = required };
        });
        var resources = new InMemoryResources(Enumerable.Range(0, 101).Select(i => ConfigMap($"x{i}", "ns")));
        Assert.That(() => Pipeline.RunAsync(Request([Step("a", "f")], ("f", much)) with { RequiredResources = resources }, token), Throws.InstanceOf<PipelineException>().With.Message.Contains("more than 100000 resources"));
    }

    [TestCase("resources")]
    [TestCase("results")]
    [TestCase("conditions")]
    [CancelAfter(60_000)]
    public async Task What_a_function_answers_is_bounded(string what, CancellationToken token)
    {
        int count = 10_000;
        var many = new InProcess(_ =>
        {
            var response = new Protocol.RunFunctionResponse { Desired = new State() };
            for (int i = 0; i < count; i++)
            {
                if (what == "resources")
                    response.Desired.Resources[$"r{i}"] = new Resource();
                else if (what == "results")
                    response.Results.Add(new Result());
                else
                    response.Conditions.Add(new Condition());
            }

            return response;
        });
        await Pipeline.RunAsync(Request([Step("a", "f")], ("f", many)), token);
        count++;
        Assert.That(() => Pipeline.RunAsync(Request([Step("a", "f")], ("f", many)), token), Throws.InstanceOf<PipelineException>().With.Message.EqualTo(
            $"cannot run step 'a': its function answered with 10001 {what}, and 10000 are the most. Let it answer with fewer."));
    }

    [TestCase(double.NaN, "NaN")]
    [TestCase(double.PositiveInfinity, "Infinity")]
    [TestCase(double.NegativeInfinity, "-Infinity")]
    [CancelAfter(60_000)]
    public void Numbers_that_JSON_does_not_have_are_refused(double number, string shown, CancellationToken token)
    {
        var inner = new Struct { Fields = { ["list"] = Value.ForList(Value.ForNumber(1), Value.ForStruct(new Struct { Fields = { ["n"] = Value.ForNumber(number) } })) } };
        foreach ((string where, Protocol.RunFunctionResponse response) in new (string, Protocol.RunFunctionResponse)[]
        {
            ("context", new() { Context = inner }),
            ("output", new() { Output = inner }),
            ("composite resource", new() { Desired = new State { Composite = new Resource { Resource_ = inner } } }),
            ("resource 'bucket'", new() { Desired = new State { Resources = { ["bucket"] = new Resource { Resource_ = inner } } } }),
        })
        {
            Assert.That(() => Pipeline.RunAsync(Request([Step("a", "f")], ("f", new InProcess(_ => response))), token), Throws.InstanceOf<PipelineException>().With.Message.EqualTo(
                $"cannot run step 'a': its function answered with the number {shown} in {where}, and JSON has no such number. Let it send a text."));
        }
    }

    [TestCase(long.MaxValue, 0, 86400.0)]
    [TestCase(86400, 999_999_999, 86400.0)]
    [TestCase(1, 500_000_000, 1.5)]
    [TestCase(0, 0, null)]
    [TestCase(-1, 0, null)]
    [TestCase(long.MinValue, 0, null)]
    [TestCase(1, -1, null)]
    [TestCase(1, 1_000_000_000, null)]
    [TestCase(0, int.MinValue, null)]
    [CancelAfter(60_000)]
    public async Task A_time_that_makes_no_sense_is_none_and_a_day_is_the_most(long seconds, int nanos, double? expected, CancellationToken token)
    {
        var function = new InProcess(_ => new() { Meta = new() { Ttl = new Duration { Seconds = seconds, Nanos = nanos } } });
        PipelineResult result = await Pipeline.RunAsync(Request([Step("a", "f")], ("f", new CachingFunction(function))), token);
        Assert.That(result.Ttl?.TotalSeconds, Is.EqualTo(expected));
    }

    [Test, CancelAfter(60_000)]
    public async Task Equal_requests_have_equal_tags(CancellationToken token)
    {
        var function = new InProcess(_ => new());
        await RunAsync("{\"a\": \"1\", \"b\": \"2\"}");
        await RunAsync("{\"b\": \"2\", \"a\": \"1\"}");
        await RunAsync("{\"a\": \"1\", \"b\": \"3\"}");
        string[] tags = [.. function.Requests.Select(r => r.Meta.Tag)];
        Assert.That(tags[0], Does.Match("^[0-9a-f]{64}$").And.EqualTo(tags[1]).And.Not.EqualTo(tags[2]));

        Task RunAsync(string context) => Pipeline.RunAsync(Request([Step("a", "f")], ("f", function)) with { Context = Object(context) }, token);
    }

    [Test, CancelAfter(60_000)]
    public async Task An_answer_is_used_again_as_long_as_it_may_be(CancellationToken token)
    {
        var time = new FakeTimeProvider();
        var function = new InProcess(request => new()
        {
            Meta = new() { Ttl = Duration.FromTimeSpan(TimeSpan.FromMinutes(1)) },
            Context = request.Context,
            Results = { new Result { Severity = request.Context.Fields["a"].StringValue == "fatal" ? Severity.Fatal : Severity.Normal } },
        });
        var cached = new CachingFunction(function, maxEntries: 2, timeProvider: time);
        for (int i = 0; i < 3; i++)
            Assert.That((await RunAsync("1")).Context!.Fields["a"].StringValue, Is.EqualTo("1"));
        Assert.That(function.Requests, Has.Count.EqualTo(1));
        time.Advance(TimeSpan.FromMinutes(1));
        await RunAsync("1");
        Assert.That(function.Requests, Has.Count.EqualTo(2), "its time is over");
        await RunAsync("2");
        await RunAsync("3");
        await RunAsync("1");
        Assert.That(function.Requests, Has.Count.EqualTo(5), "the oldest went");
        await RunAsync("fatal");
        await RunAsync("fatal");
        Assert.That(function.Requests, Has.Count.EqualTo(7), "a fatal one is not kept");

        Task<PipelineResult> RunAsync(string value) => Pipeline.RunAsync(Request([Step("a", "f")], ("f", cached)) with { Context = Object($"{{\"a\": \"{value}\"}}") }, token);
    }

    [Test]
    public void Steps_are_read_from_a_composition()
    {
        Struct composition = Object("""
            {"kind": "Composition", "metadata": {"name": "c"}, "spec": {"pipeline": [
              {"step": "one", "functionRef": {"name": "f"}, "input": {"kind": "I"},
               "credentials": [{"name": "cloud", "source": "Secret", "secretRef": {"namespace": "ns", "name": "s"}}, {"name": "no", "source": "None"}],
               "requirements": {"requiredResources": [{"requirementName": "r", "apiVersion": "v1", "kind": "K", "namespace": "ns", "matchLabels": {"a": "b"}}],
                                "requiredSchemas": [{"requirementName": "s", "apiVersion": "v1", "kind": "K"}]}}]}}
            """);
        PipelineStep step = PipelineStep.FromComposition(composition).Single();
        Assert.That((step.Name, step.FunctionName, step.Input!.Fields["kind"].StringValue), Is.EqualTo(("one", "f", "I")));
        Assert.That(step.Credentials, Is.EqualTo([new StepCredentials("cloud", "ns", "s")]));
        Assert.That(step.RequiredResources["r"], Is.EqualTo(new ResourceSelector { ApiVersion = "v1", Kind = "K", Namespace = "ns", MatchLabels = new() { Labels = { ["a"] = "b" } } }));
        Assert.That(step.RequiredSchemas["s"], Is.EqualTo(new SchemaSelector { ApiVersion = "v1", Kind = "K" }));
    }

    [TestCase("{}", "cannot use field 'spec.pipeline' of composition 'c': it has 0 steps, expected 1 to 99.")]
    [TestCase("{\"pipeline\": {}}", "cannot use field 'spec.pipeline' of composition 'c': it is an object, expected a list.")]
    [TestCase("{\"pipeline\": [{}]}", "cannot use field 'spec.pipeline[0].step' of composition 'c': it is missing. Give it.")]
    [TestCase("{\"pipeline\": [{\"step\": \"a\", \"functionRef\": {\"name\": \"f\"}}, {\"step\": \"a\", \"functionRef\": {\"name\": \"f\"}}]}", "another step has the name 'a'")]
    [TestCase("{\"pipeline\": [{\"step\": \"a\", \"functionRef\": {\"name\": 1}}]}", "'spec.pipeline[0].functionRef.name' of composition 'c': it is a number, expected a text.")]
    [TestCase("{\"pipeline\": [{\"step\": \"a\", \"functionRef\": {\"name\": \"f\"}, \"credentials\": [{\"name\": \"a\", \"source\": \"File\"}]}]}", "it is 'File', expected None or Secret")]
    public void A_composition_that_makes_no_sense_is_refused(string spec, string message) => Assert.That(
        () => PipelineStep.FromComposition(Object($"{{\"kind\": \"Composition\", \"metadata\": {{\"name\": \"c\"}}, \"spec\": {spec}}}")),
        Throws.InstanceOf<InvalidRequestException>().With.Message.Contains(message));

    [Test, CancelAfter(60_000)]
    public async Task Schemas_are_found_by_kind_with_what_they_refer_to_in_its_place(CancellationToken token)
    {
        var schemas = new OpenApiSchemas([Object("""
            {"components": {"schemas": {
              "io.example.Widget": {"type": "object", "x-kubernetes-group-version-kind": [{"group": "example.org", "version": "v1", "kind": "Widget"}],
                "properties": {"spec": {"$ref": "#/components/schemas/io.example.Spec"}, "list": {"type": "array", "items": {"allOf": [{"$ref": "#/components/schemas/io.example.Spec"}]}}}},
              "io.example.Spec": {"type": "object", "properties": {"size": {"type": "integer"}, "inner": {"$ref": "#/components/schemas/io.example.Spec"}}},
              "io.example.Broken": {"x-kubernetes-group-version-kind": [{"group": "", "version": "v1", "kind": "Broken"}], "properties": {"a": {"$ref": "#/components/schemas/none"}}}}}}
            """)]);
        Struct widget = (await schemas.FindAsync(new SchemaSelector { ApiVersion = "example.org/v1", Kind = "Widget" }, token))!;
        Assert.That(widget.ToString(), Does.Not.Contain("$ref"));
        Struct spec = widget.Fields["properties"].StructValue.Fields["spec"].StructValue;
        Assert.That(spec.Fields["properties"].StructValue.Fields["size"].StructValue.Fields["type"].StringValue, Is.EqualTo("integer"));
        Assert.That(spec.Fields["properties"].StructValue.Fields["inner"].StructValue.Fields["x-kubernetes-preserve-unknown-fields"].BoolValue, Is.True, "what refers to itself ends");
        Assert.That(await schemas.FindAsync(new SchemaSelector { ApiVersion = "example.org/v2", Kind = "Widget" }, token), Is.Null);
        Assert.That(() => schemas.FindAsync(new SchemaSelector { ApiVersion = "v1", Kind = "Broken" }, token).AsTask(), Throws.InstanceOf<InvalidRequestException>().With.Message.Contains("leads nowhere"));
    }

    [Test, CancelAfter(60_000)]
    public void References_that_multiply_are_bounded([Values(2, 10)] int times, CancellationToken token)
    {
        var schemas = new Struct { Fields = { ["s0"] = Value.ForStruct(Object("{\"type\": \"string\"}")) } };
        for (int i = 1; i < 80; i++)
        {
            var schema = new Struct();
            for (int j = 0; j < times; j++)
                schema.Fields[$"p{j}"] = Value.ForStruct(new Struct { Fields = { ["$ref"] = Value.ForString($"#/components/schemas/s{i - 1}") } });
            schemas.Fields[$"s{i}"] = Value.ForStruct(schema);
        }

        schemas.Fields["s79"].StructValue.Fields["x-kubernetes-group-version-kind"] = Value.ForList(Value.ForStruct(Object("{\"version\": \"v1\", \"kind\": \"Bomb\"}")));
        var document = new Struct { Fields = { ["components"] = Value.ForStruct(new Struct { Fields = { ["schemas"] = Value.ForStruct(schemas) } }) } };
        Assert.That(() => new OpenApiSchemas([document]).FindAsync(new SchemaSelector { ApiVersion = "v1", Kind = "Bomb" }, token).AsTask(), Throws.InstanceOf<InvalidRequestException>().With.Message.Contains("more than"));
    }

    internal static Struct Object(string json) => JsonParser.Default.Parse<Struct>(json);

    private static PipelineStep Step(string name, string function) => new() { Name = name, FunctionName = function };

    private static PipelineRequest Request(IReadOnlyList<PipelineStep> steps, params (string Name, ICompositionFunction Function)[] functions) => new()
    {
        Steps = steps,
        Functions = functions.ToDictionary(f => f.Name, f => f.Function),
        Observed = new State { Composite = new Resource { Resource_ = Object("{\"kind\": \"XR\"}") } },
    };

    private static Resource Resource(string name) => new() { Resource_ = new Struct { Fields = { ["name"] = Value.ForString(name) } } };

    private static Struct ConfigMap(string name, string @namespace, string? label = null, string? app = null)
    {
        string labels = label is null ? "" : $", \"labels\": {{\"app\": \"{label}\"}}";
        string where = @namespace.Length == 0 ? "" : $", \"namespace\": \"{@namespace}\"";
        return Object($"{{\"apiVersion\": \"v1\", \"kind\": \"ConfigMap\", \"app\": \"{app}\", \"metadata\": {{\"name\": \"{name}\"{where}{labels}}}}}");
    }
}
