using System.Collections.Concurrent;

namespace Xfn.Core.Server.Tests.Support;

/// <summary>Connections whose calls send and do not end, or send little that becomes much, again and again.</summary>
/// <param name="connect">Makes a connection.</param>
/// <param name="token">Ends all of them.</param>
internal sealed class Attack(Func<SocketsHttpHandler> connect, CancellationToken token)
{
    /// <summary>What the machine is asked to move at most, if the server lets all of it pass.</summary>
    private const long MostBytes = 12L << 30;

    private const int CallsOfConnection = 5;

    private static readonly byte[] Bomb = RawCall.Bomb(1536);

    private readonly ConcurrentDictionary<string, int> _answers = new();
    private long _sent;
    private int _calls;

    public long Sent => Volatile.Read(ref _sent);

    public int Calls => Volatile.Read(ref _calls);

    /// <summary>What the server said, and how often.</summary>
    public string Answers => string.Join(", ", _answers.OrderBy(a => a.Key).Select(a => $"{a.Key}: {a.Value}"));

    /// <summary>Attacks through one connection.</summary>
    public async Task ConnectAsync(int connection)
    {
        using SocketsHttpHandler handler = connect();
        await Task.WhenAll(Enumerable.Range(0, CallsOfConnection).Select(i => CallAsync(handler, connection + i)));
    }

    private async Task CallAsync(SocketsHttpHandler handler, int index)
    {
        while (!token.IsCancellationRequested && Sent < MostBytes)
        {
            // Most hold all that they can.
            await using RawCall call = (index % 10) switch
            {
                0 => new RawCall(handler, Bomb, token),
                1 => new RawCall(handler, 100, token, RawCall.Health, announced: 1000),
                2 => new RawCall(handler, 1, token),
                _ => new RawCall(handler, 90 << 20, token),
            };
            Interlocked.Increment(ref _calls);
            string answer;
            try
            {
                (Grpc.Core.StatusCode status, string? error) = await call.AnswerAsync(token);
                answer = $"{status} {error}".TrimEnd();
            }
            catch (Exception ex) when (ex is HttpRequestException or IOException or OperationCanceledException)
            {
                answer = ex.GetType().Name;
            }

            Interlocked.Add(ref _sent, call.Count);
            _answers.AddOrUpdate(answer, 1, (_, count) => count + 1);
            await Task.Delay(500, token).ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing | ConfigureAwaitOptions.ContinueOnCapturedContext);
        }
    }
}
