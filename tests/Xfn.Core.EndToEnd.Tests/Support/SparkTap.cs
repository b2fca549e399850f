using System.Collections.Concurrent;
using System.Runtime.InteropServices;
using System.Threading.Channels;
using Microsoft.Win32.SafeHandles;
using Xfn.Core.Spark;

namespace Xfn.Core.EndToEnd.Tests.Support;

/// <summary>Stands between a runner and its sparks, and asks the spark of a run for more: what a container that lives
/// asks for. The runner sees none of the answers.</summary>
/// <param name="spawner">Makes them.</param>
internal sealed class SparkTap(INamespaceSpawner spawner) : INamespaceSpawner
{
    private readonly TaskCompletionSource<TappedSpark> _started = new(TaskCreationOptions.RunContinuationsAsynchronously);

    /// <summary>The first spark whose container has started.</summary>
    public Task<TappedSpark> Started => _started.Task;

    public async Task<SpawnedNamespace> SpawnAsync(NamespaceRequest request, CancellationToken cancellationToken = default)
    {
        SpawnedNamespace spawned = await spawner.SpawnAsync(request, cancellationToken);
        return request.Arguments.Contains(SparkMode.Work) ? spawned : new TappedSpark(spawned, spark => _started.TrySetResult(spark));
    }
}

/// <summary>A spark that is asked for more.</summary>
internal sealed partial class TappedSpark : SpawnedNamespace
{
    private readonly SpawnedNamespace _spawned;
    private readonly Action<TappedSpark> _started;
    private readonly Relay _output = new();
    private readonly Guarded _input;
    private readonly ConcurrentDictionary<int, Channel<object>> _answers = [];
    private int _process;
    private int _last;

    public TappedSpark(SpawnedNamespace spawned, Action<TappedSpark> started)
    {
        (_spawned, _started, _input) = (spawned, started, new Guarded(spawned.Input));
        _ = PassOnAsync();
    }

    public override Stream Input => _input;

    public override Stream Output => _output;

    public override Task<string> Ended => _spawned.Ended;

    /// <summary>The descriptor of the container's pidfd.</summary>
    public int Container { get; private set; }

    /// <summary>spark's process id.</summary>
    public int ProcessId => _process;

    public override Task MapIdsAsync(int processId, CancellationToken cancellationToken = default) => _spawned.MapIdsAsync(processId, cancellationToken);

    public override void Kill() => _spawned.Kill();

    public override ValueTask DisposeAsync() => _spawned.DisposeAsync();

    public int NextId() => Interlocked.Increment(ref _last);

    public async Task SendAsync(object message, CancellationToken token) => await _input.WriteAsync(SparkFrame.Write(message), token);

    /// <summary>Asks, and waits for the first answer.</summary>
    public async Task<T> AskAsync<T>(int id, object message, CancellationToken token)
    {
        await SendAsync(message, token);
        return await AnswerAsync<T>(id, token);
    }

    /// <summary>The next answer to a request.</summary>
    public async Task<T> AnswerAsync<T>(int id, CancellationToken token)
    {
        object answer = await Answers(id).Reader.ReadAsync(token);
        Assert.That(answer, Is.InstanceOf<T>(), answer.ToString());
        return (T)answer;
    }

    /// <summary>Takes descriptors that spark offers.</summary>
    public async Task<SafeFileHandle[]> TakeAsync(SparkOpened opened, CancellationToken token)
    {
        SafeFileHandle[] taken = [.. opened.Descriptors.Select(Take)];
        await SendAsync(new SparkClose(opened.Descriptors), token);
        return taken;
    }

    public SafeFileHandle Take(int descriptor)
    {
        const nint pidfdOpen = 434, pidfdGetfd = 438;
        using var spark = new SafeFileHandle(Call(pidfdOpen, _process, 0, 0), ownsHandle: true);
        nint taken = Call(pidfdGetfd, spark.DangerousGetHandle(), descriptor, 0);
        Assert.That((long)taken, Is.GreaterThanOrEqualTo(0), $"pidfd_getfd: error {Marshal.GetLastPInvokeError()}");
        return new SafeFileHandle(taken, ownsHandle: true);
    }

    /// <summary>Runs a further process to its end.</summary>
    public async Task<(int ExitCode, string Output, string Error)> ExecAsync(string[] command, CancellationToken token, string input = "", uint uid = 0)
    {
        SparkExec exec = Exec(command, uid);
        SafeFileHandle[] streams = await TakeAsync(await AskAsync<SparkOpened>(exec.Id, exec, token), token);
        await using Stream stdin = Open(streams[0], FileAccess.Write);
        using var output = new StreamReader(Open(streams[1], FileAccess.Read));
        using var error = new StreamReader(Open(streams[2], FileAccess.Read));
        Task<string> said = output.ReadToEndAsync(token), complained = error.ReadToEndAsync(token);
        try
        {
            await stdin.WriteAsync(System.Text.Encoding.UTF8.GetBytes(input), token);
        }
        catch (IOException)
        {
            // It ended before it read that.
        }

        stdin.Close();
        SparkEnded ended = await AnswerAsync<SparkEnded>(exec.Id, token);
        return (ended.ExitCode, await said.WaitAsync(token), await complained.WaitAsync(token));
    }

