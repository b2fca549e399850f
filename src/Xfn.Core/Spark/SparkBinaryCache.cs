using System.Diagnostics;
using System.Numerics;
using System.Reflection;
using System.Runtime.InteropServices;
using Xfn.Core.Cache;
using Xfn.Core.Interop;

namespace Xfn.Core.Spark;

/// <summary>Finds xfn-spark, wherever the kind of host put it, and keeps a copy in the cache to run.</summary>
/// <remarks>A restored package's files are not executable by others, and an update may replace them while they run; the
/// copy, named by its content, has neither fault. Its users hold a lock on it, so that others know when nobody does.
/// The time of its last change is that of its last use.</remarks>
internal sealed class SparkBinaryCache(CacheDirectory cache, TimeProvider time)
{
    // The file's, and that of the resource.
    private const string Name = "xfn-spark";
    private const string Prefix = "spark-";

    /// <summary>Less than what .NET's collector keeps apart as large, and a multiple of what <see cref="NameOf"/> takes
    /// at a time.</summary>
    private const int PieceBytes = 64 << 10;

    // Two programs of different versions that take turns with a cache should not copy each time.
    private static readonly TimeSpan LongestUnused = TimeSpan.FromDays(7);
    private static readonly TimeSpan Precision = TimeSpan.FromDays(1);
    private static readonly TimeSpan RetryDelay = TimeSpan.FromMilliseconds(2);

    private const UnixFileMode Executable = UnixFileMode.UserRead | UnixFileMode.UserWrite | UnixFileMode.UserExecute
        | UnixFileMode.GroupRead | UnixFileMode.GroupExecute | UnixFileMode.OtherRead | UnixFileMode.OtherExecute;

    /// <summary>Gives an executable copy in the cache's <c>bin</c>, after comparing it with what was found.</summary>
    /// <param name="configured">Where the user says it is; null to search.</param>
    /// <returns>The copy; nobody removes it before this is disposed.</returns>
    public async Task<SparkFile> ProvideAsync(string? configured)
    {
        using Stream content = (configured is null ? Carried() : null) ?? Open(configured);
        string target = Path.Combine(cache.Bin, Prefix + NameOf(content));
        try
        {
            for (bool copied = false; ;)
            {
                if (FileLock.TryExecutable(target, shared: true) is { } held)
                {
                    if (IsSame(held, content))
                    {
                        Note(held);
                        return new SparkFile(held, cache.Named(target));
                    }

                    // Damaged, or planted. It is left to those who run it, and loses its name.
                    await held.DisposeAsync().ConfigureAwait(false);
                    if (copied)
                        throw new IOException($"'{target}' is not what was written to it.");
                }
                else if (File.Exists(target))
                {
                    // Whoever has the lock alone removes it and lets go.
                    await Task.Delay(RetryDelay, time).ConfigureAwait(false);
                    continue;
                }

                Copy(content, target, cache.NewTemporary(target));
                copied = true;
            }
        }
        catch (Exception ex) when (ex is IOException or UnauthorizedAccessException)
        {
            throw new ContainerEnvironmentException(
                RunStage.Spawn,
                $"cannot write xfn-spark to '{cache.Named(cache.Bin)}': {cache.Named(ex.Message)} See that the cache directory can be written, or have this version of Xfn.Core fill it before it is made read-only (option CacheDirectory).",
                ex);
        }
    }

    /// <summary>Removes copies that no process uses and none has for long: other versions'.</summary>
    /// <returns>How many bytes of the disk that gave back.</returns>
    public long RemoveUnused()
    {
        long bytes = 0;
        foreach (FileInfo copy in new DirectoryInfo(cache.Bin).EnumerateFiles(Prefix + "*"))
        {
            if (copy.Extension == CacheDirectory.TemporarySuffix || time.GetUtcNow() - copy.LastWriteTimeUtc < LongestUnused)
                continue;
            using FileStream? held = FileLock.TryExecutable(copy.FullName, shared: false);

            // Used since it was listed, and let go of.
            if (held is null || time.GetUtcNow() - File.GetLastWriteTimeUtc(held.SafeFileHandle) < LongestUnused)
                continue;
            bytes += CountedRemoval.RemoveFile(copy.FullName);
        }

        return bytes;
    }

    /// <summary>Opens the one that a program of a single file has in itself, as a resource.</summary>
    /// <returns>Null where the program has none.</returns>
    private static Stream? Carried() => Assembly.GetEntryAssembly()?.GetManifestResourceStream(Name);

