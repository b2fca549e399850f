using Google.Protobuf.WellKnownTypes;
using Xfn.Core.Composition.Protocol;
using static Xfn.Core.Composition.Tests.Rendering.InlineFunction;

namespace Xfn.Core.Composition.Tests.Rendering;

/// <summary>What a render makes of functions' answers, with functions of this process.</summary>
[CancelAfter(60_000)]
internal sealed class RenderTests
{
    private const string Xr = """
        apiVersion: example.org/v1
        kind: App
        metadata:
          name: shop
        spec:
          size: 3
        """;

    private static Struct Steps(params string[] functions) => Object($$"""
        apiVersion: apiextensions.crossplane.io/v1
        kind: Composition
        metadata:
          name: apps
          labels: {tier: free}
        spec:
          compositeTypeRef: {apiVersion: example.org/v1, kind: App}
          mode: Pipeline
          pipeline: [{{string.Join(", ", functions.Select(function => $"{{step: step-{function}, functionRef: {{name: {function}}}}}"))}}]
        """);

    private static Task<RenderResult> RenderAsync(string xr, RenderOptions? options, CancellationToken token, params (string Name, ICompositionFunction Function)[] functions) =>
        Composition.RenderAsync(Object(xr), Steps([.. functions.Select(function => function.Name)]), [], (options ?? new()) with { Functions = functions.ToDictionary(it => it.Name, it => it.Function) }, token);

    [Test]
    public async Task A_composite_resource_comes_out_with_what_it_is_composed_of(CancellationToken token)
    {
        var function = new InlineFunction((request, response) =>
        {
            Want(response, "web", "{apiVersion: v1, kind: Service, metadata: {name: web}, spec: {ports: [{port: 80}]}}");
            Want(response, "data", "{apiVersion: s3.example.org/v1, kind: Bucket, spec: {size: 1.5, count: 3, none: null, map: {}, list: []}}", Protocol.Ready.True);
            response.Desired.Composite = new Resource { Resource_ = Object($"{{status: {{replicas: {request.Observed.Composite.Resource_.Fields["spec"].StructValue.Fields["size"].NumberValue}}}, spec: {{ignored: true}}}}") };
            response.Results.Add(new Protocol.Result { Severity = Severity.Normal, Message = "I'm done" });
            response.Results.Add(new Protocol.Result { Severity = Severity.Warning, Message = "Careful", Reason = "Doubt" });
            response.Context = Object("{example.org/key: [1]}");
            response.Conditions.Add(new Condition { Type = "Billed", Status = Status.ConditionFalse, Reason = "Unpaid", Message = "No money" });
            response.Conditions.Add(new Condition { Type = "Ready", Status = Status.ConditionTrue, Reason = "Mine" });
        });
        RenderResult result = await RenderAsync(Xr, new() { Output = RenderOutput.Results | RenderOutput.Context }, token, ("greet", function));
        Assert.That(result.ToString(), Is.EqualTo("""
            ---
            apiVersion: example.org/v1
            kind: App
            metadata:
              name: shop
            spec:
              crossplane:
                resourceRefs:
                - apiVersion: s3.example.org/v1
                  kind: Bucket
                  name: shop-8edd23447f65
                - apiVersion: v1
                  kind: Service
                  name: web
            status:
              conditions:
              - lastTransitionTime: "2024-01-01T00:00:00Z"
                reason: WatchCircuitClosed
                status: "True"
                type: Responsive
              - lastTransitionTime: "2024-01-01T00:00:00Z"
                message: No money
                reason: Unpaid
                status: "False"
                type: Billed
              - lastTransitionTime: "2024-01-01T00:00:00Z"
                reason: ReconcileSuccess
                status: "True"
                type: Synced
              - lastTransitionTime: "2024-01-01T00:00:00Z"
                message: 'Unready resources: web'
                reason: Creating
                status: "False"
                type: Ready
              replicas: 3
            ---
            apiVersion: s3.example.org/v1
            kind: Bucket
            metadata:
              annotations:
                crossplane.io/composition-resource-name: data
              generateName: shop-
              labels:
                crossplane.io/composite: shop
              name: shop-8edd23447f65
              ownerReferences:
              - apiVersion: example.org/v1
                blockOwnerDeletion: true
                controller: true
                kind: App
                name: shop
                uid: UID
            spec:
              count: 3
              list: []
              map: {}
              none: null
              size: 1.5
            ---
            apiVersion: v1
            kind: Service
            metadata:
              annotations:
                crossplane.io/composition-resource-name: web
              labels:
                crossplane.io/composite: shop
              name: web
              ownerReferences:
              - apiVersion: example.org/v1
                blockOwnerDeletion: true
                controller: true
                kind: App
                name: shop
                uid: UID
            spec:
              ports:
              - port: 80
            ---
            apiVersion: render.crossplane.io/v1beta1
            kind: Result
            message: 'Successfully selected composition: apps'
            reason: SelectComposition
            severity: Normal
            ---
            apiVersion: render.crossplane.io/v1beta1
            kind: Result
            message: 'Pipeline step "step-greet": I''m done'
            reason: ComposeResources
            severity: Normal
            ---
            apiVersion: render.crossplane.io/v1beta1
            kind: Result
            message: 'Pipeline step "step-greet": Careful'
            reason: Doubt
            severity: Warning
            ---
            apiVersion: render.crossplane.io/v1beta1
            kind: Result
            message: Composed resource "web" is not yet ready
            reason: ComposeResources
            severity: Normal
            ---
            apiVersion: render.crossplane.io/v1beta1
            fields:
              example.org/key:
              - 1
            kind: Context

            """.Replace("UID", Text(result["web"], "metadata", "ownerReferences", "0", "uid"))));
        Assert.That(result.Deleted, Is.Empty);
    }

