using System.ComponentModel;
using System.Text;
using Xfn.Core.Interop;

namespace Xfn.Core.Namespaces;

/// <summary>Writes the maps of a user namespace's ids: <see
/// href="https://man7.org/linux/man-pages/man7/user_namespaces.7.html">user_namespaces(7)</see>.</summary>
internal static class IdMaps
{
    /// <summary>Nothing of the caller's environment is the business of a program that is started for namespaces.</summary>
    public static readonly string[] Environment = ["PATH=/usr/sbin:/usr/bin:/sbin:/bin"];

    /// <summary>As the kernel takes them.</summary>
    public static string Lines(IReadOnlyList<IdRange> ranges) => string.Concat(ranges.Select(r => $"{r.Inside} {r.Outside} {r.Count}\n"));

    /// <summary>Maps the ids of a process's user namespace.</summary>
    /// <exception cref="ContainerEnvironmentException">They may not be mapped; the message has the remedy.</exception>
    public static async Task MapAsync(int processId, IdMapping mapping, CancellationToken cancellationToken)
    {
        if (mapping.Method == IdMappingMethod.SubordinateIds)
        {
            await Task.WhenAll(
                MapByHelperAsync("newuidmap", processId, mapping.Uids, cancellationToken),
                MapByHelperAsync("newgidmap", processId, mapping.Gids, cancellationToken)).ConfigureAwait(false);
            return;
        }

        try
        {
            // Without capabilities the kernel wants to be sure that no group is dropped by which access was denied.
            if (mapping.Method == IdMappingMethod.Self)
                Write($"/proc/{processId}/setgroups", "deny");
            Write($"/proc/{processId}/uid_map", Lines(mapping.Uids));
            Write($"/proc/{processId}/gid_map", Lines(mapping.Gids));
        }
        catch (Exception ex) when (ex is IOException or UnauthorizedAccessException)
        {
            throw new ContainerEnvironmentException(
                RunStage.Spawn,
                $"cannot map ids '{Lines(mapping.Uids).TrimEnd()}' into a user namespace: {ex.Message}. Choose ids that this process's own user namespace has "
                + "(option RootUid, option RootGid), or map the caller alone (option IdMapping=Self).",
                ex);
        }
    }

    /// <summary>The kernel takes a map in one write.</summary>
    private static void Write(string path, string content)
    {
        using var file = new FileStream(path, FileMode.Open, FileAccess.Write, FileShare.ReadWrite, bufferSize: 0);
        file.Write(Encoding.ASCII.GetBytes(content));
    }

    private static async Task MapByHelperAsync(string helper, int processId, IReadOnlyList<IdRange> ranges, CancellationToken cancellationToken)
    {
        string[] numbers = [.. ranges.SelectMany(r => new[] { r.Inside, r.Outside, r.Count }).Prepend((uint)processId).Select(n => $"{n}")];
        string said;
        int? exitCode;
        try
        {
            ChildProcess process = ChildProcess.Start(Executables.Find(helper) ?? helper, numbers, Environment, "/", talks: false);
            said = await process.Ended.WaitAsync(cancellationToken).ConfigureAwait(false);
            exitCode = process.ExitCode;
        }
        catch (Exception ex) when (ex is Win32Exception or IOException)
        {
            (said, exitCode) = (ex.Message, -1);
        }

        if (exitCode is not 0 && (exitCode is not null || said.Length > 0))
        {
            throw new ContainerEnvironmentException(
                RunStage.Spawn,
                $"cannot map subordinate ids with {helper}: {said.Trim()}. Check the caller's lines in /etc/subuid and /etc/subgid and that {helper} may change ids "
                + $"({SystemPackage.IdMapping.Command}), or map the caller alone (option IdMapping=Self).");
        }
    }
}
