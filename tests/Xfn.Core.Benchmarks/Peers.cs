using System.Diagnostics;
using System.Globalization;
using System.Text;

namespace Xfn.Core.Benchmarks;

/// <summary>Starts the programs that we are measured against.</summary>
internal static class Peers
{
    public static readonly byte[] Input = "hello\n"u8.ToArray();

    /// <summary>crun takes no hybrid cgroup hierarchy: where there are both, it gets the pure one. An ordinary user
    /// runs it in a lasting user namespace with the user's subordinate ids.</summary>
    private const string Pure = "if [ -d /sys/fs/cgroup/unified ]; then mount --bind /sys/fs/cgroup/unified /sys/fs/cgroup; fi; exec \"$@\"";

    public static bool IsRoot => Environment.UserName == "root";

    /// <summary>Starts a program here, without a container, and has it answer its input.</summary>
    public static async Task PlainAsync(string program, params string[] arguments)
    {
        using Process process = Process.Start(new ProcessStartInfo(program, arguments) { RedirectStandardInput = true, RedirectStandardOutput = true })!;
        try
        {
            await process.StandardInput.BaseStream.WriteAsync(Input);
            process.StandardInput.Close();
        }
        catch (IOException)
        {
            // It ended without reading; how, its status says.
        }

        using StreamReader output = process.StandardOutput;
        string answer = await output.ReadToEndAsync();
        await process.WaitForExitAsync();
        if (answer != Encoding.UTF8.GetString(Input))
            throw new InvalidOperationException($"{program} answered '{answer}' and exited with status {process.ExitCode}");
    }

    /// <returns>What the command wrote to stdout.</returns>
    public static async Task<string> ShellAsync(string command, bool pure = false)
    {
        string[] arguments = [.. pure ? InPureCgroups() : [], "bash", "-c", command];
        using Process process = Process.Start(new ProcessStartInfo(arguments[0], arguments[1..]) { RedirectStandardInput = true, RedirectStandardOutput = true, RedirectStandardError = true })!;
        process.StandardInput.Close();
        Task<string> errors = process.StandardError.ReadToEndAsync();
        string output = await process.StandardOutput.ReadToEndAsync();
        await process.WaitForExitAsync();
        return process.ExitCode == 0 ? output : throw new InvalidOperationException(LastLine(await errors) ?? $"'{command}' ended with status {process.ExitCode}");
    }

    /// <summary>The other side of <see cref="PeerLoop"/>: runs a program once for every line on stdin.</summary>
    public static async Task<int> LoopAsync(string program, string[] arguments)
    {
        for (int i = 0; await Console.In.ReadLineAsync() is not null; i++)
        {
            await PlainAsync(program, [.. arguments.Select(a => a.Replace("{n}", i.ToString(CultureInfo.InvariantCulture), StringComparison.Ordinal))]);
            Console.WriteLine("done");
        }

        return 0;
    }

    public static string[] InPureCgroups() => [.. IsRoot ? (string[])["unshare", "--mount"] : ["unshare", "--user", "--map-root-user", "--map-auto", "--mount"], "sh", "-c", Pure, "sh"];

    public static string? LastLine(string errors) => errors.Split('\n', StringSplitOptions.RemoveEmptyEntries | StringSplitOptions.TrimEntries).LastOrDefault();
}

/// <summary>Runs one program repeatedly from a process of its own, where that finds what it needs.</summary>
internal sealed class PeerLoop : IAsyncDisposable
{
    private readonly Process _process;
    private readonly string _errors;

    /// <param name="work">A directory for its errors.</param>
    /// <param name="pure">Whether it needs a pure hierarchy of cgroups.</param>
    /// <param name="command">The program.</param>
    /// <param name="before">What a shell does first, where the program will run.</param>
    private PeerLoop(string work, bool pure, string[] command, string before = "")
    {
        // A file, and not a pipe to be read: it costs the program nothing.
        _errors = Path.Combine(work, Path.GetRandomFileName());
        string[] arguments = [.. pure ? Peers.InPureCgroups() : [], "sh", "-c", $"{before}\nexec \"$@\" 2>>$0", _errors, Environment.ProcessPath!, "loop", .. command];
        _process = Process.Start(new ProcessStartInfo(arguments[0], arguments[1..]) { RedirectStandardInput = true, RedirectStandardOutput = true })!;
    }

    public static PeerLoop Crun(Bench bench)
    {
        string bundle = bench.Images.Bundle(ownUserNamespace: false);
        return new(bench.Work, pure: true, ["crun", "--cgroup-manager=disabled", "--root", $"{bundle}/state", "run", "--bundle", bundle, "bench-{n}"]);
    }

    /// <summary>Executes <c>cat</c> in a container of crun's, whose own program lives as long as this does.</summary>
    public static PeerLoop CrunExec(Bench bench)
    {
        string bundle = bench.Images.Bundle(ownUserNamespace: false);
        string crun = $"crun --cgroup-manager=disabled --root {bundle}/exec";
        string start = $$"""
            mkfifo {{bundle}}/life
            {{crun}} run --bundle {{bundle}} box <{{bundle}}/life >/dev/null 2>>"$0" &
            exec 3>{{bundle}}/life
            for i in 0 1 2 3 4 5 6 7 8 9; do
              {{crun}} state box 2>/dev/null | grep -q '"running"' && break
              sleep 0.2
            done
            """;
        return new(bench.Work, pure: true, [.. crun.Split(' '), "exec", "box", "/bin/busybox", "cat"], start);
    }

    /// <summary>With the least that podman can be asked to do: no cgroup, no log, no network.</summary>
    public static async Task<PeerLoop> PodmanAsync(Bench bench, string image)
    {
        // As an ordinary user podman makes its own user namespace, and has to live with the cgroups that there are.
        string[] podman = ["podman", "--root", $"{bench.Work}/podman", "--runroot", $"{bench.Work}/run", "--storage-driver", "overlay"];

        // It names the image by the path as it is given, and takes no name with capitals.
        string id = await Peers.ShellAsync($"cd {bench.Work} && {string.Join(' ', podman)} pull -q oci:{Path.GetFileName(image)}", pure: Peers.IsRoot);
        return new(
            bench.Work,
            pure: Peers.IsRoot,
            [.. podman, "run", "--rm", "-i", "--network", "none", "--cgroups=disabled", "--log-driver", "none", "--ulimit", "nofile=1024:1024", "--ulimit", "nproc=1024:1024", id.Trim()]);
    }

    public async Task RunAsync()
    {
        try
        {
            await _process.StandardInput.WriteLineAsync("run");
            await _process.StandardInput.FlushAsync();
        }
        catch (IOException)
        {
            // It has ended; why is below.
        }

        if (await _process.StandardOutput.ReadLineAsync() == "done")
            return;
        await _process.WaitForExitAsync();

        // The program's own words stand above those of the exception by which the loop ended.
        string errors = File.Exists(_errors) ? await File.ReadAllTextAsync(_errors) : "";
        throw new InvalidOperationException(Peers.LastLine(errors.Split("Unhandled exception")[0]) ?? Peers.LastLine(errors) ?? $"it ended with status {_process.ExitCode}");
    }

    public async ValueTask DisposeAsync()
    {
        _process.StandardInput.Close();
        await _process.WaitForExitAsync();
        _process.Dispose();
    }
}
