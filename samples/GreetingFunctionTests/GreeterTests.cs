using Google.Protobuf;
using Google.Protobuf.WellKnownTypes;
using GreetingFunction;
using NUnit.Framework;
using Xfn.Core.Composition;
using Xfn.Core.Composition.Protocol;

namespace GreetingFunctionTests;

/// <summary>Tests of the function as a method: no server, no container.</summary>
[CancelAfter(60_000)]
public class GreeterTests
{
    private const string Salutation = """{"metadata": {"name": "words"}, "data": {"salutation": "Good night"}}""";

    [Test]
    public async Task It_composes_a_ConfigMap_for_each_person(CancellationToken token)
    {
        RunFunctionResponse response = await RunAsync("""{"salutation": "Hi"}""", token);
        Assert.That(response.Desired.Resources.Keys, Is.EquivalentTo(new[] { "greeting-ada", "greeting-grace" }));
        Assert.That(response.GetDesired("greeting-ada")!.ToJsonString(), Is.EqualTo("""{"apiVersion":"v1","kind":"ConfigMap","data":{"greeting":"Hi, Ada!"}}"""));
        Assert.That(response.Results.Single().Message, Is.EqualTo("composed 2 greetings"));
        Assert.That(response.Desired.Composite.Resource_.ToJson().ToJsonString(), Is.EqualTo("""{"status":{"greeted":2}}"""));
        Assert.That(response.Context.ToJson().ToJsonString(), Is.EqualTo("""{"example.org/greetings":["Hi, Ada!","Hi, Grace!"]}"""));
    }

    [Test]
    public async Task A_ConfigMap_is_ready_once_it_is_there(CancellationToken token)
    {
        RunFunctionRequest request = Request("{}");
        request.Observed.Resources["greeting-ada"] = new Resource { Resource_ = new Struct() };
        RunFunctionResponse response = await new Greeter().AnswerAsync(request, token);
        Assert.That((response.Desired.Resources["greeting-ada"].Ready, response.Desired.Resources["greeting-grace"].Ready), Is.EqualTo((Ready.True, Ready.False)));
    }

    [Test]
    public async Task It_asks_for_the_ConfigMap_that_has_the_words_and_then_uses_it(CancellationToken token)
    {
        RunFunctionRequest request = Request("""{"salutationFrom": "words"}""");
        RunFunctionResponse asking = await new Greeter().AnswerAsync(request, token);
        Assert.That(asking.Requirements.Resources["salutation"].MatchName, Is.EqualTo("words"));
        Assert.That(asking.Desired.Resources, Is.Empty);

        request.RequiredResources["salutation"] = new Resources { Items = { new Resource { Resource_ = JsonParser.Default.Parse<Struct>(Salutation) } } };
        RunFunctionResponse response = await new Greeter().AnswerAsync(request, token);
        Assert.That((string?)response.GetDesired("greeting-ada")!["data"]!["greeting"], Is.EqualTo("Good night, Ada!"));
        Assert.That(response.Requirements, Is.EqualTo(asking.Requirements));
    }

    [Test]
    public async Task Without_that_ConfigMap_it_says_what_to_do(CancellationToken token)
    {
        RunFunctionRequest request = Request("""{"salutationFrom": "words"}""");
        request.RequiredResources["salutation"] = new Resources();
        RunFunctionResponse response = await new Greeter().AnswerAsync(request, token);
        Assert.That(response.Results.Single().Severity, Is.EqualTo(Severity.Fatal));
        Assert.That(response.Results.Single().Message, Is.EqualTo("cannot find a salutation: there is no ConfigMap 'words' with a field data.salutation. Apply one, or set salutation in the input."));
    }

    [Test]
    public async Task An_input_of_the_wrong_type_is_refused_by_the_name_of_its_field(CancellationToken token)
    {
        RunFunctionResponse response = await RunAsync("""{"salutation": 3}""", token);
        Assert.That(response.Results.Single().Message, Is.EqualTo("cannot read the input: field 'salutation': 3 is not of its type."));
    }

    private static Task<RunFunctionResponse> RunAsync(string input, CancellationToken token) => new Greeter().AnswerAsync(Request(input), token);

    private static RunFunctionRequest Request(string input) => new()
    {
        Input = JsonParser.Default.Parse<Struct>(input),
        Observed = new State { Composite = new Resource { Resource_ = JsonParser.Default.Parse<Struct>("""{"metadata": {"name": "morning"}, "spec": {"people": ["Ada", "Grace"]}}""") } },
    };
}
