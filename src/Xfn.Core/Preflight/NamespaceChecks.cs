using Xfn.Core.Interop;
using Xfn.Core.Namespaces;

namespace Xfn.Core.Preflight;

/// <summary>Namespaces, and what is mounted in them. Many things forbid them; only trying tells.</summary>
internal static class NamespaceChecks
{
    private static readonly Subject Tools = new("util-linux", "unshare of util-linux 2.36 or newer, which knows --keep-caps");
    private static readonly Subject User = new("user namespaces", "this user may make user, mount and PID namespaces");
    private static readonly Subject Proc = new("/proc", "a fresh /proc can be mounted in new namespaces");
    private static readonly Subject Descriptors = new("descriptors", "sockets of containers that live can be handed to this process");
    private static readonly Subject Overlay = new("overlayfs", "overlayfs can be mounted in a user namespace, over directories of the cache");

    /// <summary>Namespaces are made by util-linux's unshare; busybox's lacks what is needed.</summary>
    public static async Task<EnvironmentCheck> UtilLinuxAsync(CancellationToken cancellationToken)
    {
        if (Executables.Find("unshare") is not { } path)
            return Tools.Failed(EnvironmentDiagnosis.OfUtilLinux("there is no unshare in PATH"));

        ProgramResult result = await Programs.RunAsync(path, ["--version"], cancellationToken).ConfigureAwait(false);
        string found = $"{path}: {(result.Output.Length > 0 ? result.Output : result.Error).Split('\n')[0]}";

        // "unshare from util-linux 2.38.1"
        bool isGood = result.Output.Contains("util-linux", StringComparison.Ordinal)
            && SystemFiles.ParseVersion(result.Output.AsSpan(result.Output.LastIndexOf(' ') + 1)) >= new Version(2, 36);
        return isGood ? Tools.Ok(found) : Tools.Failed(EnvironmentDiagnosis.OfUtilLinux(found));
    }

    public static async Task<EnvironmentCheck> UserNamespacesAsync(SystemFiles files, CancellationToken cancellationToken)
    {
        ProgramResult result = await Programs.RunAsync("unshare", ["--user", "--mount", "--pid", "--fork", "true"], cancellationToken).ConfigureAwait(false);
        if (result.ExitCode != 0)
            return User.Failed(EnvironmentDiagnosis.OfUnshare(result.Error, files));
        return await MayNameHostAsync(files, cancellationToken).ConfigureAwait(false) ? User.Ok("they can be made") : User.Failed(EnvironmentDiagnosis.OfHostName());
    }

    /// <summary>Whether a container's host can be named, as far as it can be tried here. Only a filter refuses
    /// that.</summary>
    private static async Task<bool> MayNameHostAsync(SystemFiles files, CancellationToken cancellationToken)
    {
        ProcessStatus status = ProcessStatus.Read(files);
        if (!status.IsFiltered || Executables.Find("hostname") is null || IdMappings.FindUnmappable(files, status) is not null)
            return true;
        ProgramResult result = await Programs.RunAsync("unshare", ["--user", "--map-root-user", "--uts", "hostname", "xfn"], cancellationToken).ConfigureAwait(false);

        // What unshare itself was refused is another matter.
        return result.ExitCode == 0 || result.Error.StartsWith("unshare", StringComparison.Ordinal);
    }

    /// <summary>A function needs a fresh /proc to see only its own processes; a masked outer one prevents it.</summary>
    public static async Task<EnvironmentCheck> ProcAsync(EnvironmentCheckOptions options, CancellationToken cancellationToken)
    {
        // Runs map ids that are not root's, unshare(1) only its caller. So look at what the kernel decides by.
        if (IdMappings.FindUnmappable(options.Files, ProcessStatus.Read(options.Files)) is not null && !EnvironmentDiagnosis.MountsOverProc(options.Files).Any())
            return Proc.Ok("nothing is mounted over it (not tried: that takes CAP_SETFCAP)");
        ProgramResult result = await Programs.RunAsync(
            "unshare", ["--user", "--map-root-user", "--mount", "--pid", "--fork", "mount", "-t", "proc", "proc", "/proc"], cancellationToken).ConfigureAwait(false);
        if (result.ExitCode == 0)
            return Proc.Ok("it can be mounted");
        EnvironmentDiagnosis diagnosis = EnvironmentDiagnosis.OfProc(result.Error, options.Files);
        return options.AllowOuterProc ? Proc.Warning(diagnosis.Found, diagnosis.Remedy) : Proc.Failed(diagnosis);
    }

