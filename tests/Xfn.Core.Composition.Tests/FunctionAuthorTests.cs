using System.Text.Json.Nodes;
using System.Text.Json.Serialization;
using Google.Protobuf;
using Google.Protobuf.WellKnownTypes;
using Xfn.Core.Composition.Protocol;

namespace Xfn.Core.Composition.Tests;

/// <summary>What functions in C# read of a request and write into an answer.</summary>
internal sealed partial class FunctionAuthorTests
{
    [Test]
    public void An_answer_begins_with_what_was_wanted_and_does_not_change_the_request()
    {
        Protocol.RunFunctionRequest request = Request();
        Protocol.RunFunctionRequest before = request.Clone();
        Protocol.RunFunctionResponse response = request.ToResponse().SetDesired("bucket", new JsonObject { ["kind"] = "Changed" }).SetContext("b", 2);
        Assert.That((response.Meta.Tag, response.Meta.Ttl.ToTimeSpan()), Is.EqualTo(("tag", TimeSpan.FromMinutes(1))));
        Assert.That(response.Desired.Resources.Keys, Is.EquivalentTo(new[] { "bucket", "other" }));
        Assert.That(response.Context.ToJson().ToJsonString(), Is.EqualTo("""{"a":1,"b":2}"""));
        Assert.That(request, Is.EqualTo(before));
    }

    [Test]
    public void A_resource_that_is_wanted_differently_keeps_readiness_and_connection_details()
    {
        Protocol.RunFunctionResponse response = Request().ToResponse().SetDesired("bucket", new JsonObject { ["kind"] = "Changed" });
        Resource bucket = response.Desired.Resources["bucket"];
        Assert.That((response.GetDesired("bucket")!.ToJsonString(), bucket.Ready, bucket.ConnectionDetails["key"].ToStringUtf8()), Is.EqualTo(("""{"kind":"Changed"}""", Protocol.Ready.True, "secret")));
        Assert.That(response.SetDesired("bucket", [], ready: false).Desired.Resources["bucket"].Ready, Is.EqualTo(Protocol.Ready.False));
        Assert.That(response.RemoveDesired("bucket").GetDesired("bucket"), Is.Null);
    }

    [Test]
    public void Whole_numbers_are_read_as_such_and_as_any_type()
    {
        JsonObject read = Object("""{"n": 3, "big": 9007199254740992, "half": 0.5, "huge": 1e21, "minus": -7}""").ToJson();
        Assert.That(read.ToJsonString(), Is.EqualTo("""{"n":3,"big":9007199254740992,"half":0.5,"huge":1E+21,"minus":-7}"""));
        Assert.That((read["n"]!.GetValue<int>(), read["n"]!.GetValue<long>(), read["n"]!.GetValue<double>()), Is.EqualTo((3, 3L, 3.0)));
    }

    [TestCase("1234567890123456")]
    [TestCase("9007199254740991")]
    [TestCase("-9007199254740991")]
    [TestCase("9223372036854774784")]
    public void A_whole_number_that_a_double_holds_is_taken(string number)
    {
        Struct taken = new JsonObject { ["n"] = JsonNode.Parse(number) }.ToStruct();
        Assert.That(taken.Fields["n"].NumberValue.ToString("F0", System.Globalization.CultureInfo.InvariantCulture), Is.EqualTo(number));
    }

    [TestCase("9007199254740993")]
    [TestCase("9223372036854775807")]
    [TestCase("18446744073709551615")]
    [TestCase("1e400")]
    public void A_number_that_a_double_does_not_hold_is_refused(string number) => Assert.That(
        () => new JsonObject { ["n"] = JsonNode.Parse(number) }.ToStruct(),
        Throws.TypeOf<FormatException>().With.Message.EqualTo($"cannot put number '{number}' into an object: a double does not hold it. Send it as a string."));

    [Test]
    public void A_number_that_JSON_does_not_know_is_refused() =>
        Assert.That(() => Value.ForNumber(double.NaN).ToJson(), Throws.TypeOf<FormatException>().With.Message.Contains("'NaN'"));

