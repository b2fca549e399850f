using System.Net;
using DebianImages;
using Npgsql;
using NUnit.Framework;
using StackExchange.Redis;
using Xfn.Core;
using Xfn.Core.Testing;

namespace Services;

/// <summary>Redis, PostgreSQL and a function of one's own. docs/testing.md has the same tests as they are with
/// Testcontainers.</summary>
[CancelAfter(60_000)]
public class ShopTests
{
    private readonly ContainerFixture _containers = new();
    private ConnectionMultiplexer _redis = null!;
    private NpgsqlDataSource _postgres = null!;
    private string _check = "";

    [OneTimeSetUp]
    public async Task StartServices()
    {
        Requires.SubordinateIds();
        _containers.Images.AddRedis("redis:7");
        _containers.Images.AddPostgres("postgres:15");

        RunningContainer redis = await _containers.StartAsync(
            new ContainerRequest { Image = "redis:7", Ready = Ready.Listens(6379) });
        RunningContainer postgres = await _containers.StartAsync(new ContainerRequest
        {
            Image = "postgres:15",
            Mounts = { Mount.Volume("/var/lib/postgresql/data") },
            Ready = Ready.LogLine("ready to accept connections"),
        });
        _redis = await ConnectionMultiplexer.ConnectAsync($"{await redis.ForwardAsync(6379)},connectTimeout=30000");
        IPEndPoint port = await postgres.ForwardAsync(5432);
        _postgres = NpgsqlDataSource.Create($"Host={port.Address};Port={port.Port};Username=postgres");
        _check = await _containers.AddScriptAsync("grep . || exit 3");
    }

    [OneTimeTearDown]
    public async Task StopServices()
    {
        if (_redis is not null)
            await _redis.DisposeAsync();
        if (_postgres is not null)
            await _postgres.DisposeAsync();
        await _containers.DisposeAsync();
    }

    [Test]
    public async Task A_price_is_remembered(CancellationToken token)
    {
        await _redis.GetDatabase().StringSetAsync("apple", 3).WaitAsync(token);
        Assert.That((int)await _redis.GetDatabase().StringGetAsync("apple").WaitAsync(token), Is.EqualTo(3));
    }

    [Test]
    public async Task An_order_is_stored(CancellationToken token)
    {
        await using NpgsqlCommand command = _postgres.CreateCommand("create table orders (id int); insert into orders values (1); select count(*) from orders");
        Assert.That(await command.ExecuteScalarAsync(token), Is.EqualTo(1));
    }

    [TestCase("apples\n", 0)]
    [TestCase("", 3)]
    public async Task An_order_without_a_word_is_refused(string order, int status, CancellationToken token)
    {
        FunctionResult result = await _containers.RunAsync(_check, order, token);
        Assert.That(result.ShouldExitWith(status).Stdout, Is.EqualTo(order));
    }
}
