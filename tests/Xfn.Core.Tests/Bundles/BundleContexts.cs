using System.Text;
using System.Text.Json.Nodes;

namespace Xfn.Core.Tests.Bundles;

/// <summary>Contexts and what is read out of bundles.</summary>
internal static class BundleContexts
{
    public static readonly IdMapping FullMapping = Map(IdMappingMethod.Capabilities, 65536);
    public static readonly IdMapping SingleMapping = Map(IdMappingMethod.Self, 1);

    public static BundleContext Context(
        ImageExecutionConfig config, IdMapping? mapping = null, string passwd = "", string group = "", NetworkPolicy network = NetworkPolicy.Unspecified) => new()
        {
            Reference = ImageReference.Parse("example.org/functions/echo:v1"),
            Image = new ImageConfig { RootFs = new ImageRootFs { DiffIds = [] }, Config = config },
            Passwd = Encoding.UTF8.GetBytes(passwd),
            Group = Encoding.UTF8.GetBytes(group),
            Config = new RunFunctionConfig { Network = new NetworkConfig { Policy = network } },
            Mapping = mapping ?? FullMapping,
        };

    public static ImageExecutionConfig Shell(string script) => new() { Entrypoint = ["/bin/sh", "-c", script] };

    public static JsonNode Json(this Bundle bundle) => JsonNode.Parse(bundle.RuntimeConfig.Span)!;

    private static IdMapping Map(IdMappingMethod method, uint count) =>
        new() { Uids = [new IdRange(0, 100000, count)], Gids = [new IdRange(0, 100000, count)], Method = method };
}
