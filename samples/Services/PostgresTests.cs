using System.Net;
using DebianImages;
using Npgsql;
using NUnit.Framework;
using Xfn.Core;
using Xfn.Core.Testing;

namespace Services;

/// <summary>Tests of code that needs a database: a PostgreSQL of their own, for as long as they last.</summary>
[CancelAfter(60_000)]
public class PostgresTests
{
    private readonly ContainerFixture _containers = new();
    private RunningContainer _database = null!;
    private NpgsqlDataSource _connections = null!;

    [OneTimeSetUp]
    public async Task StartDatabase()
    {
        // PostgreSQL refuses to be root.
        Requires.SubordinateIds();
        _containers.Images.AddPostgres("postgres");
        _database = await _containers.StartAsync(new ContainerRequest
        {
            Image = "postgres",

            // Nobody needs these data after a power cut.
            Arguments = ["-c", "fsync=off"],
            Mounts = { Mount.Volume("/var/lib/postgresql/data") },

            // It listens before it is ready.
            Ready = Ready.LogLine("ready to accept connections"),
        });

        // Npgsql wants a port of this machine.
        IPEndPoint forwarded = await _database.ForwardAsync(5432);
        _connections = NpgsqlDataSource.Create($"Host={forwarded.Address};Port={forwarded.Port};Username=postgres");
    }

    [OneTimeTearDown]
    public async Task StopDatabase()
    {
        if (_connections is not null)
            await _connections.DisposeAsync();
        await _containers.DisposeAsync();
    }

    [Test]
    public async Task What_is_stored_is_found(CancellationToken token)
    {
        await ExecuteAsync("create table towns (name text, people int)", token);
        await using (NpgsqlCommand insert = _connections.CreateCommand("insert into towns values ($1, $2)"))
        {
            insert.Parameters.AddWithValue("Ulm");
            insert.Parameters.AddWithValue(129_000);
            await insert.ExecuteNonQueryAsync(token);
        }

        await using NpgsqlCommand select = _connections.CreateCommand("select people from towns where name = 'Ulm'");
        Assert.That(await select.ExecuteScalarAsync(token), Is.EqualTo(129_000));
    }

    [Test]
    public async Task A_transaction_that_is_not_committed_leaves_nothing(CancellationToken token)
    {
        await ExecuteAsync("create table entries (id int)", token);
        await using (NpgsqlConnection connection = await _connections.OpenConnectionAsync(token))
        {
            await using NpgsqlTransaction transaction = await connection.BeginTransactionAsync(token);
            await using var insert = new NpgsqlCommand("insert into entries values (1)", connection, transaction);
            await insert.ExecuteNonQueryAsync(token);
        }

        await using NpgsqlCommand count = _connections.CreateCommand("select count(*) from entries");
        Assert.That(await count.ExecuteScalarAsync(token), Is.EqualTo(0));
    }

    [Test]
    public async Task A_program_beside_the_server_answers_too(CancellationToken token)
    {
        ExecResult psql = await _database.ExecAsync(["psql", "-h", "localhost", "-tAc", "show server_version_num"], cancellationToken: token);
        Assert.That((psql.ExitCode, psql.Stderr), Is.EqualTo((0, "")));
        Assert.That(int.Parse(psql.Stdout), Is.GreaterThanOrEqualTo(150_000));
    }

    private async Task ExecuteAsync(string sql, CancellationToken token)
    {
        await using NpgsqlCommand command = _connections.CreateCommand(sql);
        await command.ExecuteNonQueryAsync(token);
    }
}