    [Test]
    public void An_object_nested_without_end_is_refused_before_the_stack_overflows()
    {
        Value nested = Value.ForNull();
        for (int i = 0; i < 100_000; i++)
            nested = Value.ForList(nested);
        Assert.That(() => nested.ToJson(), Throws.TypeOf<FormatException>().With.Message.Contains("more than 128 levels"));
    }

    [Test]
    public void JSON_comes_back_as_it_was()
    {
        const string text = """{"a":[null,true,"x",{"b":{}}],"c":[]}""";
        Assert.That(((JsonObject)JsonNode.Parse(text)!).ToStruct().ToJson().ToJsonString(), Is.EqualTo(text));
    }

    [Test]
    public void Input_and_resources_are_read_as_types_and_written_as_them()
    {
        Protocol.RunFunctionRequest request = Request();
        request.Input = Object("""{"size": 3, "unknown": 1}""");
        Assert.That(request.GetInput(Json.Default.Box), Is.EqualTo(new Box(3)));
        Assert.That(request.ToResponse().SetDesired("box", new Box(4, "red"), Json.Default.Box).GetDesired("box")!.ToJsonString(), Is.EqualTo("""{"size":4,"colour":"red"}"""));
    }

    [TestCase("""{"size": "large"}""", """cannot read the input: field 'size': "large" is not of its type.""")]
    [TestCase("""{"size": 0.5}""", "cannot read the input: field 'size': 0.5 is not of its type.")]
    [TestCase("{}", "cannot read the input: JSON deserialization for type 'Xfn.Core.Composition.Tests.FunctionAuthorTests+Box' was missing required properties including: 'size'.")]
    public void What_is_not_of_the_type_is_a_fatal_result_that_names_the_field(string input, string message)
    {
        var request = new Protocol.RunFunctionRequest { Input = Object(input) };
        Assert.That(() => request.GetInput(Json.Default.Box), Throws.TypeOf<FatalResultException>().With.Message.EqualTo(message));
    }

    [Test, CancelAfter(60_000)]
    public async Task A_fatal_result_that_was_thrown_is_an_answer_that_wants_what_the_request_did(CancellationToken token)
    {
        Protocol.RunFunctionResponse response = await new Failing().AnswerAsync(Request(), token);
        Assert.That((response.Results.Single().Severity, response.Results.Single().Message), Is.EqualTo((Severity.Fatal, "no such size")));
        Assert.That(response.Desired, Is.EqualTo(Request().Desired));
    }

    [Test]
    public void Status_is_merged_into_the_composite_resource()
    {
        Protocol.RunFunctionResponse response = Request().ToResponse()
            .SetCompositeStatus(new JsonObject { ["a"] = new JsonObject { ["x"] = 1 }, ["list"] = new JsonArray(1) })
            .SetCompositeStatus(new JsonObject { ["a"] = new JsonObject { ["y"] = 2 }, ["list"] = new JsonArray() });
        Assert.That(response.Desired.Composite.Resource_.ToJson().ToJsonString(), Is.EqualTo("""{"status":{"a":{"x":1,"y":2},"list":[]}}"""));
    }

    [Test]
    public void Results_and_conditions_say_what_they_were_given()
    {
        Protocol.RunFunctionResponse response = new Protocol.RunFunctionResponse()
            .Normal("done").Warning("hot", "TooHot", Target.CompositeAndClaim).SetCondition("Cool", null, "Waiting").SetCondition("Cool", false, "TooHot", "It is hot.");
        Assert.That(response.Results.Select(result => (result.Severity, result.Message, result.HasReason, result.HasTarget)), Is.EqualTo(new[] { (Severity.Normal, "done", false, false), (Severity.Warning, "hot", true, true) }));
        Assert.That(response.Conditions.Select(condition => (condition.Type, condition.Status, condition.Reason, condition.Message)), Is.EqualTo(new[] { ("Cool", Status.ConditionFalse, "TooHot", "It is hot.") }));
    }

