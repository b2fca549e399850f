using System.Text.Json.Nodes;
using System.Text.Json.Serialization.Metadata;
using Google.Protobuf.WellKnownTypes;
using Xfn.Core.Composition.Protocol;

namespace Xfn.Core.Composition;

/// <summary>What a function writes into its answer. Each method returns the answer, so that calls can follow one
/// another.</summary>
public static class RunFunctionResponseExtensions
{
    /// <summary>Reads a composed resource as this function and those before it want it.</summary>
    /// <param name="response">The answer.</param>
    /// <param name="name">The resource's name in the pipeline.</param>
    /// <returns>A copy of the object; null where nobody wants one of that name.</returns>
    /// <inheritdoc cref="StructConversion.ToJson(Struct)" path="/exception"/>
    public static JsonObject? GetDesired(this Protocol.RunFunctionResponse response, string name)
    {
        ArgumentNullException.ThrowIfNull(response);
        return response.Desired?.Resources.GetValueOrDefault(name)?.Resource_?.ToJson();
    }

    /// <summary>Wants a composed resource: adds it, or puts it in the place of the one of that name, whose readiness and
    /// connection details stay.</summary>
    /// <param name="response">The answer.</param>
    /// <param name="name">The resource's name in the pipeline.</param>
    /// <param name="resource">The object, with the fields that the function cares for.</param>
    /// <param name="ready">Whether the resource is ready; null, the default, to leave that as it is.</param>
    /// <returns>The answer.</returns>
    /// <inheritdoc cref="StructConversion.ToStruct(JsonObject)" path="/exception"/>
    public static Protocol.RunFunctionResponse SetDesired(this Protocol.RunFunctionResponse response, string name, JsonObject resource, bool? ready = null)
    {
        ArgumentNullException.ThrowIfNull(resource);
        return response.SetDesired(name, resource.ToStruct(), ready);
    }

    /// <summary>Wants a composed resource that is a value of a type of one's own.</summary>
    /// <typeparam name="T">The type.</typeparam>
    /// <param name="response">The answer.</param>
    /// <param name="name">The resource's name in the pipeline.</param>
    /// <param name="resource">The value.</param>
    /// <param name="type">The type's description, as a <c>JsonSerializerContext</c> has it.</param>
    /// <param name="ready">Whether the resource is ready; null, the default, to leave that as it is.</param>
    /// <returns>The answer.</returns>
    /// <inheritdoc cref="StructConversion.ToStruct{T}" path="/exception"/>
    public static Protocol.RunFunctionResponse SetDesired<T>(this Protocol.RunFunctionResponse response, string name, T resource, JsonTypeInfo<T> type, bool? ready = null)
        where T : notnull =>
        response.SetDesired(name, StructConversion.ToStruct(resource, type), ready);

    /// <summary>Wants a composed resource no longer. One that is there and that no function wants is deleted.</summary>
    /// <param name="response">The answer.</param>
    /// <param name="name">The resource's name in the pipeline.</param>
    /// <returns>The answer.</returns>
    public static Protocol.RunFunctionResponse RemoveDesired(this Protocol.RunFunctionResponse response, string name)
    {
        ArgumentNullException.ThrowIfNull(response);
        response.Desired?.Resources.Remove(name);
        return response;
    }

    /// <summary>Sets fields of the composite resource's status. Others stay; objects in it are merged, lists
    /// replaced.</summary>
    /// <param name="response">The answer.</param>
    /// <param name="status">The fields.</param>
    /// <returns>The answer.</returns>
    /// <inheritdoc cref="StructConversion.ToStruct(JsonObject)" path="/exception"/>
    public static Protocol.RunFunctionResponse SetCompositeStatus(this Protocol.RunFunctionResponse response, JsonObject status)
    {
        ArgumentNullException.ThrowIfNull(response);
        ArgumentNullException.ThrowIfNull(status);
        response.Desired ??= new State();
        response.Desired.Composite ??= new Resource();
        response.Desired.Composite.Resource_ ??= new Struct();
        Merge(response.Desired.Composite.Resource_, new Struct { Fields = { ["status"] = Value.ForStruct(status.ToStruct()) } });
        return response;
    }