    // Figures of Crossplane's own command, as its users show them: the uid of a composite resource and the name of one
    // that it is composed of.
    [TestCase("platform.hooli.tech/v1alpha1", "XQueue", "team-a", "demo-queue", "main-queue", "ac342a8b-3073-5ef8-90e7-894635caa1f2", "demo-queue-2d702055d0fb")]
    [TestCase("platform.example.com/v1alpha1", "WebApp", "default", "podinfo", null, "88356664-76da-5ea5-a715-b1bde80fe0a5", null)]
    [TestCase("example.crossplane.io/v1", "XR", null, "example-xr", null, "0749c14a-4f6a-5a82-a298-88e58db51cf6", null)]
    public async Task Ids_and_names_are_those_that_Crossplane_makes(string version, string kind, string? place, string name, string? resource, string uid, string? made, CancellationToken token)
    {
        string xr = $"{{apiVersion: {version}, kind: {kind}, metadata: {{name: {name}{(place is null ? "" : $", namespace: {place}")}}}}}";
        Struct composition = Steps("f");
        composition.Fields["spec"].StructValue.Fields["compositeTypeRef"] = Value.ForStruct(Object($"{{apiVersion: {version}, kind: {kind}}}"));
        var options = new RenderOptions { Functions = new Dictionary<string, ICompositionFunction> { ["f"] = Wanting(resource ?? "any", "{apiVersion: v1, kind: Any}") } };
        RenderResult result = await Composition.RenderAsync(Object(xr), composition, [], options, token);
        Assert.That(Text(result.Resources[0], "metadata", "ownerReferences", "0", "uid"), Is.EqualTo(uid));
        if (made is not null)
            Assert.That(Text(result.Resources[0], "metadata", "name"), Is.EqualTo(made));
    }

    [Test]
    public async Task Functions_see_the_composite_resource_with_its_uid(CancellationToken token)
    {
        var function = new InlineFunction((_, _) => { });
        await RenderAsync(Xr, null, token, ("f", function));
        Struct seen = function.Requests[0].Observed.Composite.Resource_;
        Assert.That((Text(seen, "metadata", "uid").Length, Text(seen, "metadata", "labels", "crossplane.io/composite"), Text(seen, "metadata", "resourceVersion")), Is.EqualTo((36, "shop", "999")));
    }

    [Test]
    public async Task All_of_the_composite_resource_is_shown_with_the_result_in_it(CancellationToken token)
    {
        RenderResult result = await RenderAsync(Xr, new() { Output = RenderOutput.FullComposite }, token, ("f", new InlineFunction((_, _) => { })));
        Assert.That(result.ToString(), Does.StartWith("---\napiVersion: example.org/v1\nkind: App\nmetadata:\n  name: shop\nspec:\n  crossplane:\n    resourceRefs: []\n  size: 3\nstatus:\n"));
        Assert.That(result.ToYaml(RenderOutput.None), Does.Not.Contain("size"));
    }

