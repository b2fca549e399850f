using System.Formats.Tar;
using System.IO.Pipes;
using Microsoft.Win32.SafeHandles;
using Xfn.Core.Interop;
using Xfn.Core.Spark;

namespace Xfn.Core.Services;

/// <summary>Copies files into a container and out of it, as tar archives through a pipe. A child of its spark reads and
/// writes the files, with the container's ids: this process may not even reach them.</summary>
/// <param name="started">The container.</param>
/// <param name="owner">The user and group of what is copied in.</param>
internal sealed class ContainerCopies(StartedSandbox started, (uint Uid, uint Gid) owner)
{
    /// <summary>How many lines a report has at most of what was left out on this side.</summary>
    private const int MostWarnings = 100;

    private const UnixFileMode DefaultMode = UnixFileMode.UserRead | UnixFileMode.UserWrite | UnixFileMode.GroupRead | UnixFileMode.OtherRead;

    /// <summary>Writes a file.</summary>
    public Task<CopyReport> CopyInAsync(string path, ReadOnlyMemory<byte> content, UnixFileMode? mode, CancellationToken cancellationToken)
    {
        (string directory, string name) = Split(path);
        return CopyInAsync(
            directory,
            new CopyLimits { MaxBytes = content.Length },
            async (writer, token) => await writer.WriteEntryAsync(
                Owned(new PaxTarEntry(TarEntryType.RegularFile, name) { Mode = mode ?? DefaultMode, DataStream = new MemoryStream(content.ToArray()) }), token).ConfigureAwait(false),
            cancellationToken);
    }

    /// <summary>Copies a file or directory of this machine.</summary>
    public async Task<CopyReport> CopyInAsync(string source, string path, CopyLimits limits, CancellationToken cancellationToken)
    {
        (string directory, string name) = Split(path);
        var leftOut = new List<string>();
        CopyReport report = await CopyInAsync(directory, limits, (writer, token) => WriteAsync(writer, source, name, leftOut, token), cancellationToken).ConfigureAwait(false);
        return leftOut.Count == 0 ? report : report with { Warnings = [.. leftOut, .. report.Warnings] };
    }

    /// <summary>Unpacks an archive.</summary>
    public Task<CopyReport> CopyInAsync(Stream tar, string directory, CopyLimits limits, CancellationToken cancellationToken) =>
        CopyInAsync(CheckPath(directory), limits, (pipe, token) => tar.CopyToAsync(pipe, token), cancellationToken);

    /// <summary>Makes an archive of a file or directory.</summary>
    /// <param name="path">Which.</param>
    /// <param name="limits">How much.</param>
    /// <param name="explain">Makes the error of a copy that fails later.</param>
    /// <param name="warn">Told of what is left out.</param>
    /// <param name="cancellationToken">Ends the start.</param>
    /// <exception cref="SparkFailedException">There is none, or it cannot be read.</exception>
    /// <exception cref="SparkGoneException">The container has ended.</exception>
    public async Task<CopyOutStream> CopyOutAsync(
        string path, CopyLimits limits, Func<Exception, Task<Exception>> explain, Action<string> warn, CancellationToken cancellationToken)
    {
        CheckPath(path);
        Check(limits);
        SparkRequest request = started.Conversation.Begin(id => new SparkCopyOut { Id = id, Path = path, MaxBytes = limits.MaxBytes, MaxEntries = limits.MaxEntries }, cancellationToken);
        try
        {
            return new CopyOutStream(request, await OpenAsync(request, PipeDirection.In, cancellationToken).ConfigureAwait(false)) { Explain = explain, Warn = warn };
        }
        catch
        {
            request.Dispose();
            throw;
        }
    }

    /// <exception cref="InvalidRequestException">It is none that a container could have.</exception>
    public static string CheckPath(string path)
    {
        ArgumentNullException.ThrowIfNull(path);
        return path.StartsWith('/') && !path.Contains('\0') ? path : throw new InvalidRequestException($"cannot use path '{path.Replace("\0", "\\0", StringComparison.Ordinal)}' of a container: expected an absolute path.");
    }

    private static void Check(CopyLimits limits)
    {
        if (limits.MaxBytes < 0 || limits.MaxEntries < 1)
            throw new InvalidRequestException($"cannot copy at most '{limits.MaxBytes}' bytes and '{limits.MaxEntries}' entries: expected 0 or more, and 1 or more.");
    }

    private static (string Directory, string Name) Split(string path)
    {
        string trimmed = CheckPath(path).TrimEnd('/');
        int slash = trimmed.LastIndexOf('/');
        return slash >= 0 && trimmed[(slash + 1)..] is not ("." or "..") and var name
            ? (trimmed[..(slash + 1)], name)
            : throw new InvalidRequestException($"cannot use path '{path}' of a container: it names no file.");
    }

