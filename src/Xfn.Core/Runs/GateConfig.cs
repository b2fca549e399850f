using System.Text.Json.Nodes;
using Xfn.Core.Bundles;

namespace Xfn.Core.Runs;

/// <summary>A runtime specification whose process is the gate, and what the gate is to execute in its place.</summary>
/// <param name="RuntimeConfig"><c>config.json</c>.</param>
/// <param name="Arguments">The function's arguments.</param>
/// <param name="Environment">Its environment, <c>NAME=VALUE</c>.</param>
internal sealed record GateConfig(ReadOnlyMemory<byte> RuntimeConfig, IReadOnlyList<string> Arguments, IReadOnlyList<string> Environment)
{
    // xfn-spark by the first descriptor that it hands on; see Run/Gate.cs there.
    private static readonly string[] Gate = ["/proc/self/fd/3", "gate"];

    /// <summary>Puts the gate in the place of a function.</summary>
    /// <remarks>The gate has no environment of its own: the .NET runtime would heed an image's variables.</remarks>
    public static GateConfig From(ReadOnlyMemory<byte> runtimeConfig)
    {
        JsonNode root = JsonNode.Parse(runtimeConfig.Span)!;
        JsonNode process = root["process"]!;
        string[] arguments = Strings(process["args"]);
        string[] environment = Strings(process["env"]);
        process["args"] = new JsonArray([.. Gate.Select(argument => JsonValue.Create(argument))]);
        process["env"] = new JsonArray();
        return new GateConfig(System.Text.Encoding.UTF8.GetBytes(root.ToJsonString()), arguments, RuntimeConfigReader.LastOfEach(environment));
    }

    private static string[] Strings(JsonNode? array) => [.. (array as JsonArray ?? []).Select(item => (string)item!)];
}
