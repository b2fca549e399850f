using System.Text;
using System.Text.Json.Nodes;
using Xfn.Core.Bundles;

namespace Xfn.Core.Tests.Bundles;

/// <summary>What containers are described from, and what a runtime gets of them.</summary>
internal static class BundleContexts
{
    public static readonly IdMapping FullMapping = Map(IdMappingMethod.Capabilities, 65536);
    public static readonly IdMapping SingleMapping = Map(IdMappingMethod.Self, 1);

    public static BundleContext Context(
        ImageExecutionConfig config, IdMapping? mapping = null, string passwd = "", string group = "", NetworkPolicy network = NetworkPolicy.Isolated) => new()
        {
            Reference = ImageReference.Parse("example.org/functions/echo:v1"),
            Image = new ImageConfig { RootFs = new ImageRootFs { DiffIds = [] }, Config = config },
            Passwd = Encoding.UTF8.GetBytes(passwd),
            Group = Encoding.UTF8.GetBytes(group),
            Config = new RunFunctionConfig { Network = network },
            Mapping = mapping ?? FullMapping,
        };

    public static ImageExecutionConfig Shell(string script) => new() { Entrypoint = ["/bin/sh", "-c", script] };

    /// <summary>What an OCI runtime gets.</summary>
    public static JsonNode Json(this ContainerSpecification container, bool takesFilter = true) => JsonNode.Parse(RuntimeConfigWriter.Write(container, takesFilter))!;

    private static IdMapping Map(IdMappingMethod method, uint count) =>
        new() { Uids = [new IdRange(0, 100000, count)], Gids = [new IdRange(0, 100000, count)], Method = method };
}
