namespace Xfn.Core.EndToEnd.Tests.Support;

/// <summary>A host of its own for functions: xfn, started by a shell that prepares what it is to run under.</summary>
internal static class HostProcess
{
    /// <summary>xfn, or this program where functions are prepared or a runtime is used; only that differs.</summary>
    public static string Xfn => IsThisProgram ? Environment.ProcessPath! : Path.Combine(AppContext.BaseDirectory, "xfn");

    /// <summary>Whether the host is the test program, which needs more of everything than xfn.</summary>
    public static bool IsThisProgram => Ways.IsPrepared || Ways.Runtime is not null;

    /// <summary>Runs xfn with these arguments, by a shell that does something before: <c>ulimit -n 64</c>.</summary>
    public static Task<ToolResult> RunAfterAsync(string preparation, string[] arguments, CancellationToken token) =>
        Tool.RunAsync("sh", ["-c", $"{preparation} && exec \"$0\" \"$@\"", Xfn, .. arguments], token);

    /// <summary>Runs a command in a mount namespace of its own, by a shell that mounts something before.</summary>
    /// <remarks>Ordinary users mount in a user namespace and give that right up, but not as root there: without
    /// CAP_SETFCAP that could map nobody.</remarks>
    public static Task<ToolResult> RunUnderAsync(string mounts, string[] command, CancellationToken token)
    {
        if (Ways.IsRoot)
            return Tool.RunAsync("unshare", ["--mount", "sh", "-c", $"{mounts} && exec \"$0\" \"$@\"", .. command], token);
        if (Environment.IsPrivilegedProcess)
            Assert.Ignore("Root without CAP_SYS_ADMIN can mask nothing.");
        return Tool.RunAsync(
            "unshare",
            [
                "--user", "--map-user=1000", "--map-group=1000", "--keep-caps", "--mount",
                "sh", "-c", $"{mounts} && exec setpriv --ambient-caps=-all --inh-caps=-all \"$0\" \"$@\"", .. command,
            ],
            token);
    }
}
