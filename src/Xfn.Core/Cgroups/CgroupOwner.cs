using System.Security.Cryptography;
using Xfn.Core.Cache;

namespace Xfn.Core.Cgroups;

/// <summary>Tells which cgroups a living process owns: a file with their places, locked while it lives.</summary>
/// <remarks>Process ids differ between PID namespaces. The kernel drops the lock however the process ends.</remarks>
internal sealed class CgroupOwner(FileStream file, string token, string[] baseDirectories) : IAsyncDisposable
{
    private const string FilePrefix = "cgroups-";

    /// <summary>How the names of this process's cgroups start.</summary>
    public string Prefix { get; } = PrefixOf(token);

    /// <summary>Makes and locks the file, before there is any cgroup that it tells of.</summary>
    public static CgroupOwner Claim(string stateDirectory, IEnumerable<string> baseDirectories)
    {
        Directory.CreateDirectory(stateDirectory);
        string[] bases = [.. baseDirectories];
        while (true)
        {
            string token = RandomNumberGenerator.GetHexString(12, lowercase: true);

            // Before it is locked another process's sweep may take it for a dead one's: it is locked then, or gone.
            if (FileLock.Try(Path.Combine(stateDirectory, FilePrefix + token)) is not { } file)
                continue;
            using (var writer = new StreamWriter(file, leaveOpen: true))
            {
                foreach (string directory in bases)
                    writer.WriteLine(directory);
            }

            return new CgroupOwner(file, token, bases);
        }
    }

    /// <summary>Removes the cgroups of owners that are dead.</summary>
    public static async Task<int> SweepAsync(string stateDirectory)
    {
        int removed = 0;
        foreach (string path in Directory.Exists(stateDirectory) ? Directory.GetFiles(stateDirectory, FilePrefix + "*") : [])
        {
            // Else its owner lives, or another sweep has it.
            using FileStream? file = FileLock.Try(path);
            if (file is null)
                continue;
            using var reader = new StreamReader(file);
            string[] bases = (await reader.ReadToEndAsync().ConfigureAwait(false)).Split('\n', StringSplitOptions.RemoveEmptyEntries);
            (int swept, int left) = await CgroupRemoval.RemoveAllAsync(bases, PrefixOf(Path.GetFileName(path)[FilePrefix.Length..])).ConfigureAwait(false);
            removed += swept;
            if (left == 0)
                File.Delete(path);
        }

        return removed;
    }

    public async ValueTask DisposeAsync()
    {
        (_, int left) = await CgroupRemoval.RemoveAllAsync(baseDirectories, Prefix).ConfigureAwait(false);
        if (left == 0)
            File.Delete(file.Name);
        await file.DisposeAsync().ConfigureAwait(false);
    }

    private static string PrefixOf(string token) => $"xfn-{token}-";
}
