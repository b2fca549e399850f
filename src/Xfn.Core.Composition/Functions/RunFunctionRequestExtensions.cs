using System.Text.Json.Nodes;
using System.Text.Json.Serialization.Metadata;
using Google.Protobuf.WellKnownTypes;
using Xfn.Core.Composition.Protocol;

namespace Xfn.Core.Composition;

/// <summary>What a function reads of a request, and the answer that it starts from.</summary>
/// <remarks>JSON and values of one's own are copies: to change one does not change the request.</remarks>
public static class RunFunctionRequestExtensions
{
    /// <summary>How long an answer may be used again by default: a minute, as with Crossplane's own SDKs.</summary>
    private static readonly TimeSpan DefaultTimeToLive = TimeSpan.FromMinutes(1);

    /// <summary>Begins an answer: what is desired and the context are the request's, so that what other functions want is
    /// passed on.</summary>
    /// <param name="request">The request.</param>
    /// <param name="timeToLive">How long the answer may be used again for an equal request. Null, the default, for a
    /// minute.</param>
    /// <returns>The answer.</returns>
    /// <exception cref="ArgumentOutOfRangeException"><paramref name="timeToLive"/> is negative.</exception>
    public static Protocol.RunFunctionResponse ToResponse(this Protocol.RunFunctionRequest request, TimeSpan? timeToLive = null)
    {
        ArgumentNullException.ThrowIfNull(request);
        ArgumentOutOfRangeException.ThrowIfLessThan(timeToLive ?? TimeSpan.Zero, TimeSpan.Zero, nameof(timeToLive));
        return new Protocol.RunFunctionResponse
        {
            Meta = new ResponseMeta { Tag = request.Meta?.Tag ?? "", Ttl = Duration.FromTimeSpan(timeToLive ?? DefaultTimeToLive) },
            Desired = request.Desired?.Clone() ?? new State(),
            Context = request.Context?.Clone(),
        };
    }

    /// <summary>Says whether the caller can do something. A caller older than Crossplane 2.2 does not say, and is said to
    /// be unable.</summary>
    /// <param name="request">The request.</param>
    /// <param name="capability">What is asked for.</param>
    /// <returns>Whether the caller says that it can.</returns>
    public static bool Supports(this Protocol.RunFunctionRequest request, Capability capability)
    {
        ArgumentNullException.ThrowIfNull(request);
        return request.Meta?.Capabilities.Contains(capability) == true;
    }

    /// <summary>Reads the step's input.</summary>
    /// <param name="request">The request.</param>
    /// <returns>The input; null where the step has none.</returns>
    /// <inheritdoc cref="StructConversion.ToJson(Struct)" path="/exception"/>
    public static JsonObject? GetInput(this Protocol.RunFunctionRequest request)
    {
        ArgumentNullException.ThrowIfNull(request);
        return request.Input?.ToJson();
    }

    /// <summary>Reads the step's input as a type of one's own.</summary>
    /// <typeparam name="T">The type.</typeparam>
    /// <param name="request">The request.</param>
    /// <param name="type">The type's description, as a <c>JsonSerializerContext</c> has it.</param>
    /// <returns>The input. A step without input is read as one without fields.</returns>
    /// <exception cref="FatalResultException">The input is not of that type; the message names the field.</exception>
    public static T GetInput<T>(this Protocol.RunFunctionRequest request, JsonTypeInfo<T> type)
        where T : notnull
    {
        ArgumentNullException.ThrowIfNull(request);
        return Read(request.Input, type, "the input");
    }

    /// <summary>Reads the composite resource as it was before the pipeline began.</summary>
    /// <param name="request">The request.</param>
    /// <returns>The object; one without fields where there is none.</returns>
    /// <inheritdoc cref="StructConversion.ToJson(Struct)" path="/exception"/>
    public static JsonObject GetObservedComposite(this Protocol.RunFunctionRequest request)
    {
        ArgumentNullException.ThrowIfNull(request);
        return request.Observed?.Composite?.Resource_?.ToJson() ?? [];
    }