    public SparkExec Exec(string[] command, uint uid = 0) => new()
    {
        Id = NextId(), Arguments = command, Environment = ["PATH=/bin", "A=b"], WorkingDirectory = "/", Uid = uid, Gid = uid, Groups = Ways.HasManyIds ? [uid] : [],
    };

    /// <summary>What a spark offers does not block; here it may.</summary>
    public static FileStream Open(SafeFileHandle handle, FileAccess access)
    {
        const int setFlags = 4;
        Assert.That(Control((int)handle.DangerousGetHandle(), setFlags, 0), Is.Zero);
        return new FileStream(handle, access, bufferSize: 0);
    }

    private Channel<object> Answers(int id) => _answers.GetOrAdd(id, _ => Channel.CreateUnbounded<object>());

    private async Task PassOnAsync()
    {
        try
        {
            var header = new byte[SparkFrame.HeaderBytes];
            while (await _spawned.Output.ReadAtLeastAsync(header, header.Length, throwOnEndOfStream: false) == header.Length)
            {
                var body = new byte[SparkFrame.ReadHeader(header, out byte kind)];
                await _spawned.Output.ReadExactlyAsync(body);
                int answered = SparkFrame.Read(kind, body) switch
                {
                    SparkOpened m => Answer(m.Id, m),
                    SparkEnded m => Answer(m.Id, m),
                    SparkCopied m => Answer(m.Id, m),
                    SparkDone m => Answer(m.Id, m),
                    SparkRefused m => Answer(m.Id, m),
                    SparkHello m => Note(() => _process = m.ProcessId),
                    SparkStarted m => Note(() => Container = m.Descriptor),
                    _ => 0,
                };
                if (answered == 0)
                    _output.Add([.. header, .. body]);
                if (kind == SparkFrame.Write(new SparkStarted(0, -1)).Span[4])
                    _started(this);
            }
        }
        catch (Exception ex) when (ex is IOException or ObjectDisposedException)
        {
            // The runner ended it.
        }

        _output.Complete();
        foreach (Channel<object> answers in _answers.Values)
            answers.Writer.TryComplete();

        int Answer(int id, object message) => Answers(id).Writer.TryWrite(message) ? 1 : 0;

        static int Note(Action note)
        {
            note();
            return 0;
        }
    }

    [LibraryImport("libc", EntryPoint = "syscall", SetLastError = true)]
    private static partial nint Call(nint number, nint a, nint b, nint c);

    [LibraryImport("libc", EntryPoint = "fcntl", SetLastError = true)]
    private static partial int Control(int fd, int command, nint argument);

    /// <summary>Lets one message at a time through.</summary>
    private sealed class Guarded(Stream inner) : PassingStream
    {
        private readonly SemaphoreSlim _one = new(1);

        public override bool CanWrite => true;

        public override void Flush() => inner.Flush();

        public override async ValueTask WriteAsync(ReadOnlyMemory<byte> buffer, CancellationToken cancellationToken = default)
        {
            await _one.WaitAsync(cancellationToken);
            try
            {
                await inner.WriteAsync(buffer, cancellationToken);
                await inner.FlushAsync(cancellationToken);
            }
            catch (ObjectDisposedException)
            {
                // The run has ended, perhaps by this message.
            }
            finally
            {
                _one.Release();
            }
        }

        protected override void Dispose(bool disposing)
        {
            if (disposing)
            {
                inner.Dispose();
                _one.Dispose();
            }

            base.Dispose(disposing);
        }
    }

    /// <summary>What is left for the runner to read.</summary>
    private sealed class Relay : PassingStream
    {
        private readonly Channel<byte[]> _parts = Channel.CreateUnbounded<byte[]>();
        private ReadOnlyMemory<byte> _left;

        public override bool CanRead => true;

        public void Add(byte[] part) => _parts.Writer.TryWrite(part);

        public void Complete() => _parts.Writer.TryComplete();

        public override async ValueTask<int> ReadAsync(Memory<byte> buffer, CancellationToken cancellationToken = default)
        {
            if (_left.IsEmpty && (!await _parts.Reader.WaitToReadAsync(cancellationToken) || !_parts.Reader.TryRead(out byte[]? part) || (_left = part).IsEmpty))
                return 0;
            int count = Math.Min(buffer.Length, _left.Length);
            _left[..count].CopyTo(buffer);
            _left = _left[count..];
            return count;
        }
    }

    private abstract class PassingStream : Stream
    {
        public override bool CanRead => false;

        public override bool CanWrite => false;

        public override bool CanSeek => false;

        public override long Length => throw new NotSupportedException();

        public override long Position { get => throw new NotSupportedException(); set => throw new NotSupportedException(); }

        public override void Flush()
        {
        }

        public override int Read(byte[] buffer, int offset, int count) => throw new NotSupportedException();

        public override void Write(byte[] buffer, int offset, int count) => throw new NotSupportedException();

        public override long Seek(long offset, SeekOrigin origin) => throw new NotSupportedException();

        public override void SetLength(long value) => throw new NotSupportedException();
    }
}
