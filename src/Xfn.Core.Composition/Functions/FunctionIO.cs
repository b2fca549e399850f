using System.Text;
using Google.Protobuf;
using Google.Protobuf.Collections;
using Google.Protobuf.WellKnownTypes;
using Xfn.Core.Composition.Protocol;
using Xfn.Core.Composition.Yaml;

namespace Xfn.Core.Composition.Functions;

/// <summary>The document that functions of one process a call read and write.</summary>
internal static class FunctionIO
{
    private const string ApiVersion = "apiextensions.crossplane.io/v1alpha1", Kind = "FunctionIO";

    public static byte[] Write(Protocol.RunFunctionRequest request)
    {
        var document = new Struct();
        document.Fields["apiVersion"] = Value.ForString(ApiVersion);
        document.Fields["kind"] = Value.ForString(Kind);
        if (request.Input is { } input)
            document.Fields["config"] = Value.ForStruct(input);
        document.Fields["observed"] = Value.ForStruct(Of(request.Observed ?? new State(), isDesired: false));
        document.Fields["desired"] = Value.ForStruct(Of(request.Desired ?? new State(), isDesired: true));
        return Encoding.UTF8.GetBytes(YamlWriter.Write(document));
    }

    /// <exception cref="InvalidDataException">It is no such document; the message says why.</exception>
    public static Protocol.RunFunctionResponse Read(ReadOnlyMemory<byte> output, Protocol.RunFunctionRequest request)
    {
        string text;
        try
        {
            text = new UTF8Encoding(false, throwOnInvalidBytes: true).GetString(output.Span);
        }
        catch (DecoderFallbackException ex)
        {
            throw new InvalidDataException("it is no UTF-8.", ex);
        }

        if (YamlReader.Read(text, "stdout") is not [{ Kind: YamlKind.Map } document] || document["kind"]?.Text != Kind)
            throw new InvalidDataException($"expected one document of kind {Kind}.");
        var response = new Protocol.RunFunctionResponse { Meta = new ResponseMeta { Tag = request.Meta?.Tag ?? "" }, Desired = new State(), Context = request.Context };
        YamlNode? desired = document["desired"];
        if (desired?["composite"] is { } composite)
            response.Desired.Composite = Resource(composite, request.Desired?.Composite, request.Observed?.Composite);
        foreach (YamlNode resource in desired?["resources"]?.Items ?? [])
        {
            string name = resource["name"]?.Text ?? throw new InvalidDataException($"line {resource.Line}: a resource has no name.");
            response.Desired.Resources[name] = Resource(resource, request.Desired?.Resources.GetValueOrDefault(name), request.Observed?.Resources.GetValueOrDefault(name));
        }

        foreach (YamlNode result in document["results"]?.Items ?? [])
        {
            response.Results.Add(new Result
            {
                Message = result["message"]?.Text ?? "",
                Severity = result["severity"]?.Text switch
                {
                    "Fatal" => Severity.Fatal,
                    "Warning" => Severity.Warning,
                    "Normal" => Severity.Normal,
                    var other => throw new InvalidDataException($"line {result.Line}: a result has severity '{other}', expected Fatal, Warning or Normal."),
                },
            });
        }

        return response;
    }

    private static Struct Of(State state, bool isDesired)
    {
        var made = new Struct();
        made.Fields["composite"] = Value.ForStruct(Of(state.Composite ?? new Resource(), name: null, isDesired));
        made.Fields["resources"] = Value.ForList([.. state.Resources.OrderBy(r => r.Key, StringComparer.Ordinal).Select(r => Value.ForStruct(Of(r.Value, r.Key, isDesired)))]);
        return made;
    }

    private static Struct Of(Resource resource, string? name, bool isDesired)
    {
        var made = new Struct();
        if (name is not null)
            made.Fields["name"] = Value.ForString(name);
        made.Fields["resource"] = Value.ForStruct(resource.Resource_ ?? new Struct());
        if (resource.ConnectionDetails.Count > 0)
            made.Fields["connectionDetails"] = Value.ForList([.. resource.ConnectionDetails.OrderBy(d => d.Key, StringComparer.Ordinal).Select(d => Value.ForStruct(Detail(d.Key, d.Value, isDesired && name is not null)))]);
        return made;
    }

    private static Struct Detail(string name, ByteString value, bool hasType)
    {
        var detail = new Struct { Fields = { ["name"] = Value.ForString(name), ["value"] = Value.ForString(value.ToStringUtf8()) } };
        if (hasType)
            detail.Fields["type"] = Value.ForString("FromValue");
        return detail;
    }

    private static Resource Resource(YamlNode node, Resource? before, Resource? observed)
    {
        if (node["resource"] is not { Kind: YamlKind.Map } resource)
            throw new InvalidDataException($"line {node.Line}: a resource has no object.");
        var made = new Resource { Resource_ = resource.ToStruct(), Ready = before?.Ready ?? Protocol.Ready.Unspecified };
        foreach (YamlNode detail in node["connectionDetails"]?.Items ?? [])
        {
            string name = detail["name"]?.Text ?? throw new InvalidDataException($"line {detail.Line}: a connection detail has no name.");
            if (detail["value"]?.Text is { } value)
                made.ConnectionDetails[name] = ByteString.CopyFromUtf8(value);
            else if (detail["fromConnectionSecretKey"]?.Text is { } key && observed?.ConnectionDetails.GetValueOrDefault(key) is { } known)
                made.ConnectionDetails[name] = known;
        }

        return made;
    }

    private static T? GetValueOrDefault<T>(this MapField<string, T> map, string key)
        where T : class => map.TryGetValue(key, out T? value) ? value : null;
}
