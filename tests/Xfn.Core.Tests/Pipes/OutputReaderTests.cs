using System.IO.Pipes;
using Xfn.Core.Pipes;

namespace Xfn.Core.Tests.Pipes;

/// <summary>All that a function wrote is read. What others write to its pipe afterwards holds up nobody.</summary>
internal sealed class OutputReaderTests
{
    [TestCase(1, true)]
    [TestCase(60_000, true)]
    [TestCase(1, false)]
    [TestCase(60_000, false)]
    [CancelAfter(60_000)]
    public async Task A_process_that_goes_on_writing_behind_the_functions_end_is_not_read(int bytes, bool isPipe, CancellationToken token)
    {
        using var writer = new AnonymousPipeServerStream(PipeDirection.Out);
        using var pipe = new AnonymousPipeClientStream(PipeDirection.In, writer.ClientSafePipeHandle);
        var sink = new BufferSink(long.MaxValue);
        using var reader = new OutputReader(isPipe ? pipe : new Wrapped(pipe), sink, isForeign: false, token);
        await writer.WriteAsync(new byte[] { 1, 2, 3 }, token);
        using var stop = CancellationTokenSource.CreateLinkedTokenSource(token);
        Task drip = Task.Run(
            async () =>
            {
                while (!stop.IsCancellationRequested)
                {
                    await writer.WriteAsync(new byte[bytes], stop.Token);
                    if (bytes == 1)
                        await Task.Delay(1, stop.Token);
                }
            },
            token);
        await reader.FinishAsync().WaitAsync(token);
        Assert.That(sink.Content[..3].ToArray(), Is.EqualTo(new byte[] { 1, 2, 3 }));
        await stop.CancelAsync();
        await drip.ContinueWith(static _ => { }, TaskScheduler.Default).WaitAsync(token);
    }

    [Test, CancelAfter(60_000)]
    public async Task All_that_lies_in_the_pipe_is_read_also_when_another_process_keeps_it_open([Values(0, 1, 65_536)] int bytes, CancellationToken token)
    {
        using var writer = new AnonymousPipeServerStream(PipeDirection.Out);
        using var pipe = new AnonymousPipeClientStream(PipeDirection.In, writer.ClientSafePipeHandle);
        var sink = new BufferSink(long.MaxValue);
        using var reader = new OutputReader(pipe, sink, isForeign: false, token);
        await writer.WriteAsync(new byte[bytes], token);
        await reader.FinishAsync().WaitAsync(token);
        Assert.That(sink.Content.Length, Is.EqualTo(bytes));
    }

    [Test, CancelAfter(60_000)]
    public async Task A_slow_sink_gets_all_of_it(CancellationToken token)
    {
        using var writer = new AnonymousPipeServerStream(PipeDirection.Out);
        using var pipe = new AnonymousPipeClientStream(PipeDirection.In, writer.ClientSafePipeHandle);
        await writer.WriteAsync(new byte[65_536], token);
        var sink = new Slow();
        using var reader = new OutputReader(pipe, sink, isForeign: true, token);
        await writer.WriteAsync(new byte[30_000], token);
        await reader.FinishAsync().WaitAsync(token);
        Assert.That(sink.Bytes, Is.EqualTo(95_536));
    }

    private sealed class Slow : IOutputSink
    {
        public bool IsExceeded => false;

        public long Bytes { get; private set; }

        public async ValueTask<bool> WriteAsync(ReadOnlyMemory<byte> piece, CancellationToken cancellationToken)
        {
            // Longer than a read may wait.
            await Task.Delay(100, cancellationToken);
            Bytes += piece.Length;
            return true;
        }
    }

    /// <summary>A stream as another piper may give it.</summary>
    private sealed class Wrapped(Stream inner) : Stream
    {
        public override bool CanRead => true;

        public override bool CanSeek => false;

        public override bool CanWrite => false;

        public override long Length => throw new NotSupportedException();

        public override long Position
        {
            get => throw new NotSupportedException();
            set => throw new NotSupportedException();
        }

        public override ValueTask<int> ReadAsync(Memory<byte> buffer, CancellationToken cancellationToken = default) => inner.ReadAsync(buffer, cancellationToken);

        public override int Read(byte[] buffer, int offset, int count) => inner.Read(buffer, offset, count);

        public override void Flush()
        {
        }

        public override long Seek(long offset, SeekOrigin origin) => throw new NotSupportedException();

        public override void SetLength(long value) => throw new NotSupportedException();

        public override void Write(byte[] buffer, int offset, int count) => throw new NotSupportedException();
    }
}