    [TestCase(Protocol.Ready.Unspecified, 0, "Available", "")]
    [TestCase(Protocol.Ready.Unspecified, 2, "Creating", "Unready resources: r0, r1")]
    [TestCase(Protocol.Ready.Unspecified, 5, "Creating", "Unready resources: r0, r1, r2, and 2 more")]
    [TestCase(Protocol.Ready.True, 2, "Available", "")]
    [TestCase(Protocol.Ready.False, 0, "Creating", "")]
    public async Task Readiness_is_that_of_the_resources_unless_a_function_says_it(Protocol.Ready composite, int unready, string reason, string message, CancellationToken token)
    {
        var function = new InlineFunction((_, response) =>
        {
            response.Desired.Composite = new Resource { Ready = composite };
            Want(response, "ready", "{apiVersion: v1, kind: A}", Protocol.Ready.True);
            for (int i = 0; i < unready; i++)
                Want(response, $"r{i}", "{apiVersion: v1, kind: A}", i % 2 == 0 ? Protocol.Ready.False : Protocol.Ready.Unspecified);
        });
        RenderResult result = await RenderAsync(Xr, null, token, ("f", function));
        Struct ready = result.Composite.Fields["status"].StructValue.Fields["conditions"].ListValue.Values[^1].StructValue;
        Assert.That((Text(ready, "type"), Text(ready, "reason"), Text(ready, "message")), Is.EqualTo(("Ready", reason, message)));
    }

    [Test]
    public async Task An_observed_resource_keeps_its_name_and_one_that_nobody_wants_is_deleted(CancellationToken token)
    {
        var options = new RenderOptions
        {
            ObservedResources =
            [
                Object("{apiVersion: v1, kind: A, metadata: {name: kept, generateName: shop-, annotations: {crossplane.io/composition-resource-name: a}}, status: {conditions: [{type: Ready, lastTransitionTime: '2025-05-05T00:00:00Z'}]}}"),
                Object("{apiVersion: v1, kind: B, metadata: {name: old, annotations: {crossplane.io/composition-resource-name: b}}}"),
                Object("{apiVersion: v1, kind: C, metadata: {name: stray}}"),
            ],
        };
        var function = new InlineFunction((request, response) => response.Desired.Resources["a"] = new Resource { Resource_ = request.Observed.Resources["a"].Resource_.Clone() });
        RenderResult result = await RenderAsync(Xr, options, token, ("f", function));
        Assert.That((Text(result["a"], "metadata", "name"), Text(result["a"], "metadata", "generateName")), Is.EqualTo(("kept", "shop-")));
        Assert.That(CompositionObjects.ToYaml(result["a"]), Does.Contain("lastTransitionTime: \"2024-01-01T00:00:00Z\""));
        Assert.That(result.Deleted.Select(deleted => Text(deleted, "metadata", "name")), Is.EqualTo(["old"]));
        Assert.That(result.Notes, Is.EqualTo(["observed C 'stray' is left out: it has no annotation 'crossplane.io/composition-resource-name', so it is nothing of the composition's."]));
        Assert.That(function.Requests[0].Observed.Resources.Keys, Is.EquivalentTo(["a", "b"]));
    }

    [TestCase("{apiVersion: v1, kind: A, metadata: {name: a, annotations: {crossplane.io/composition-resource-name: a}, ownerReferences: [{controller: true, uid: other}]}}", "its controller has uid 'other'")]
    [TestCase("{kind: A, metadata: {name: a, annotations: {crossplane.io/composition-resource-name: a}}}", "it has no apiVersion or no kind")]
    public void An_observed_resource_of_somebody_else_is_refused(string observed, string told, CancellationToken token) =>
        Assert.That(() => RenderAsync(Xr, new() { ObservedResources = [Object(observed)] }, token), Throws.TypeOf<RenderException>().With.Message.Contains(told).And.Property("Reason").EqualTo(RenderFailure.Input));

    [Test]
    public async Task A_namespaced_composite_resource_has_all_in_its_namespace(CancellationToken token)
    {
        RenderResult result = await RenderAsync(Xr.Replace("name: shop", "{name: shop, namespace: team}").Replace("metadata:\n  {", "metadata: {"), new() { Output = RenderOutput.Results }, token, ("f", Wanting("a", "{apiVersion: v1, kind: A, metadata: {namespace: elsewhere}}")));
        Assert.That(Text(result["a"], "metadata", "namespace"), Is.EqualTo("team"));
        Assert.That(result.Events, Has.Some.Matches<RenderEvent>(it => it is { Type: "Warning", Reason: "NamespaceOverridden" }));
        Assert.That(CompositionObjects.ToYaml(result.Composite), Does.Contain("  namespace: team\n").And.Not.Contain("elsewhere"));
    }

