using System.Buffers;
using System.Text;
using Xfn.Core;

namespace Xfn.Cli;

/// <summary>Writes a container's logs as they come.</summary>
/// <param name="stdout">Where to write what the container wrote to stdout.</param>
/// <param name="stderr">Likewise to stderr.</param>
/// <param name="globals">Where xfn says something itself.</param>
internal sealed class LogPrinter(Stream stdout, Stream stderr, GlobalOptions globals)
{
    private const int MostBytes = 64 << 10;

    // Lines of one source, which are written together: a line each would be too slow for many a program.
    private readonly ArrayBufferWriter<byte> _lines = new();
    private LogSource _source;

    /// <summary>Ends when the container has, and all is written.</summary>
    public async Task PrintAsync(RunningContainer container)
    {
        using var over = new CancellationTokenSource();
        await using IAsyncEnumerator<LogLine> lines = container.ReadLogsAsync(follow: true, over.Token).GetAsyncEnumerator(CancellationToken.None);
        Task<bool> next = Task.FromResult(true);
        try
        {
            while (true)
            {
                next = lines.MoveNextAsync().AsTask();
                if (!next.IsCompleted)
                    await FlushAsync();
                if (!await next)
                    break;
                await AddAsync(lines.Current);
            }
        }
        catch
        {
            // What moves cannot be disposed.
            await over.CancelAsync();
            await ((Task)next).ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
            throw;
        }

        await FlushAsync();
    }

    private async ValueTask AddAsync(LogLine line)
    {
        if (line.Source != _source || line.LostBefore > 0 || _lines.WrittenCount > MostBytes)
            await FlushAsync();
        if (line.LostBefore > 0)
            globals.Note($"warning: {line.LostBefore} lines of the logs are missing here: they came faster than they could be written.");
        _source = line.Source;
        Encoding.UTF8.GetBytes(line.Text, _lines);
        if (!line.IsPartial)
            _lines.Write("\n"u8);
    }

    private async Task FlushAsync()
    {
        if (_lines.WrittenCount > 0)
            await (_source == LogSource.Stdout ? stdout : stderr).WriteAsync(_lines.WrittenMemory);
        _lines.ResetWrittenCount();
    }
}
