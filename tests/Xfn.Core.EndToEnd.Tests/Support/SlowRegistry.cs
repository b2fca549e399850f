using System.Collections.Concurrent;
using System.Net;

namespace Xfn.Core.EndToEnd.Tests.Support;

/// <summary>A registry on loopback that has one image, gives as much of its great blobs as a test wants, and counts what
/// it gives.</summary>
internal sealed class SlowRegistry : IAsyncDisposable
{
    private const int Piece = 8 << 10;

    private const int Great = 2 << 20;

    private readonly HttpListener _listener = new();
    private readonly CancellationTokenSource _end = new();
    private readonly string _layout;
    private readonly string _host = $"127.0.0.1:{DockerRegistry.FreePort()}";
    private readonly Task _serving;
    private long _sent;
    private long _limit = long.MaxValue;

    private SlowRegistry(string layout)
    {
        _layout = layout.Split(':')[1];
        _listener.Prefixes.Add($"http://{_host}/");
        _listener.Start();
        _serving = ServeAsync();
    }

    /// <summary>A reference to the image.</summary>
    public string Image => $"{_host}/slow:v1";

    /// <summary>How often each blob was asked for.</summary>
    public ConcurrentDictionary<string, int> Fetches { get; } = [];

    /// <summary>How many bytes of blobs of more than 2 MiB have been given.</summary>
    public long Sent => Interlocked.Read(ref _sent);

    /// <summary>How many of them are given until this is raised.</summary>
    public long Limit
    {
        get => Interlocked.Read(ref _limit);
        set => Interlocked.Exchange(ref _limit, value);
    }

    /// <param name="layout">A reference to an OCI layout.</param>
    public static SlowRegistry Start(string layout) => new(layout);

    public async Task SentAsync(long bytes, CancellationToken cancellationToken)
    {
        while (Sent < bytes)
            await Task.Delay(5, cancellationToken);
    }

    public async ValueTask DisposeAsync()
    {
        await _end.CancelAsync();
        _listener.Abort();
        await _serving.ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
        _end.Dispose();
    }

    private async Task ServeAsync()
    {
        while (true)
        {
            HttpListenerContext context = await _listener.GetContextAsync();
            _ = Task.Run(() => AnswerAsync(context));
        }
    }

    private async Task AnswerAsync(HttpListenerContext context)
    {
        try
        {
            string path = context.Request.Url!.AbsolutePath;
            string last = path.Split('/')[^1];
            if (path.Contains("/manifests/", StringComparison.Ordinal))
            {
                Descriptor manifest = OciJson.ParseIndex(await File.ReadAllBytesAsync(Path.Combine(_layout, "index.json"))).Manifests[0];
                (context.Response.ContentType, last) = (manifest.MediaType, manifest.Digest.ToString());
                context.Response.AddHeader("Docker-Content-Digest", last);
                if (context.Request.HttpMethod == "HEAD")
                {
                    context.Response.ContentLength64 = manifest.Size;
                    context.Response.Close();
                    return;
                }
            }

            if (!last.StartsWith("sha256:", StringComparison.Ordinal))
            {
                context.Response.Close();
                return;
            }

            byte[] content = await File.ReadAllBytesAsync(Path.Combine(_layout, "blobs", "sha256", last[7..]));
            context.Response.ContentLength64 = content.Length;
            if (!path.Contains("/blobs/", StringComparison.Ordinal))
            {
                context.Response.Close(content, willBlock: true);
                return;
            }

            Fetches.AddOrUpdate(last, 1, (_, n) => n + 1);
            foreach (byte[] piece in content.Chunk(Piece))
            {
                while (content.Length > Great && Sent >= Limit)
                    await Task.Delay(5, _end.Token);
                await context.Response.OutputStream.WriteAsync(piece, _end.Token);
                if (content.Length > Great)
                    Interlocked.Add(ref _sent, piece.Length);
            }

            context.Response.Close();
        }
        catch (Exception ex) when (ex is HttpListenerException or OperationCanceledException or ObjectDisposedException or IOException)
        {
            // Whoever asked is gone, or the test is over.
        }
    }
}
