using System.Text.Json.Nodes;
using Xfn.Core.Composition;
using Xfn.Core.Composition.Protocol;

namespace GreetingFunction;

/// <summary>Composes a ConfigMap with a greeting for each person whom a Greeting names.</summary>
public sealed class Greeter : ICompositionFunction
{
    public Task<RunFunctionResponse> RunAsync(RunFunctionRequest request, CancellationToken cancellationToken = default)
    {
        GreetingInput input = request.GetInput(GreetingJson.Default.GreetingInput);
        Greeting greeting = request.GetObservedComposite(GreetingJson.Default.Greeting);

        // It begins with what the functions before this one want.
        RunFunctionResponse response = request.ToResponse();
        if (Salutation(input, greeting, request, response) is { } salutation)
            Greet(salutation, greeting, request, response);
        return Task.FromResult(response);
    }

    /// <summary>The words of the input, or those of the ConfigMap that it names; null as long as that was not looked
    /// for.</summary>
    private static string? Salutation(GreetingInput input, Greeting greeting, RunFunctionRequest request, RunFunctionResponse response)
    {
        if (input.SalutationFrom is not { } name)
            return input.Salutation;

        // What an answer requires is in the next request. Each answer says all that it requires.
        response.RequireResource("salutation", "v1", "ConfigMap", name, greeting.Metadata.Namespace);
        if (request.GetRequired("salutation") is not { } found)
            return null;
        return found is [var map, ..] && map["data"]?["salutation"] is { } salutation
            ? salutation.GetValue<string>()
            : throw new FatalResultException(
                $"cannot find a salutation: there is no ConfigMap '{name}' with a field data.salutation. " +
                "Apply one, or set salutation in the input.");
    }

    private static void Greet(string salutation, Greeting greeting, RunFunctionRequest request, RunFunctionResponse response)
    {
        var greetings = new JsonArray();
        foreach (string person in greeting.Spec.People)
        {
            string resource = "greeting-" + person.ToLowerInvariant(), text = $"{salutation}, {person}!";
            response.SetDesired(
                resource,
                new JsonObject { ["apiVersion"] = "v1", ["kind"] = "ConfigMap", ["data"] = new JsonObject { ["greeting"] = text } },
                ready: request.GetObserved(resource) is not null);
            greetings.Add((JsonNode)text);
        }

        response.SetContext("example.org/greetings", greetings);
        response.SetCompositeStatus(new JsonObject { ["greeted"] = greeting.Spec.People.Count });
        response.SetCondition("Greeted", status: true, reason: "Composed");
        response.Normal($"composed {greeting.Spec.People.Count} greetings");
    }
}
