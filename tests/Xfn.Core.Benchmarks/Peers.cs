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

    /// <summary>What podman is told that it need not do in a run.</summary>
    public static readonly string[] PodmanFlags = ["--cgroups=disabled", "--log-driver", "none", "--ulimit", "nofile=1024:1024", "--ulimit", "nproc=1024:1024"];

    /// <remarks>As an ordinary user podman makes its own user namespace, and has to live with the cgroups that there are.
    /// </remarks>
    public static string[] Podman(Bench bench) => ["podman", "--root", $"{bench.Work}/podman", "--runroot", $"{bench.Work}/run", "--storage-driver", "overlay"];

    /// <returns>The image's id.</returns>
    public static async Task<string> PullByPodmanAsync(Bench bench, string image)
    {
        // It names the image by the path as it is given, and takes no name with capitals.
        string id = await ShellAsync($"cd {bench.Work} && {string.Join(' ', Podman(bench))} pull -q oci:{Path.GetFileName(image)}", pure: IsRoot);
        return id.Trim();
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
        string id = await Peers.PullByPodmanAsync(bench, image);
        return new(bench.Work, pure: Peers.IsRoot, [.. Peers.Podman(bench), "run", "--rm", "-i", "--network", "none", .. Peers.PodmanFlags, id]);
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

/// <summary>A server in a container of podman's, of which a port is forwarded.</summary>
internal sealed class PodmanServer : IAsyncDisposable
{
    private readonly Process _shell;
    private readonly string _errors;

    /// <param name="work">A directory for its errors.</param>
    /// <param name="start">What starts it, in the background.</param>
    /// <param name="stop">What ends it.</param>
    private PodmanServer(string work, string start, string stop)
    {
        _errors = Path.Combine(work, Path.GetRandomFileName());
        string loop = $"""
            while read -r verb; do
              case $verb in
                start) {start} ;;
                stop) {stop} ;;
              esac >/dev/null 2>>"$0" && echo done || echo failed
            done
            """;
        string[] arguments = [.. Peers.IsRoot ? Peers.InPureCgroups() : [], "bash", "-c", loop, _errors];
        _shell = Process.Start(new ProcessStartInfo(arguments[0], arguments[1..]) { RedirectStandardInput = true, RedirectStandardOutput = true })!;
    }

    /// <param name="bench">Where it is measured.</param>
    /// <param name="image">The server.</param>
    /// <param name="port">A port of this machine's loopback.</param>
    /// <param name="inside">The server's port.</param>
    public static async Task<PodmanServer> MakeAsync(Bench bench, string image, int port, int inside)
    {
        const string name = "bench-server";
        string podman = string.Join(' ', Peers.Podman(bench)), id = "";
        try
        {
            id = await Peers.PullByPodmanAsync(bench, image);
        }
        catch (InvalidOperationException ex)
        {
            // It fails again when it is started, and is left out.
            Console.Error.WriteLine(ex.Message);
        }

        return new(bench.Work, $"{podman} run -d --name {name} -p 127.0.0.1:{port}:{inside} {string.Join(' ', Peers.PodmanFlags)} {id}", $"{podman} rm -f -t 0 {name}");
    }

    public Task StartAsync() => DoAsync("start");

    public Task StopAsync() => DoAsync("stop");

    private async Task DoAsync(string verb)
    {
        await _shell.StandardInput.WriteLineAsync(verb);
        await _shell.StandardInput.FlushAsync();
        if (await _shell.StandardOutput.ReadLineAsync() != "done")
            throw new InvalidOperationException(Peers.LastLine(await File.ReadAllTextAsync(_errors)) ?? "it ended without a word");
    }

    public async ValueTask DisposeAsync()
    {
        // What did not start need not be stopped.
        await _shell.StandardInput.WriteLineAsync("stop");
        _shell.StandardInput.Close();
        await _shell.WaitForExitAsync();
        _shell.Dispose();
    }
}