    private static FileStream Open(string? configured)
    {
        string source = configured ?? Candidates().FirstOrDefault(File.Exists) ?? throw new ContainerEnvironmentException(
            RunStage.Spawn,
            $"cannot find xfn-spark: looked for {string.Join(", ", Candidates())}. It comes with the package Xfn.Core; publish the program with its native files, or name it (option SparkPath).");
        try
        {
            return new FileStream(source, FileMode.Open, FileAccess.Read, FileShare.Read, bufferSize: 0);
        }
        catch (Exception ex) when (ex is IOException or UnauthorizedAccessException)
        {
            throw new ContainerEnvironmentException(RunStage.Spawn, $"cannot read xfn-spark at '{source}': {ex.Message} Check the path and its mode (option SparkPath).", ex);
        }
    }

    /// <summary>Tells contents apart. The copy of that name is compared to its last byte, so this proves nothing, and need
    /// not: SHA-256 of so much took longer than all else here, and loaded a library that a run may not need.</summary>
    private static string NameOf(Stream content)
    {
        (uint even, uint odd) = (0, uint.MaxValue);
        byte[] piece = new byte[PieceBytes];
        content.Position = 0;
        while (Fill(piece, content) is > 0 and int count)
        {
            ReadOnlySpan<ulong> words = MemoryMarshal.Cast<byte, ulong>(piece.AsSpan(0, count));
            for (int i = 0; i + 1 < words.Length; i += 2)
                (even, odd) = (BitOperations.Crc32C(even, words[i]), BitOperations.Crc32C(odd, words[i + 1]));
            foreach (byte b in piece.AsSpan(0, count)[(words.Length / 2 * 2 * sizeof(ulong))..])
                (even, odd) = (BitOperations.Crc32C(even, b), BitOperations.Crc32C(odd, b));
        }

        return $"{even:x8}{odd:x8}{content.Length:x8}";
    }

    private static bool IsSame(FileStream copy, Stream content)
    {
        byte[] piece = new byte[PieceBytes], expected = new byte[PieceBytes];
        copy.Position = content.Position = 0;
        for (int count = PieceBytes; count > 0;)
        {
            count = Fill(expected, content);
            if (!piece.AsSpan(0, Fill(piece, copy)).SequenceEqual(expected.AsSpan(0, count)))
                return false;
        }

        return true;
    }

    /// <returns>How many bytes; fewer than it takes only at the end.</returns>
    private static int Fill(byte[] piece, Stream content) => content.ReadAtLeast(piece, piece.Length, throwOnEndOfStream: false);

    private void Note(FileStream copy)
    {
        DateTimeOffset now = time.GetUtcNow();
        if ((now - File.GetLastWriteTimeUtc(copy.SafeFileHandle)).Duration() < Precision)
            return;
        try
        {
            File.SetLastWriteTimeUtc(copy.SafeFileHandle, now.UtcDateTime);
        }
        catch (Exception ex) when (ex is IOException or UnauthorizedAccessException)
        {
            // From a cache that cannot be written nothing is removed either.
        }
    }

    private static void Copy(Stream content, string target, string temporary)
    {
        Debug.Assert(HostPlatform.IsLinux);
        // Renamed when whole: another process may be starting it the moment it is there.
        try
        {
            using (FileStream file = new(temporary, new FileStreamOptions { Mode = FileMode.CreateNew, Access = FileAccess.Write, UnixCreateMode = Executable }))
            {
                content.Position = 0;
                content.CopyTo(file);
                Posix.SyncFile(file);
            }

            File.SetUnixFileMode(temporary, Executable);
            File.Move(temporary, target, overwrite: true);
        }
        catch
        {
            File.Delete(temporary);
            throw;
        }
    }

    private static IEnumerable<string> Candidates()
    {
        string native = Path.Combine("runtimes", $"linux-{RuntimeInformation.ProcessArchitecture.ToString().ToLowerInvariant()}", "native", Name);

        // A build without a runtime identifier; a published program, single-file or native; a self-extracting one.
        yield return Path.Combine(AppContext.BaseDirectory, native);
        yield return Path.Combine(AppContext.BaseDirectory, Name);
        foreach (string directory in ((string?)AppContext.GetData("NATIVE_DLL_SEARCH_DIRECTORIES") ?? "").Split(':', StringSplitOptions.RemoveEmptyEntries))
            yield return Path.Combine(directory, Name);
    }
}
