using Xfn.Core;

namespace Decorators;

/// <summary>Tells functions their time zone, and gives them this machine's zone data where it has some.</summary>
public sealed class ZonedBundleBuilder(IBundleBuilder inner, string zone) : IBundleBuilder
{
    private const string ZoneData = "/usr/share/zoneinfo";

    private readonly bool _hasZoneData = Directory.Exists(ZoneData);

    public ContainerSpecification Build(BundleContext context)
    {
        ContainerSpecification container = inner.Build(context);
        container.Process.Environment["TZ"] = zone;
        if (_hasZoneData)
            container.Mounts.Add(new ContainerMount { Destination = ZoneData, Type = "bind", Source = ZoneData, Options = { "bind", "ro", "nosuid", "nodev" } });
        return container;
    }

    // The user of an image may have a name.
    public bool NeedsUserFiles(ImageConfig image) => inner.NeedsUserFiles(image);

    // What is added here is the same in all runs.
    public bool IsStable(BundleContext context) => inner.IsStable(context);
}
