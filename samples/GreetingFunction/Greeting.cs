using System.Text.Json.Serialization;

namespace GreetingFunction;

/// <summary>The composite resource: the fields that the function reads.</summary>
public sealed record Greeting(GreetingMetadata Metadata, GreetingSpec Spec);

public sealed record GreetingMetadata(string? Namespace = null);

public sealed record GreetingSpec(IReadOnlyList<string> People);

/// <summary>The input of a step. package/input.yaml describes it to users.</summary>
public sealed record GreetingInput(string Salutation = "Hello", string? SalutationFrom = null);

/// <summary>Reads these types without reflection, which native code does not have.</summary>
[JsonSourceGenerationOptions(
    PropertyNamingPolicy = JsonKnownNamingPolicy.CamelCase,
    RespectNullableAnnotations = true,
    RespectRequiredConstructorParameters = true)]
[JsonSerializable(typeof(Greeting))]
[JsonSerializable(typeof(GreetingInput))]
public sealed partial class GreetingJson : JsonSerializerContext;