    [TestCase("a/b")]
    [TestCase("A")]
    [TestCase("a_b")]
    [TestCase("-a")]
    [TestCase("a:b")]
    public void A_name_that_Kubernetes_does_not_take_is_refused(string name, CancellationToken token) => Assert.That(
        () => RenderAsync(Xr, null, token, ("f", Wanting("a", $"{{apiVersion: v1, kind: A, metadata: {{name: '{name}'}}}}"))),
        Throws.TypeOf<RenderException>().With.Message.Contains($"'{name}' is no name for a A").And.Property("Reason").EqualTo(RenderFailure.Result));

    [Test]
    public async Task Access_rules_may_have_colons_in_their_names(CancellationToken token)
    {
        RenderResult result = await RenderAsync(Xr, null, token, ("f", Wanting("a", "{apiVersion: rbac.authorization.k8s.io/v1, kind: ClusterRole, metadata: {name: 'a:b'}}")));
        Assert.That(Text(result["a"], "metadata", "name"), Is.EqualTo("a:b"));
    }

    [Test]
    public async Task A_long_name_is_cut_before_what_makes_it_unique(CancellationToken token)
    {
        RenderResult result = await RenderAsync(Xr.Replace("shop", new string('x', 80)), null, token, ("f", Wanting("a", "{apiVersion: v1, kind: A}")));
        Assert.That(Text(result["a"], "metadata", "name"), Does.Match("^x{51}[0-9a-f]{12}$"));
    }

    [Test]
    public async Task Labels_of_a_claim_are_passed_on(CancellationToken token)
    {
        string xr = Xr.Replace("  name: shop", "  name: shop\n  labels: {crossplane.io/claim-name: c, crossplane.io/claim-namespace: team, crossplane.io/composite: other}");
        RenderResult result = await RenderAsync(xr, null, token, ("f", Wanting("a", "{apiVersion: v1, kind: A, metadata: {labels: {mine: x}}}")));
        Assert.That(CompositionObjects.ToYaml(result["a"]), Does.Contain("  labels:\n    crossplane.io/claim-name: c\n    crossplane.io/claim-namespace: team\n    crossplane.io/composite: other\n    mine: x\n").And.Contain("  generateName: other-\n"));
    }

    [TestCase("v1", "", false)]
    [TestCase("v1", "scope: LegacyCluster, ", false)]
    [TestCase("v2", "scope: LegacyCluster, ", false)]
    [TestCase("v1", "scope: Cluster, ", true)]
    [TestCase("v2", "", true)]
    public async Task A_definition_sets_defaults_and_says_where_Crossplanes_fields_are(string version, string scope, bool isModern, CancellationToken token)
    {
        Struct definition = Object("""
            apiVersion: apiextensions.crossplane.io/VERSION
            kind: CompositeResourceDefinition
            metadata: {name: apps.example.org}
            spec: { SCOPEgroup: example.org, names: {kind: App, plural: apps}, versions: [{name: v0}, {name: v1, schema: {openAPIV3Schema: {type: object, properties: {spec: {type: object, default: {}, properties: {
              size: {type: integer, default: 1}, color: {type: string, default: red}, nothing: {type: string},
              deep: {type: object, default: {}, properties: {a: {type: string, default: b}}},
              absent: {type: object, properties: {a: {type: string, default: b}}},
              list: {type: array, items: {type: object, properties: {a: {type: string, default: b}}}},
              map: {type: object, additionalProperties: {type: object, properties: {a: {type: string, default: b}}}}}}}}}}] }
            """.Replace("VERSION", version).Replace("SCOPE", scope));
        var function = new InlineFunction((_, _) => { });
        RenderResult result = await RenderAsync(Xr.Replace("size: 3", "{size: 3, list: [{}, {a: c}], map: {x: {}}}").Replace("spec:\n  {", "spec: {"), new() { Definition = definition }, token, ("f", function));
        Assert.That(CompositionObjects.ToYaml(new Struct { Fields = { ["spec"] = function.Requests[0].Observed.Composite.Resource_.Fields["spec"] } }), Is.EqualTo("""
            spec:
              color: red
              deep:
                a: b
              list:
              - a: b
              - a: c
              map:
                x:
                  a: b
              size: 3

            """));
        Assert.That(CompositionObjects.ToYaml(result.Composite), Does.Contain(isModern ? "spec:\n  crossplane:\n    resourceRefs: []\n" : "spec:\n  resourceRefs: []\n"));
    }