    private Task<CopyReport> CopyInAsync(string directory, CopyLimits limits, Func<TarWriter, CancellationToken, Task> write, CancellationToken cancellationToken) =>
        CopyInAsync(
            directory,
            limits,
            async (pipe, token) =>
            {
                var writer = new TarWriter(pipe, TarEntryFormat.Pax, leaveOpen: true);
                await using (writer.ConfigureAwait(false))
                    await write(writer, token).ConfigureAwait(false);
            },
            cancellationToken);

    private async Task<CopyReport> CopyInAsync(string directory, CopyLimits limits, Func<Stream, CancellationToken, Task> write, CancellationToken cancellationToken)
    {
        Check(limits);
        using SparkRequest request = started.Conversation.Begin(
            id => new SparkCopyIn { Id = id, Directory = directory, MaxBytes = limits.MaxBytes, MaxEntries = limits.MaxEntries }, cancellationToken);
        var pipe = new WriteEnd(await OpenAsync(request, PipeDirection.Out, cancellationToken).ConfigureAwait(false));
        await using (pipe.ConfigureAwait(false))
        {
            try
            {
                await write(pipe, cancellationToken).ConfigureAwait(false);
            }
            catch (IOException) when (pipe.IsBroken)
            {
                // The reader has given up, and says why.
            }
        }

        SparkCopied copied = await request.ReceiveAsync<SparkCopied>(cancellationToken).ConfigureAwait(false);
        return new CopyReport { Entries = copied.Entries, Bytes = copied.Bytes, Warnings = copied.Warnings };
    }

    private async Task<AnonymousPipeClientStream> OpenAsync(SparkRequest request, PipeDirection direction, CancellationToken cancellationToken)
    {
        SparkOpened opened = await request.ReceiveAsync<SparkOpened>(cancellationToken).ConfigureAwait(false);
        SafeFileHandle[] taken = await started.Descriptors.TakeAsync(opened.Descriptors, cancellationToken).ConfigureAwait(false);
        if (taken is [{ } descriptor] && Posix.IsPipe(descriptor))
            return LiveProcess.Pipe(descriptor, direction);
        foreach (SafeFileHandle handle in taken)
            handle.Dispose();
        throw new ContainerEnvironmentException(RunStage.Run, "cannot use what xfn-spark handed over: it is no pipe. Stop the container: it may have taken over its xfn-spark.");
    }

    private async Task WriteAsync(TarWriter writer, string source, string name, List<string> leftOut, CancellationToken cancellationToken)
    {
        FileSystemInfo file = Directory.Exists(source) ? new DirectoryInfo(source) : new FileInfo(source);
        if (file.LinkTarget is { } target)
        {
            await writer.WriteEntryAsync(Owned(new PaxTarEntry(TarEntryType.SymbolicLink, name) { LinkName = target }), cancellationToken).ConfigureAwait(false);
        }
        else if (file is DirectoryInfo directory)
        {
            await writer.WriteEntryAsync(Owned(new PaxTarEntry(TarEntryType.Directory, name) { Mode = directory.UnixFileMode }), cancellationToken).ConfigureAwait(false);
            foreach (FileSystemInfo entry in directory.EnumerateFileSystemInfos())
                await WriteAsync(writer, entry.FullName, $"{name}/{entry.Name}", leftOut, cancellationToken).ConfigureAwait(false);
        }
        else if (!Posix.IsSpecialFile(source))
        {
            FileStream content = File.OpenRead(source);
            await using (content.ConfigureAwait(false))
                await writer.WriteEntryAsync(Owned(new PaxTarEntry(TarEntryType.RegularFile, name) { Mode = file.UnixFileMode, DataStream = content }), cancellationToken).ConfigureAwait(false);
        }
        else if (leftOut.Count < MostWarnings)
        {
            leftOut.Add($"'{source}' was left out: it is neither a file nor a directory nor a link");
        }
    }

    private PaxTarEntry Owned(PaxTarEntry entry)
    {
        (entry.Uid, entry.Gid) = ((int)owner.Uid, (int)owner.Gid);
        return entry;
    }

    /// <summary>A pipe that knows whether it was it that failed, and not what it is fed with.</summary>
    private sealed class WriteEnd(Stream pipe) : ForwardOnlyStream
    {
        public bool IsBroken { get; private set; }

        public override bool CanWrite => true;

        public override async ValueTask WriteAsync(ReadOnlyMemory<byte> buffer, CancellationToken cancellationToken = default)
        {
            try
            {
                await pipe.WriteAsync(buffer, cancellationToken).ConfigureAwait(false);
            }
            catch (IOException)
            {
                IsBroken = true;
                throw;
            }
        }

        protected override void Dispose(bool disposing)
        {
            if (disposing)
                pipe.Dispose();
            base.Dispose(disposing);
        }
    }
}
