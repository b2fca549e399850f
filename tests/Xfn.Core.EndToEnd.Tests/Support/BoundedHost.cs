using System.Diagnostics;
using Xfn.Core.Cgroups;

namespace Xfn.Core.EndToEnd.Tests.Support;

/// <summary>xfn within bounds, should those under test fail: its own cgroup, or a limit on user processes.</summary>
internal sealed class BoundedHost : IAsyncDisposable
{
    private const int Processes = 1200;

    private readonly Process _process;
    private readonly CgroupManager _manager;
    private readonly Cgroup _bounds;

    private BoundedHost(Process process, CgroupManager manager, Cgroup bounds) => (_process, _manager, _bounds) = (process, manager, bounds);

    public static async Task<BoundedHost> StartAsync(string scratch, string[] arguments, CancellationToken token)
    {
        CgroupManager manager = CgroupManager.Detect(Path.Combine(scratch, "bounds"));
        bool limits = manager.Support.Usable.HasFlag(CgroupControllers.Memory | CgroupControllers.Pids);
        Cgroup bounds = manager.Create("bounds", limits ? new CgroupLimits { MemoryBytes = 1 << 30, Pids = Processes } : new CgroupLimits());
        Process process = Tool.Start(
            "sh", ["-c", $"read go; {(Environment.IsPrivilegedProcess ? "" : $"ulimit -u {Processes}; ")}exec \"$0\" \"$@\"", HostProcess.Xfn, .. arguments]);
        bounds.Add(process.Id);
        await process.StandardInput.WriteLineAsync("go".AsMemory(), token);
        return new BoundedHost(process, manager, bounds);
    }

    public void Terminate() => Signals.Send(_process.Id, Signals.Terminate);

    public Task<ToolResult> EndAsync(CancellationToken token) => Tool.EndAsync(_process, token);

    public async ValueTask DisposeAsync()
    {
        if (!_process.HasExited)
            _process.Kill(entireProcessTree: true);
        await _process.WaitForExitAsync();
        _process.Dispose();
        await _bounds.DisposeAsync();
        await _manager.DisposeAsync();
    }
}