    [Test]
    public async Task A_fatal_result_ends_the_render_with_what_there_is(CancellationToken token)
    {
        var fatal = new InlineFunction((_, response) =>
        {
            response.Results.Add(new Protocol.Result { Severity = Severity.Normal, Message = "before" });
            response.Results.Add(new Protocol.Result { Severity = Severity.Fatal, Message = "no such thing" });
        });
        RenderException? thrown = await Assert.ThrowsAsync<RenderException>(() => RenderAsync(Xr, new() { Output = RenderOutput.Results }, token, ("one", Wanting("a", "{apiVersion: v1, kind: A}")), ("two", fatal)));
        Assert.That((thrown!.Reason, thrown.Message), Is.EqualTo((RenderFailure.Fatal, "cannot render App 'shop': pipeline step \"step-two\" returned a fatal result: no such thing")));
        Assert.That(thrown.Partial!.ToString(), Does.Contain("Pipeline step \"step-two\": before").And.Contain("'cannot compose resources: pipeline step \"step-two\" returned a fatal result:\n  no such thing'\n").And.Not.Contain("kind: A\n"));
    }

    [Test]
    public async Task Of_conditions_of_one_type_the_last_holds_in_its_place(CancellationToken token)
    {
        static void Say(Protocol.RunFunctionResponse response, params (string Type, string Reason)[] conditions) =>
            response.Conditions.AddRange(conditions.Select(condition => new Condition { Type = condition.Type, Reason = condition.Reason, Status = (Status)99 }));
        RenderResult result = await RenderAsync(
            Xr, null, token, ("one", new InlineFunction((_, response) => Say(response, ("A", "first"), ("B", "only")))), ("two", new InlineFunction((_, response) => Say(response, ("A", "second")))));
        Assert.That(result.Composite.Fields["status"].StructValue.Fields["conditions"].ListValue.Values.Select(condition => $"{Text(condition.StructValue, "type")} {Text(condition.StructValue, "status")} {Text(condition.StructValue, "reason")}"),
            Is.EqualTo(new[] { "Responsive True WatchCircuitClosed", "B Unknown only", "A Unknown second", "Synced True ReconcileSuccess", "Ready True Available" }));
    }

    [Test]
    public async Task Numbers_and_values_that_are_odd_are_written_as_JSON_has_them(CancellationToken token)
    {
        var odd = new Struct { Fields = { ["zero"] = Value.ForNumber(-0.0), ["most"] = Value.ForNumber(double.MaxValue), ["least"] = Value.ForNumber(double.Epsilon), ["none"] = new Value(), [""] = Value.ForString("no name") } };
        RenderResult result = await RenderAsync(Xr, null, token, ("odd", new InlineFunction((_, response) =>
        {
            Want(response, "a", "{apiVersion: v1, kind: A}");
            response.Desired.Resources["a"].Resource_.Fields["spec"] = Value.ForStruct(odd);
            response.Desired.Resources["a"].Ready = (Protocol.Ready)99;
        })));
        string written = CompositionObjects.ToYaml(result["a"]);
        Assert.That(written, Does.EndWith("spec:\n  \"\": no name\n  least: 5e-324\n  most: 1.7976931348623157e+308\n  none: null\n  zero: 0\n"));
        Assert.That(CompositionObjects.Parse(written), Has.Count.EqualTo(1));
    }

    [Test]
    public async Task The_context_goes_from_the_options_through_the_steps_to_the_result(CancellationToken token)
    {
        var second = new InlineFunction((_, _) => { });
        RenderResult result = await RenderAsync(Xr, new() { Context = Object("{a: 1}") }, token, ("one", new InlineFunction((_, response) => response.Context.Fields["b"] = Value.ForNumber(2))), ("two", second));
        Assert.That(CompositionObjects.ToYaml(second.Requests[0].Context), Is.EqualTo("a: 1\nb: 2\n"));
        Assert.That(CompositionObjects.ToYaml(result.Context), Is.EqualTo("a: 1\nb: 2\n"));
    }

