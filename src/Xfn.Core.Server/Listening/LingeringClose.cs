using System.IO.Pipelines;
using Microsoft.AspNetCore.Server.Kestrel.Core;
using Microsoft.Extensions.DependencyInjection;
using Microsoft.Extensions.Hosting;

namespace Xfn.Core.Server;

/// <summary>Keeps connections open while the server stops, until their clients close them.</summary>
/// <remarks>Kestrel closes a connection when it has said GOAWAY and no call is in progress. A call that is on its way
/// then meets a closed socket: its client may find that out before it has read the GOAWAY, and cannot know that nobody
/// has looked at the call. A client that reads the GOAWAY offers the call elsewhere, and closes the connection. The stop
/// of the server ends the wait for one that does not.</remarks>
internal static class LingeringClose
{
    public static void Use(ListenOptions listen) => listen.Use(next => async connection =>
    {
        IDuplexPipe transport = connection.Transport;
        connection.Transport = new OpenPipe(transport);
        await next(connection).ConfigureAwait(false);
        if (listen.ApplicationServices.GetRequiredService<IHostApplicationLifetime>().ApplicationStopping.IsCancellationRequested)
            await WaitForClientAsync(transport).ConfigureAwait(false);
    });

    private static async Task WaitForClientAsync(IDuplexPipe transport)
    {
        try
        {
            await transport.Output.FlushAsync().ConfigureAwait(false);
            ReadResult result;
            do
            {
                result = await transport.Input.ReadAsync().ConfigureAwait(false);
                transport.Input.AdvanceTo(result.Buffer.End);
            }
            while (!result.IsCompleted);
        }
        catch (Exception ex) when (ex is IOException or OperationCanceledException)
        {
            // The client has broken it off, or the server waits no longer.
        }
    }

    /// <summary>A transport that goes on when who uses it has done with it. Its owner, Kestrel's listener, closes
    /// it.</summary>
    private sealed class OpenPipe(IDuplexPipe transport) : IDuplexPipe
    {
        public PipeReader Input { get; } = new OpenReader(transport.Input);

        public PipeWriter Output { get; } = new OpenWriter(transport.Output);
    }

    private sealed class OpenReader(PipeReader reader) : PipeReader
    {
        public override void AdvanceTo(SequencePosition consumed) => reader.AdvanceTo(consumed);

        public override void AdvanceTo(SequencePosition consumed, SequencePosition examined) => reader.AdvanceTo(consumed, examined);

        public override void CancelPendingRead() => reader.CancelPendingRead();

        public override void Complete(Exception? exception = null)
        {
        }

        public override ValueTask<ReadResult> ReadAsync(CancellationToken cancellationToken = default) => reader.ReadAsync(cancellationToken);

        public override bool TryRead(out ReadResult result) => reader.TryRead(out result);
    }

    private sealed class OpenWriter(PipeWriter writer) : PipeWriter
    {
        public override bool CanGetUnflushedBytes => writer.CanGetUnflushedBytes;

        public override long UnflushedBytes => writer.UnflushedBytes;

        public override void Advance(int bytes) => writer.Advance(bytes);

        public override void CancelPendingFlush() => writer.CancelPendingFlush();

        public override void Complete(Exception? exception = null)
        {
        }

        public override ValueTask<FlushResult> FlushAsync(CancellationToken cancellationToken = default) => writer.FlushAsync(cancellationToken);

        public override Memory<byte> GetMemory(int sizeHint = 0) => writer.GetMemory(sizeHint);

        public override Span<byte> GetSpan(int sizeHint = 0) => writer.GetSpan(sizeHint);
    }
}