    /// <summary>A connection into a container that lives is a descriptor that comes from its xfn-spark, by either of two
    /// ways.</summary>
    public static async Task<EnvironmentCheck> DescriptorsAsync(CancellationToken cancellationToken)
    {
        var child = ChildProcess.Start(Executables.Find("unshare")!, ["--user", "cat"], ["PATH=/usr/sbin:/usr/bin:/sbin:/bin"], "/", talks: true);
        try
        {
            // It answers from its namespace.
            await child.Input!.WriteAsync("\n"u8.ToArray(), cancellationToken).ConfigureAwait(false);
            if (await child.Output!.ReadAsync(new byte[1], cancellationToken).ConfigureAwait(false) == 0 || Posix.TryOpenProcess(child.Id) is not { } process)
                return Descriptors.Warning("it could not be tried: a program in a namespace of its own ended", "Start a container that lives; it needs no remedy here.");
            using (process)
            {
                int copy = Posix.TakeDescriptor(process, 0, out int error);
                if (copy < 0)
                    return Descriptors.Ok($"xfn-spark sends them through a Unix socket, since this process may not take them (pidfd_getfd: {Libc.Describe(error)})");
                Posix.Close(copy);
                return Descriptors.Ok("this process takes them from xfn-spark (pidfd_getfd)");
            }
        }
        finally
        {
            child.Kill();
            await child.Input!.DisposeAsync().ConfigureAwait(false);
            await child.Output!.DisposeAsync().ConfigureAwait(false);
            await child.Ended.ConfigureAwait(false);
        }
    }

    /// <summary>Without overlayfs every image is flattened, which takes more disk and a longer first run.</summary>
    public static async Task<EnvironmentCheck> OverlayAsync(EnvironmentCheckOptions options, CancellationToken cancellationToken)
    {
        if (IdMappings.FindUnmappable(options.Files, ProcessStatus.Read(options.Files)) is not null)
            return Overlay.Warning("it could not be tried: that takes CAP_SETFCAP", "Run a function, or 'xfn doctor' with that capability.");

        // The file system matters, so it is tried where the layers will be, or as near as there is a place.
        string place = Directory.Exists(options.CacheDirectory) && Posix.CanWrite(options.CacheDirectory) ? options.CacheDirectory : Path.GetTempPath();
        string directory = Path.Combine(place, $".xfn-check-{Path.GetRandomFileName()}");
        try
        {
            Directory.CreateDirectory(Path.Combine(directory, "upper"));
            Directory.CreateDirectory(Path.Combine(directory, "lower"));

            // Relative names, since the directory's own may hold what separates options.
            ProgramResult result = await Programs.RunAsync(
                "unshare",
                ["--user", "--map-root-user", "--mount", "sh", "-c", "cd -- \"$1\" && exec mount -t overlay overlay -o ro,userxattr,lowerdir=upper:lower upper", "sh", directory],
                cancellationToken).ConfigureAwait(false);
            if (result.ExitCode == 0)
                return Overlay.Ok("it can be mounted");
            EnvironmentDiagnosis diagnosis = EnvironmentDiagnosis.OfOverlay(result.Error.ReplaceLineEndings(" ").TrimEnd(), options.Files);
            return Overlay.Warning($"{diagnosis.Found}; so images are kept flattened besides, which works and takes more disk and a longer first run", diagnosis.Remedy);
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            return Overlay.Warning($"it could not be tried: {e.Message}", "Make the cache directory writable.");
        }
        finally
        {
            if (Directory.Exists(directory))
                Directory.Delete(directory, recursive: true);
        }
    }
}