    [Test]
    public async Task Required_resources_are_found_by_their_labels(CancellationToken token)
    {
        var function = new InlineFunction((request, response) =>
        {
            response.Requirements = new Requirements { Resources = { ["pods"] = new ResourceSelector { ApiVersion = "v1", Kind = "Pod", MatchLabels = new MatchLabels { Labels = { ["app"] = "x" } } } } };
            if (request.RequiredResources.TryGetValue("pods", out Resources? pods))
                Want(response, "a", $"{{apiVersion: v1, kind: A, spec: {{pods: [{string.Join(", ", pods.Items.Select(pod => Text(pod.Resource_, "metadata", "name")))}]}}}}");
        });
        Struct Pod(string name, string app) => Object($"{{apiVersion: v1, kind: Pod, metadata: {{name: {name}, labels: {{app: {app}}}}}}}");
        RenderResult result = await RenderAsync(Xr, new() { RequiredResources = [Pod("two", "x"), Pod("other", "z"), Pod("one", "x")] }, token, ("f", function));
        Assert.That(CompositionObjects.ToYaml(result["a"]), Does.Contain("  pods:\n  - one\n  - two\n"));
    }

    [Test]
    public async Task What_does_not_fit_together_is_told(CancellationToken token)
    {
        async Task<string> ToldAsync(string xr, Action<Struct>? change = null)
        {
            Struct composition = Steps("f");
            change?.Invoke(composition);
            RenderException thrown = await CaughtAsync(() => Composition.RenderAsync(Object(xr), composition, [], cancellationToken: token));
            Assert.That(thrown.Reason, Is.EqualTo(RenderFailure.Input));
            return thrown.Message;
        }

        Assert.That(await ToldAsync(Xr.Replace("v1", "v2")), Does.StartWith("cannot use composition 'apps' for App 'shop': it is for App of 'example.org/v1'"));
        Assert.That(await ToldAsync(Xr.Replace("size: 3", "compositionSelector: {matchLabels: {tier: paid}}")), Does.Contain("selects compositions with the label 'tier: paid'"));
        Assert.That(await ToldAsync(Xr, it => it.Fields["spec"].StructValue.Fields["mode"] = Value.ForString("Resources")), Does.Contain("its mode is 'Resources'"));
        Assert.That(await ToldAsync(Xr, it => it.Fields["kind"] = Value.ForString("Function")), Does.Contain("expected kind Composition"));
        Assert.That(await ToldAsync("{kind: App}"), Does.Contain("it has no apiVersion, kind or metadata.name"));
        Assert.That(await ToldAsync(Xr), Does.Contain("there is no function 'f', which composition 'apps' names"));
    }

    [Test]
    public void A_render_that_takes_too_long_is_ended(CancellationToken token)
    {
        var hang = new HangingFunction();
        Assert.That(() => RenderAsync(Xr, new() { Timeout = TimeSpan.FromMilliseconds(50) }, token, ("f", hang)), Throws.TypeOf<RenderException>().With.Property("Reason").EqualTo(RenderFailure.Timeout).And.Message.StartsWith("cannot render App 'shop': after 0.05 s it was not done."));
    }

    [Test]
    public async Task Numbers_stay_as_they_are_written(CancellationToken token)
    {
        RenderResult result = await RenderAsync(Xr, null, token, ("f", Wanting("a", "{apiVersion: v1, kind: A, spec: [3, 3.0, 0.1, 1e3, 9007199254740992, -5, 1500000.5]}")));
        Assert.That(CompositionObjects.ToYaml(result["a"]), Does.EndWith("spec:\n- 3\n- 3\n- 0.1\n- 1000\n- 9007199254740992\n- -5\n- 1.5000005e+06\n"));
    }

    private static async Task<RenderException> CaughtAsync(Func<Task> action)
    {
        try
        {
            await action();
        }
        catch (RenderException e)
        {
            return e;
        }

        throw new AssertionException("Nothing was thrown.");
    }

    private static string Text(Struct it, params string[] path)
    {
        Value value = Value.ForStruct(it);
        foreach (string name in path)
            value = value.KindCase == Value.KindOneofCase.ListValue ? value.ListValue.Values[int.Parse(name)] : value.StructValue.Fields.GetValueOrDefault(name) ?? Value.ForString("");
        return value.StringValue;
    }

    private sealed class HangingFunction : ICompositionFunction
    {
        public async Task<Protocol.RunFunctionResponse> RunAsync(Protocol.RunFunctionRequest request, CancellationToken cancellationToken = default)
        {
            await Task.Delay(Timeout.Infinite, cancellationToken);
            return new();
        }
    }
}