    [Test]
    public void Requirements_name_what_is_wanted_and_are_found_in_the_next_request()
    {
        Protocol.RunFunctionResponse response = new Protocol.RunFunctionResponse()
            .RequireResource("one", "v1", "ConfigMap", "settings", "apps")
            .RequireResources("some", "v1", "Secret", new Dictionary<string, string> { ["a"] = "b" })
            .RequireResources("all", "v1", "Node")
            .RequireSchema("schema", "v1", "Pod");
        Assert.That(response.Requirements.ToString(), Is.EqualTo(
            """{ "resources": { "one": { "apiVersion": "v1", "kind": "ConfigMap", "matchName": "settings", "namespace": "apps" }, "some": { "apiVersion": "v1", "kind": "Secret", "matchLabels": { "labels": { "a": "b" } } }, "all": { "apiVersion": "v1", "kind": "Node" } }, "schemas": { "schema": { "apiVersion": "v1", "kind": "Pod" } } }"""));

        var request = new Protocol.RunFunctionRequest
        {
            RequiredResources = { ["one"] = new Resources { Items = { new Resource { Resource_ = Object("""{"kind": "ConfigMap"}""") } } }, ["none"] = new Resources() },
            RequiredSchemas = { ["known"] = new Schema { OpenapiV3 = Object("""{"type": "object"}""") }, ["unknown"] = new Schema() },
        };
        Assert.That(request.GetRequired("one")!.Select(found => found.ToJsonString()), Is.EqualTo(new[] { """{"kind":"ConfigMap"}""" }));
        Assert.That((request.GetRequired("none")?.Count, request.GetRequired("later")), Is.EqualTo(((int?)0, (IReadOnlyList<JsonObject>?)null)));
        Assert.That((request.GetRequiredSchema("known")?.Count, request.GetRequiredSchema("unknown")?.Count, request.GetRequiredSchema("later")), Is.EqualTo(((int?)1, (int?)0, (JsonObject?)null)));
    }

    [Test]
    public void An_empty_request_has_nothing_to_read()
    {
        var request = new Protocol.RunFunctionRequest();
        Assert.That((request.GetInput(), request.GetObserved("a"), request.GetContext("a"), request.GetCredentials("a")), Is.EqualTo(((JsonObject?)null, (JsonObject?)null, (JsonNode?)null, (IReadOnlyDictionary<string, ReadOnlyMemory<byte>>?)null)));
        Assert.That((request.GetObservedComposite(), request.Supports(Capability.Credentials)), Is.EqualTo((new JsonObject(), false)));
        Assert.That(request.ToResponse(TimeSpan.Zero), Is.EqualTo(new Protocol.RunFunctionResponse { Meta = new ResponseMeta { Ttl = new Duration() }, Desired = new State() }));
    }

    [Test]
    public void Credentials_are_bytes_by_key()
    {
        var request = new Protocol.RunFunctionRequest { Credentials = { ["cloud"] = new Credentials { CredentialData = new CredentialData { Data = { ["token"] = ByteString.CopyFromUtf8("t") } } } } };
        Assert.That(request.GetCredentials("cloud")!["token"].ToArray(), Is.EqualTo("t"u8.ToArray()));
    }

    private static Protocol.RunFunctionRequest Request() => new()
    {
        Meta = new RequestMeta { Tag = "tag" },
        Context = Object("""{"a": 1}"""),
        Desired = new State
        {
            Resources =
            {
                ["bucket"] = new Resource { Resource_ = Object("""{"kind": "Bucket"}"""), Ready = Protocol.Ready.True, ConnectionDetails = { ["key"] = ByteString.CopyFromUtf8("secret") } },
                ["other"] = new Resource { Resource_ = Object("""{"kind": "Other"}""") },
            },
        },
    };

    private static Struct Object(string json) => JsonParser.Default.Parse<Struct>(json);

    private sealed class Failing : ICompositionFunction
    {
        public Task<Protocol.RunFunctionResponse> RunAsync(Protocol.RunFunctionRequest request, CancellationToken cancellationToken = default) => throw new FatalResultException("no such size");
    }

    internal sealed record Box(int Size, string? Colour = null);

    [JsonSourceGenerationOptions(PropertyNamingPolicy = JsonKnownNamingPolicy.CamelCase, RespectRequiredConstructorParameters = true)]
    [JsonSerializable(typeof(Box))]
    internal sealed partial class Json : JsonSerializerContext;
}
