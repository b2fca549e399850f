using System.Formats.Tar;
using Xfn.Core.Diagnostics;
using Xfn.Core.Interop;
using Xfn.Core.Spark;

namespace Xfn.Core.Services;

/// <content>Further programs in the container, and its files.</content>
internal sealed partial class LiveContainer
{
    /// <summary>How long a container may take to be seen to end, when a program of it was killed.</summary>
    private static readonly TimeSpan KilledTogether = TimeSpan.FromMilliseconds(100);

    public override async Task<ExecResult> ExecAsync(IReadOnlyList<string> arguments, ExecOptions? options = null, CancellationToken cancellationToken = default)
    {
        options ??= new();
        LiveProcess process = await StartProcessAsync(arguments, options, cancellationToken).ConfigureAwait(false);
        await using (process.ConfigureAwait(false))
        {
            var run = new ExecRun(process, options);
            ExecResult result = await run.WaitAsync(cancellationToken).ConfigureAwait(false);
            if (result.TimedOut)
                throw new ExecException(ExecFailure.TimedOut, $"cannot execute '{arguments[0]}' in a container of image '{Image}': it ran longer than its timeout of {options.Timeout!.Value.TotalSeconds:0.###} s and was killed.") { Result = result };
            if (run.IsExceeded)
                throw new ExecException(ExecFailure.OutputExceeded, $"cannot execute '{arguments[0]}' in a container of image '{Image}': it wrote more than {options.MaxOutputBytes} bytes and was killed. Raise {nameof(ExecOptions.MaxOutputBytes)}, or read its streams.") { Result = result };
            return result.Signal == Posix.SigKill && await IsEndingAsync(KilledTogether).ConfigureAwait(false)
                ? throw await EndedAsync($"execute '{arguments[0]}'", result: result).ConfigureAwait(false)
                : result;
        }
    }

    public override async Task<RunningProcess> StartExecAsync(IReadOnlyList<string> arguments, ExecOptions? options = null, CancellationToken cancellationToken = default)
    {
        options ??= new();
        if (!options.Input.IsEmpty)
            throw new InvalidRequestException($"cannot use an input for a program whose streams are its caller's: write to its {nameof(RunningProcess.Stdin)}.");
        return await StartProcessAsync(arguments, options, cancellationToken).ConfigureAwait(false);
    }

    public override async Task CopyInAsync(string path, ReadOnlyMemory<byte> content, UnixFileMode? mode = null, CancellationToken cancellationToken = default) =>
        await CopyAsync(path, () => _copies.CopyInAsync(path, content, mode, cancellationToken)).ConfigureAwait(false);

    public override Task<CopyReport> CopyInAsync(string source, string path, CopyLimits? limits = null, CancellationToken cancellationToken = default)
    {
        ArgumentNullException.ThrowIfNull(source);
        return Path.Exists(source)
            ? CopyAsync(path, () => _copies.CopyInAsync(source, path, limits ?? new(), cancellationToken))
            : throw new FileNotFoundException($"cannot copy '{source}' into a container: there is nothing of that name on this machine.", source);
    }

    public override Task<CopyReport> CopyInAsync(Stream tar, string directory, CopyLimits? limits = null, CancellationToken cancellationToken = default)
    {
        ArgumentNullException.ThrowIfNull(tar);
        return CopyAsync(directory, () => _copies.CopyInAsync(tar, directory, limits ?? new(), cancellationToken));
    }

    public override async Task<Stream> CopyOutAsync(string path, CopyLimits? limits = null, CancellationToken cancellationToken = default) =>
        await CopyAsync(path, () => _copies.CopyOutAsync(path, limits ?? new(), failure => ExplainAsync(path, failure), warning => RunnerLog.CopyLeftOut(_logger, path, Image, warning), cancellationToken)).ConfigureAwait(false);

    public override async Task<byte[]> ReadFileAsync(string path, int maxBytes = 16 << 20, CancellationToken cancellationToken = default)
    {
        ArgumentOutOfRangeException.ThrowIfNegative(maxBytes);
        Stream archive = await CopyOutAsync(path, new CopyLimits { MaxBytes = maxBytes, MaxEntries = 1 }, cancellationToken).ConfigureAwait(false);
        await using (archive.ConfigureAwait(false))
        {
            var reader = new TarReader(archive, leaveOpen: true);
            await using (reader.ConfigureAwait(false))
            {
                TarEntry? entry = await reader.GetNextEntryAsync(copyData: false, cancellationToken).ConfigureAwait(false);
                if (entry is not { EntryType: TarEntryType.RegularFile or TarEntryType.V7RegularFile } || entry.Length > maxBytes)
                    throw new IOException($"cannot read '{path}' of a container of image '{Image}': it is no file.");
                var content = new byte[entry.Length];
                if (entry.DataStream is { } data)
                    await data.ReadExactlyAsync(content, cancellationToken).ConfigureAwait(false);

                // To the end, which comes only when the copy is complete.
                await archive.CopyToAsync(Stream.Null, cancellationToken).ConfigureAwait(false);
                return content;
            }
        }
    }

    private async Task<LiveProcess> StartProcessAsync(IReadOnlyList<string> arguments, ExecOptions options, CancellationToken cancellationToken)
    {
        SparkExec exec = await _execs.PlanAsync(arguments, options, cancellationToken).ConfigureAwait(false);
        try
        {
            return await WhileItLivesAsync($"execute '{arguments[0]}'", () => LiveProcess.StartAsync(_started, exec, options.Timeout, _time, cancellationToken)).ConfigureAwait(false);
        }
        catch (SparkFailedException ex) when (ex.Failure.Kind is SparkFailureKind.Entrypoint or SparkFailureKind.Unreachable or SparkFailureKind.Image)
        {
            throw new ExecException(ExecFailure.NotExecutable, $"cannot execute '{arguments[0]}' in a container of image '{Image}': {ex.Message}.", ex);
        }
        catch (SparkFailedException ex)
        {
            throw new ContainerEnvironmentException(RunStage.Run, $"cannot execute '{arguments[0]}' in a container of image '{Image}': {ex.Message}.", ex);
        }
    }

    private async Task<T> CopyAsync<T>(string path, Func<Task<T>> copy)
    {
        try
        {
            return await WhileItLivesAsync($"copy '{path}'", copy).ConfigureAwait(false);
        }
        catch (SparkFailedException ex)
        {
            throw NotCopied(path, ex);
        }
    }

    /// <summary>What the failure of a copy means that had begun.</summary>
    private async Task<Exception> ExplainAsync(string path, Exception error) => error is SparkFailedException failure && !await IsEndingAsync(TimeSpan.Zero).ConfigureAwait(false)
        ? NotCopied(path, failure)
        : await EndedAsync($"copy '{path}'", error).ConfigureAwait(false);

    private IOException NotCopied(string path, SparkFailedException failure)
    {
        string message = $"cannot copy '{path}' of a container of image '{Image}': {failure.Message}.";
        return failure.Failure.Errno == Libc.ENOENT ? new FileNotFoundException(message, path, failure) : new IOException(message, failure);
    }
}