    /// <summary>Writes a field of the context, which the functions after this one read.</summary>
    /// <param name="response">The answer.</param>
    /// <param name="key">The field's name, by custom <c>GROUP/NAME</c>.</param>
    /// <param name="value">Its value.</param>
    /// <returns>The answer.</returns>
    /// <inheritdoc cref="StructConversion.ToStruct(JsonObject)" path="/exception"/>
    public static Protocol.RunFunctionResponse SetContext(this Protocol.RunFunctionResponse response, string key, JsonNode? value)
    {
        ArgumentNullException.ThrowIfNull(response);
        (response.Context ??= new Struct()).Fields[key] = value.ToValue();
        return response;
    }

    /// <summary>Ends the pipeline with an error.</summary>
    /// <param name="response">The answer.</param>
    /// <param name="message">What is wrong, in words for users.</param>
    /// <returns>The answer.</returns>
    public static Protocol.RunFunctionResponse Fatal(this Protocol.RunFunctionResponse response, string message) => response.Add(Severity.Fatal, message, null, null);

    /// <summary>Tells users of something that they should look at.</summary>
    /// <param name="response">The answer.</param>
    /// <param name="message">What it is.</param>
    /// <param name="reason">A word in CamelCase that programs can look for; null, the default, for the caller's own.</param>
    /// <param name="target">Where it is shown; null, the default, for the composite resource.</param>
    /// <returns>The answer.</returns>
    public static Protocol.RunFunctionResponse Warning(this Protocol.RunFunctionResponse response, string message, string? reason = null, Target? target = null) =>
        response.Add(Severity.Warning, message, reason, target);

    /// <summary>Tells users what was done.</summary>
    /// <inheritdoc cref="Warning"/>
    public static Protocol.RunFunctionResponse Normal(this Protocol.RunFunctionResponse response, string message, string? reason = null, Target? target = null) =>
        response.Add(Severity.Normal, message, reason, target);

    /// <summary>Sets a condition of the composite resource, in the place of one of that type in this answer.</summary>
    /// <param name="response">The answer.</param>
    /// <param name="type">The condition's type. <c>Ready</c> and <c>Synced</c> are Crossplane's own, and are left out by
    /// it.</param>
    /// <param name="status">Whether it holds; null where that is unknown.</param>
    /// <param name="reason">Why, as a word in CamelCase.</param>
    /// <param name="message">Why, as a sentence; null, the default, for none.</param>
    /// <param name="target">Where it is shown; null, the default, for the composite resource.</param>
    /// <returns>The answer.</returns>
    public static Protocol.RunFunctionResponse SetCondition(this Protocol.RunFunctionResponse response, string type, bool? status, string reason, string? message = null, Target? target = null)
    {
        ArgumentNullException.ThrowIfNull(response);
        var condition = new Condition { Type = type, Reason = reason, Status = status switch { true => Status.ConditionTrue, false => Status.ConditionFalse, null => Status.ConditionUnknown } };
        if (message is not null)
            condition.Message = message;
        if (target is { } where)
            condition.Target = where;
        if (response.Conditions.FirstOrDefault(set => set.Type == type) is { } former)
            response.Conditions.Remove(former);
        response.Conditions.Add(condition);
        return response;
    }

    /// <summary>Requires one resource by its name. A requirement holds for one answer: say it in every one.</summary>
    /// <param name="response">The answer.</param>
    /// <param name="requirement">A name for the requirement, by which
    /// <see cref="RunFunctionRequestExtensions.GetRequired"/> finds what came of it.</param>
    /// <param name="apiVersion">The resource's group and version, such as <c>apps/v1</c>.</param>
    /// <param name="kind">The resource's kind.</param>
    /// <param name="name">The resource's name.</param>
    /// <param name="resourceNamespace">The resource's namespace; null, the default, for one that has none.</param>
    /// <returns>The answer.</returns>
    public static Protocol.RunFunctionResponse RequireResource(this Protocol.RunFunctionResponse response, string requirement, string apiVersion, string kind, string name, string? resourceNamespace = null) =>
        response.Require(requirement, new ResourceSelector { ApiVersion = apiVersion, Kind = kind, MatchName = name }, resourceNamespace);

