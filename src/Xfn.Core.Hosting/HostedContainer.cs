using Microsoft.Extensions.Configuration;
using Microsoft.Extensions.Options;

namespace Xfn.Core.Hosting;

/// <summary>A container that a host wants.</summary>
/// <param name="Name">What the host calls it.</param>
/// <param name="Request">How it is started.</param>
/// <param name="Links">The ports of other containers of the host that it reaches, by their names.</param>
internal sealed record HostedContainer(string Name, ContainerRequest Request, IReadOnlyDictionary<string, int> Links)
{
    private const string Section = "Containers";

    /// <summary>Whether a key of a runner's section has containers.</summary>
    public static bool IsSection(string key) => key.Equals(Section, StringComparison.OrdinalIgnoreCase);

    /// <summary>Reads the containers of a runner's section.</summary>
    /// <exception cref="OptionsValidationException">A key is no option, or a value cannot be used.</exception>
    public static IEnumerable<HostedContainer> Read(IConfiguration configuration) => OptionsSection.ChildrenOf(configuration.GetSection(Section)).Select(ReadOne);

    /// <summary>Reads a request.</summary>
    /// <param name="configuration">The section of the request's properties.</param>
    /// <param name="isOther">Whether a key of the section is of something else.</param>
    /// <inheritdoc cref="Read" path="/exception"/>
    public static ContainerRequest ReadRequest(IConfiguration configuration, Func<string, bool> isOther)
    {
        var request = new ContainerRequest { Image = "" };
        OptionsSection.Bind(configuration, request, isOther);
        OptionsSection.RequireImage(configuration, request.Image);
        return request;
    }

    private static HostedContainer ReadOne(IConfigurationSection section)
    {
        var linked = new Linked();
        ContainerRequest request = ReadRequest(section, IsLinks);
        OptionsSection.Bind(section, linked, isOther: key => !IsLinks(key));
        return new(section.Key, request, linked.Links.AsReadOnly());

        static bool IsLinks(string key) => key.Equals(nameof(Linked.Links), StringComparison.OrdinalIgnoreCase);
    }

    private sealed class Linked
    {
        public IDictionary<string, int> Links { get; set; } = new Dictionary<string, int>();
    }
}

/// <summary>Where a host's containers are declared: one in code, or a section of a configuration.</summary>
internal sealed record HostedContainerSource(Func<IServiceProvider, IEnumerable<HostedContainer>> Read);