    /// <summary>Reads the composite resource, as it was before the pipeline began, as a type of one's own.</summary>
    /// <typeparam name="T">The type.</typeparam>
    /// <param name="request">The request.</param>
    /// <param name="type">The type's description, as a <c>JsonSerializerContext</c> has it.</param>
    /// <returns>The composite resource.</returns>
    /// <exception cref="FatalResultException">It is not of that type; the message names the field.</exception>
    public static T GetObservedComposite<T>(this Protocol.RunFunctionRequest request, JsonTypeInfo<T> type)
        where T : notnull
    {
        ArgumentNullException.ThrowIfNull(request);
        return Read(request.Observed?.Composite?.Resource_, type, "the composite resource");
    }

    /// <summary>Reads a composed resource as it was before the pipeline began.</summary>
    /// <param name="request">The request.</param>
    /// <param name="name">The resource's name in the pipeline.</param>
    /// <returns>The object; null where there is none yet.</returns>
    /// <inheritdoc cref="StructConversion.ToJson(Struct)" path="/exception"/>
    public static JsonObject? GetObserved(this Protocol.RunFunctionRequest request, string name)
    {
        ArgumentNullException.ThrowIfNull(request);
        return request.Observed?.Resources.GetValueOrDefault(name)?.Resource_?.ToJson();
    }

    /// <summary>Reads the resources that the function required
    /// (<see cref="RunFunctionResponseExtensions.RequireResource"/>).</summary>
    /// <param name="request">The request.</param>
    /// <param name="requirement">The name of the requirement.</param>
    /// <returns>The resources, none where nothing was found; null where the caller has not looked yet. Then the function
    /// requires them, answers, and is asked again.</returns>
    /// <inheritdoc cref="StructConversion.ToJson(Struct)" path="/exception"/>
    public static IReadOnlyList<JsonObject>? GetRequired(this Protocol.RunFunctionRequest request, string requirement)
    {
        ArgumentNullException.ThrowIfNull(request);
        return request.RequiredResources.TryGetValue(requirement, out Resources? found) ? [.. found.Items.Select(item => item.Resource_?.ToJson() ?? [])] : null;
    }

    /// <summary>Reads a schema that the function required
    /// (<see cref="RunFunctionResponseExtensions.RequireSchema"/>).</summary>
    /// <param name="request">The request.</param>
    /// <param name="requirement">The name of the requirement.</param>
    /// <returns>The OpenAPI v3 schema, without fields where the caller knows none of that kind; null where the caller has
    /// not looked yet.</returns>
    /// <inheritdoc cref="StructConversion.ToJson(Struct)" path="/exception"/>
    public static JsonObject? GetRequiredSchema(this Protocol.RunFunctionRequest request, string requirement)
    {
        ArgumentNullException.ThrowIfNull(request);
        return request.RequiredSchemas.TryGetValue(requirement, out Schema? found) ? found.OpenapiV3?.ToJson() ?? [] : null;
    }

    /// <summary>Reads a field of the context, which functions before this one wrote.</summary>
    /// <param name="request">The request.</param>
    /// <param name="key">The field's name, by custom <c>GROUP/NAME</c>.</param>
    /// <returns>Its value; null where there is none.</returns>
    /// <inheritdoc cref="StructConversion.ToJson(Struct)" path="/exception"/>
    public static JsonNode? GetContext(this Protocol.RunFunctionRequest request, string key)
    {
        ArgumentNullException.ThrowIfNull(request);
        return request.Context?.Fields.GetValueOrDefault(key)?.ToJson();
    }

    /// <summary>Reads one of the step's credentials.</summary>
    /// <param name="request">The request.</param>
    /// <param name="name">The name that the step gives it.</param>
    /// <returns>The secret's data, decoded; null where the step has none of that name.</returns>
    public static IReadOnlyDictionary<string, ReadOnlyMemory<byte>>? GetCredentials(this Protocol.RunFunctionRequest request, string name)
    {
        ArgumentNullException.ThrowIfNull(request);
        return request.Credentials.GetValueOrDefault(name)?.CredentialData?.Data.ToDictionary(entry => entry.Key, entry => entry.Value.Memory);
    }

    private static T Read<T>(Struct? value, JsonTypeInfo<T> type, string what)
        where T : notnull
    {
        try
        {
            return (value ?? new Struct()).ToObject(type);
        }
        catch (FormatException ex)
        {
            throw new FatalResultException($"cannot read {what}: {ex.Message}", ex);
        }
    }
}