    /// <summary>Requires all resources of a kind, or those with labels. A requirement holds for one answer: say it in every
    /// one.</summary>
    /// <param name="response">The answer.</param>
    /// <param name="requirement">A name for the requirement, by which
    /// <see cref="RunFunctionRequestExtensions.GetRequired"/> finds what came of it.</param>
    /// <param name="apiVersion">The resources' group and version, such as <c>apps/v1</c>.</param>
    /// <param name="kind">The resources' kind.</param>
    /// <param name="labels">The labels that a resource must all have; null, the default, for every resource of the
    /// kind.</param>
    /// <param name="resourceNamespace">The resources' namespace; null, the default, for all of them.</param>
    /// <returns>The answer.</returns>
    public static Protocol.RunFunctionResponse RequireResources(
        this Protocol.RunFunctionResponse response, string requirement, string apiVersion, string kind, IReadOnlyDictionary<string, string>? labels = null, string? resourceNamespace = null)
    {
        var selector = new ResourceSelector { ApiVersion = apiVersion, Kind = kind };
        if (labels is not null)
        {
            selector.MatchLabels = new MatchLabels();
            foreach ((string label, string value) in labels)
                selector.MatchLabels.Labels[label] = value;
        }

        return response.Require(requirement, selector, resourceNamespace);
    }

    /// <summary>Requires the schema of a kind. A requirement holds for one answer: say it in every one.</summary>
    /// <param name="response">The answer.</param>
    /// <param name="requirement">A name for the requirement, by which
    /// <see cref="RunFunctionRequestExtensions.GetRequiredSchema"/> finds what came of it.</param>
    /// <param name="apiVersion">The kind's group and version, such as <c>apps/v1</c>.</param>
    /// <param name="kind">The kind.</param>
    /// <returns>The answer.</returns>
    public static Protocol.RunFunctionResponse RequireSchema(this Protocol.RunFunctionResponse response, string requirement, string apiVersion, string kind)
    {
        ArgumentNullException.ThrowIfNull(response);
        (response.Requirements ??= new Requirements()).Schemas[requirement] = new SchemaSelector { ApiVersion = apiVersion, Kind = kind };
        return response;
    }

    private static Protocol.RunFunctionResponse SetDesired(this Protocol.RunFunctionResponse response, string name, Struct resource, bool? ready)
    {
        ArgumentNullException.ThrowIfNull(response);
        response.Desired ??= new State();
        if (!response.Desired.Resources.TryGetValue(name, out Resource? desired))
            response.Desired.Resources[name] = desired = new Resource();
        desired.Resource_ = resource;
        if (ready is { } known)
            desired.Ready = known ? Protocol.Ready.True : Protocol.Ready.False;
        return response;
    }

    private static Protocol.RunFunctionResponse Add(this Protocol.RunFunctionResponse response, Severity severity, string message, string? reason, Target? target)
    {
        ArgumentNullException.ThrowIfNull(response);
        var result = new Result { Severity = severity, Message = message };
        if (reason is not null)
            result.Reason = reason;
        if (target is { } where)
            result.Target = where;
        response.Results.Add(result);
        return response;
    }

    private static Protocol.RunFunctionResponse Require(this Protocol.RunFunctionResponse response, string requirement, ResourceSelector selector, string? resourceNamespace)
    {
        ArgumentNullException.ThrowIfNull(response);
        if (resourceNamespace is not null)
            selector.Namespace = resourceNamespace;
        (response.Requirements ??= new Requirements()).Resources[requirement] = selector;
        return response;
    }

    private static void Merge(Struct target, Struct source)
    {
        foreach ((string name, Value value) in source.Fields)
        {
            if (value.KindCase == Value.KindOneofCase.StructValue && target.Fields.TryGetValue(name, out Value? old) && old.KindCase == Value.KindOneofCase.StructValue)
                Merge(old.StructValue, value.StructValue);
            else
                target.Fields[name] = value;
        }
    }
}
