using System.Net;
using System.Net.Sockets;
using DebianImages;
using NUnit.Framework;
using StackExchange.Redis;
using StackExchange.Redis.Configuration;
using Xfn.Core;
using Xfn.Core.Testing;

namespace Services;

/// <summary>Tests of code that needs a redis. The client takes a stream, so no port of this machine is used.</summary>
[CancelAfter(60_000)]
public class RedisTests
{
    private const int Port = 6379;

    private readonly ContainerFixture _containers = new();
    private ConnectionMultiplexer _connection = null!;

    [OneTimeSetUp]
    public async Task StartRedis()
    {
        Requires.Containers();
        _containers.Images.AddRedis("redis");
        RunningContainer redis = await _containers.StartAsync(new ContainerRequest { Image = "redis", Ready = Ready.Listens(Port) });
        _connection = await ConnectionMultiplexer.ConnectAsync(new ConfigurationOptions
        {
            EndPoints = { { "redis", Port } },
            Tunnel = new ContainerTunnel(redis),

            // In milliseconds: a machine that is busy with tests may be slow.
            ConnectTimeout = 30_000,
            AsyncTimeout = 30_000,
        });
    }

    [OneTimeTearDown]
    public async Task StopRedis()
    {
        if (_connection is not null)
            await _connection.DisposeAsync();
        await _containers.DisposeAsync();
    }

    [Test]
    public async Task A_value_is_kept_until_its_time_is_over(CancellationToken token)
    {
        IDatabase database = _connection.GetDatabase();
        await database.StringSetAsync("greeting", "hello", TimeSpan.FromHours(1)).WaitAsync(token);
        Assert.That((string?)await database.StringGetAsync("greeting").WaitAsync(token), Is.EqualTo("hello"));
        Assert.That(await database.KeyTimeToLiveAsync("greeting").WaitAsync(token), Is.GreaterThan(TimeSpan.Zero).And.LessThanOrEqualTo(TimeSpan.FromHours(1)));
    }

    [Test]
    public async Task A_subscriber_hears_what_is_published(CancellationToken token)
    {
        ChannelMessageQueue news = await _connection.GetSubscriber().SubscribeAsync(RedisChannel.Literal("news")).WaitAsync(token);
        await _connection.GetDatabase().PublishAsync(RedisChannel.Literal("news"), "rain").WaitAsync(token);
        Assert.That((string?)(await news.ReadAsync(token)).Message, Is.EqualTo("rain"));
    }

    /// <summary>Leads the client's connections into a container.</summary>
    private sealed class ContainerTunnel(RunningContainer container) : Tunnel
    {
        // No socket of this machine.
        public override ValueTask<EndPoint?> GetSocketConnectEndpointAsync(EndPoint endpoint, CancellationToken cancellationToken) => ValueTask.FromResult<EndPoint?>(null);

        public override async ValueTask<Stream?> BeforeAuthenticateAsync(EndPoint endpoint, ConnectionType connectionType, Socket? socket, CancellationToken cancellationToken) =>
            await container.ConnectAsync(Port, cancellationToken);
    }
}
