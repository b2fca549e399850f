using System.Globalization;
using Xfn.Core.Egress;
using Xfn.Core.Registry;

namespace Xfn.Core.Runs;

/// <summary>Makes the ways out that requests list.</summary>
internal sealed class EgressFactory(ContainerRunnerOptions options)
{
    /// <summary>Resolves names, and connects: what tests replace.</summary>
    public Dialer Dialer { get; set; } = new();

    /// <summary>The way out of a container of a request, and the request with what tells programs of it.</summary>
    /// <param name="request">The request.</param>
    /// <param name="image">Its image's configuration.</param>
    /// <param name="ports">The ports at which it is waited for, besides those that the image exposes.</param>
    /// <returns>Null where the request lists nothing.</returns>
    public (ContainerEgress? Egress, CheckedRequest Request) Make(CheckedRequest request, ImageConfig image, IEnumerable<int>? ports = null)
    {
        if (request is not { Egress: { } policy, Container: { } settings })
            return (null, request);
        var egress = new ContainerEgress(policy, request.Request.Image, [.. PortsOf(image), .. ports ?? []], Dialer, options);
        return (egress, request with { Request = request.Request with { Container = egress.AddTo(settings) } });
    }

    /// <summary>The ports at which an image says that its program listens.</summary>
    private static IEnumerable<int> PortsOf(ImageConfig image)
    {
        foreach (string exposed in image.Config?.ExposedPorts?.Keys ?? [])
        {
            if (int.TryParse(exposed.Split('/')[0], NumberStyles.None, CultureInfo.InvariantCulture, out int port))
                yield return port;
        }
    }
}
