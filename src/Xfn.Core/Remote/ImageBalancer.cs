using Grpc.Net.Client.Balancer;
using Microsoft.Extensions.Logging;

namespace Xfn.Core.Remote;

/// <summary>Makes <see cref="ImageBalancer"/>, under a name.</summary>
internal sealed class ImageBalancerFactory : LoadBalancerFactory
{
    public const string PolicyName = "xfn_image";

    public override string Name => PolicyName;

    public override LoadBalancer Create(LoadBalancerOptions options) => new ImageBalancer(options.Controller, options.LoggerFactory);
}

/// <summary>Is connected to all servers, and gives a run to one of them by its image
/// (<see cref="ImageTurn"/>).</summary>
internal sealed class ImageBalancer(IChannelControlHelper controller, ILoggerFactory loggers) : SubchannelsLoadBalancer(controller, loggers)
{
    protected override SubchannelPicker CreatePicker(IReadOnlyList<Subchannel> readySubchannels) => new Picker([.. readySubchannels]);

    private sealed class Picker(Subchannel[] servers) : SubchannelPicker
    {
        private readonly ulong[] _hashes = [.. servers.Select(s => ImageTurn.HashOf(NameOf(s.GetAddresses()[0])))];

        public override PickResult Pick(PickContext context) =>
            PickResult.ForSubchannel(servers[ImageTurn.Current?.ChooseFrom(_hashes) ?? Random.Shared.Next(servers.Length)]);

        private static string NameOf(BalancerAddress address) => $"{address.EndPoint.Host}:{address.EndPoint.Port}";
    }
}
