using System.Diagnostics;
using System.Globalization;
using System.Text;
using Microsoft.Win32.SafeHandles;

namespace Xfn.Core.Conformance;

/// <summary>Tries whether a spawner keeps the contract of <see cref="INamespaceSpawner"/>, with a shell script in place
/// of xfn-spark.</summary>
/// <remarks>
/// <para>Link this file into a test project with any test framework, and assert that nothing is found:</para>
/// <code>
/// &lt;Compile Include="…/tests/Conformance/SpawnerConformance.cs" /&gt;
///
/// [Test, CancelAfter(60_000)]
/// public async Task My_spawner_keeps_the_contract(CancellationToken token) =>
///     Assert.That(
///         await SpawnerConformance.FindFaultsAsync(new MySpawner(), MyMapping, cancellationToken: token), Is.Empty);
/// </code>
/// <para>A mapping that every user may set has the user's own id, as <c>id -u</c> says, and <c>id -g</c>:</para>
/// <code>
/// new IdMapping { Uids = [new IdRange(0, 1000, 1)], Gids = [new IdRange(0, 1000, 1)], Method = IdMappingMethod.Self }
/// </code>
/// <para>It cannot try from inside one process whether the program ends when its caller is killed. Test that with a
/// program that spawns, and is killed. It needs <c>/bin/sh</c>, <c>readlink</c>, <c>tr</c> and <c>sleep</c>.</para>
/// </remarks>
public sealed class SpawnerConformance
{
    private const string Canary = "XFN_CONFORMANCE";

    private static readonly char[] Blanks = [' ', '\t'];

    /// <summary>Says what it finds around it, in lines of a name and a value; then waits for a line, and says what its
    /// ids are; then waits for the end of stdin.</summary>
    private const string Script = """
        PATH=/usr/sbin:/usr/bin:/sbin:/bin
        read -r pid rest </proc/self/stat
        echo "pid $pid"
        echo "arguments $0 $*"
        echo "inner $$"
        echo "directory $(readlink /proc/$pid/cwd)"
        echo "executable $(readlink /proc/$pid/exe)"
        echo "inherited $(readlink /proc/$pid/fd/3)"
        for name in user mnt pid net ipc uts cgroup; do echo "$name $(readlink /proc/$pid/ns/$name)"; done
        for fd in /proc/$pid/fd/*; do echo "descriptor ${fd##*/}"; readlink $fd || echo "closed ${fd##*/}"; done
        while read -r name value; do echo "$name $value"; done </proc/$pid/status
        sleep 600 </dev/null >/dev/null 2>&1 &
        echo "environment $(tr '\0' '\001' </proc/$pid/environ)"
        echo "complaint" >&2
        echo "ready"
        read -r line
        echo "line $line"
        while read -r name value; do echo "uid_map $name $value"; done </proc/$pid/uid_map
        while read -r name value; do echo "gid_map $name $value"; done </proc/$pid/gid_map
        echo "mapped"
        read -r line
        """;

    private readonly INamespaceSpawner _spawner;
    private readonly TimeSpan _patience;
    private readonly CancellationToken _cancellationToken;
    private readonly List<string> _faults = [];

    private SpawnerConformance(INamespaceSpawner spawner, TimeSpan patience, CancellationToken cancellationToken) =>
        (_spawner, _patience, _cancellationToken) = (spawner, patience, cancellationToken);

    /// <summary>Tries a spawner.</summary>
    /// <param name="spawner">The spawner.</param>
    /// <param name="mapping">Ids that this process may map.</param>
    /// <param name="patience">How long any one thing may take. Null, the default, for 20 seconds.</param>
    /// <param name="cancellationToken">Ends the trial.</param>
    /// <returns>Each promise that was not kept, as a sentence. Empty when all were.</returns>
    public static async Task<IReadOnlyList<string>> FindFaultsAsync(
        INamespaceSpawner spawner, IdMapping mapping, TimeSpan? patience = null, CancellationToken cancellationToken = default)
    {
        ArgumentNullException.ThrowIfNull(spawner);
        ArgumentNullException.ThrowIfNull(mapping);
        var trial = new SpawnerConformance(spawner, patience ?? TimeSpan.FromSeconds(20), cancellationToken);
        string directory = Directory.CreateTempSubdirectory("xfn-conformance-").FullName;
        string program = Path.Combine(directory, "program");
        File.Copy("/bin/sh", program);
        using SafeFileHandle executable = File.OpenHandle(program);

        // The file that was compared is to run, and not the one that has its name.
        File.Delete(program);
        Environment.SetEnvironmentVariable(Canary, "of the caller");
        try
        {
            var request = new NamespaceRequest { Executable = executable, Arguments = ["-c", Script, "zero", "one"], WorkingDirectory = directory, Mapping = mapping };
            await trial.CheckWayAsync(request);
            await trial.CheckKillAsync(request);
            await trial.CheckDisposalAsync(request);
            return trial._faults;
        }
        catch (TimeoutException ex)
        {
            return [.. trial._faults, ex.Message];
        }
        finally
        {
            Environment.SetEnvironmentVariable(Canary, null);
            Directory.Delete(directory, recursive: true);
        }
    }

    /// <summary>From the start by the mapping of ids to an end by stdin.</summary>
    private async Task CheckWayAsync(NamespaceRequest request)
    {
        await using SpawnedNamespace spawned = await _spawner.SpawnAsync(request, _cancellationToken);
        if (await StartAsync(spawned) is not { } said)
            return;
        CheckSurroundings(said, request);
        int processId = int.Parse(said["pid"][0], CultureInfo.InvariantCulture);
        await spawned.MapIdsAsync(processId, _cancellationToken);
        await spawned.Input.WriteAsync("go on\n"u8.ToArray(), _cancellationToken);
        await spawned.Input.FlushAsync(_cancellationToken);
        Dictionary<string, List<string>> mapped = await ReadAsync(spawned, "mapped");
        Expect(mapped, "line", ["go on"], "the line that was written to Input");
        Expect(mapped, "uid_map", request.Mapping.Uids.Select(Line), "the user ids of the mapping");
        Expect(mapped, "gid_map", request.Mapping.Gids.Select(Line), "the group ids of the mapping");
        if (spawned.Ended.IsCompleted)
            _faults.Add("Ended ended before the program.");
        await spawned.Input.DisposeAsync();
        string errors = await WithinAsync(spawned.Ended, "Ended did not end after the program, whose stdin had ended");
        if (!errors.Contains("complaint", StringComparison.Ordinal))
            _faults.Add($"Ended gave '{errors}', and not what the program wrote to stderr.");
        spawned.Kill();

        static string Line(IdRange range) => $"{range.Inside} {range.Outside} {range.Count}";
    }

    private async Task CheckKillAsync(NamespaceRequest request)
    {
        await using SpawnedNamespace spawned = await _spawner.SpawnAsync(request, _cancellationToken);
        if (await StartAsync(spawned) is not { } said)
            return;
        int[] children = ChildrenOf(said["pid"][0]);
        await spawned.MapIdsAsync(int.Parse(said["pid"][0], CultureInfo.InvariantCulture), _cancellationToken);
        spawned.Kill();
        spawned.Kill();
        await WithinAsync(spawned.Ended, "Ended did not end after Kill");
        if (Array.Exists(children, IsAlive))
            _faults.Add("A process of the PID namespace was left when Ended had ended after Kill.");
    }

    private async Task CheckDisposalAsync(NamespaceRequest request)
    {
        SpawnedNamespace spawned = await _spawner.SpawnAsync(request, _cancellationToken);
        Dictionary<string, List<string>>? said = await StartAsync(spawned);
        await WithinAsync(DisposeAsync(), "DisposeAsync did not end");
        if (!spawned.Ended.IsCompleted)
            _faults.Add("DisposeAsync did not wait for the program's end.");
        if (said is not null)
        {
            // Before its ids are mapped a program may be killed by way of its parent, so the kernel may need a moment.
            int processId = int.Parse(said["pid"][0], CultureInfo.InvariantCulture);
            for (long begun = Stopwatch.GetTimestamp(); IsAlive(processId); await Task.Delay(1, _cancellationToken))
            {
                if (Stopwatch.GetElapsedTime(begun) > _patience)
                    throw new TimeoutException("The program was left when DisposeAsync had ended.");
            }
        }

        async Task<bool> DisposeAsync()
        {
            await spawned.DisposeAsync();
            return true;
        }
    }

    private void CheckSurroundings(Dictionary<string, List<string>> said, NamespaceRequest request)
    {
        Expect(said, "arguments", ["zero one"], "the arguments");
        Expect(said, "inner", ["1"], "PID 1");
        Expect(said, "directory", [request.WorkingDirectory], "the working directory");
        foreach (string name in new[] { "user", "mnt", "pid" })
        {
            if (said[name].SequenceEqual([OwnNamespace(name)]))
                _faults.Add($"The program is in the caller's {name} namespace.");
        }

        foreach (string name in new[] { "net", "ipc", "uts", "cgroup" })
        {
            if (!said[name].SequenceEqual([OwnNamespace(name)]))
                _faults.Add($"The program is not in the caller's {name} namespace.");
        }

        int lastCapability = int.Parse(File.ReadAllText("/proc/sys/kernel/cap_last_cap"), CultureInfo.InvariantCulture);
        Expect(said, "CapEff:", [$"{(1UL << (lastCapability + 1)) - 1:x16}"], "all capabilities");
        Expect(said, "SigBlk:", [new string('0', 16)], "no signal blocked");
        Expect(said, "SigIgn:", [new string('0', 16)], "no signal ignored");
        string[] descriptors = [.. said["descriptor"].Except(said.GetValueOrDefault("closed", [])).Except(Inheritable())];
        if (!descriptors.Order().SequenceEqual(["0", "1", "2", $"{NamespaceRequest.ExecutableDescriptor}"]))
            _faults.Add($"The program has the descriptors {string.Join(", ", descriptors)}, expected 0, 1, 2 and {NamespaceRequest.ExecutableDescriptor}.");
        foreach ((string name, string what) in new[] { ("executable", "The program"), ("inherited", "Descriptor 3 of the program") })
        {
            if (!said[name][0].StartsWith(Path.Combine(request.WorkingDirectory, "program"), StringComparison.Ordinal))
                _faults.Add($"{what} is '{said[name][0]}', and not the open file of the request.");
        }

        string[] environment = said["environment"][0].Split('\u0001', StringSplitOptions.RemoveEmptyEntries);
        string[] callers = [.. environment.Where(e => e.Split('=', 2) is [not "PATH", var value] pair && Environment.GetEnvironmentVariable(pair[0]) == value)];
        if (callers.Length > 0)
            _faults.Add($"The program has variables of the caller's environment: {string.Join(", ", callers)}.");
    }

    private void Expect(Dictionary<string, List<string>> said, string name, IEnumerable<string> expected, string what)
    {
        string[] found = [.. said.GetValueOrDefault(name, []).Select(text => string.Join(' ', text.Split(Blanks, StringSplitOptions.RemoveEmptyEntries)))];
        if (!found.SequenceEqual(expected))
            _faults.Add($"The program does not have {what}: expected '{string.Join("; ", expected)}', found '{string.Join("; ", found)}'.");
    }

    /// <summary>What the script says first; null when it cannot.</summary>
    private async Task<Dictionary<string, List<string>>?> StartAsync(SpawnedNamespace spawned)
    {
        Dictionary<string, List<string>> said = await ReadAsync(spawned, "ready");
        if (said.ContainsKey("ready"))
            return said;
        string errors = await WithinAsync(spawned.Ended, "Ended did not end after Output");
        _faults.Add($"The program did not run to its first message. On stderr: '{errors}'.");
        return null;
    }

    /// <summary>Reads lines up to one, or to the end.</summary>
    private async Task<Dictionary<string, List<string>>> ReadAsync(SpawnedNamespace spawned, string last)
    {
        var said = new Dictionary<string, List<string>>();
        var line = new List<byte>();
        byte[] one = new byte[1];
        while (!said.ContainsKey(last) && await WithinAsync(spawned.Output.ReadAsync(one, _cancellationToken).AsTask(), $"The program did not say '{last}'") > 0)
        {
            if (one[0] != '\n')
            {
                line.Add(one[0]);
                continue;
            }

            string[] parts = Encoding.UTF8.GetString([.. line]).Split(Blanks, 2);
            line.Clear();
            if (!said.TryGetValue(parts[0], out List<string>? values))
                said[parts[0]] = values = [];
            values.Add(parts.Length > 1 ? parts[1] : "");
        }

        return said;
    }

    private async Task<T> WithinAsync<T>(Task<T> task, string otherwise)
    {
        try
        {
            return await task.WaitAsync(_patience, _cancellationToken);
        }
        catch (TimeoutException)
        {
            throw new TimeoutException($"{otherwise}, within {_patience.TotalSeconds} seconds.");
        }
    }

    /// <summary>The descriptors beyond 3 that this process inherited, and its programs inherit. .NET opens
    /// none.</summary>
    private static IEnumerable<string> Inheritable()
    {
        const int closeOnExec = 0x80000;
        return from info in Directory.GetFiles("/proc/self/fdinfo")
               let number = Path.GetFileName(info)
               where int.Parse(number, CultureInfo.InvariantCulture) > NamespaceRequest.ExecutableDescriptor
               where FlagsOf(info) is { } flags && (flags & closeOnExec) == 0
               select number;

        static int? FlagsOf(string info)
        {
            try
            {
                return Convert.ToInt32(File.ReadLines(info).First(line => line.StartsWith("flags:", StringComparison.Ordinal))[6..].Trim(), 8);
            }
            catch (Exception ex) when (ex is IOException or UnauthorizedAccessException)
            {
                // It was closed meanwhile.
                return null;
            }
        }
    }

    private static string OwnNamespace(string name) => new FileInfo($"/proc/self/ns/{name}").LinkTarget!;

    private static int[] ChildrenOf(string processId)
    {
        string ids = File.ReadAllText($"/proc/{processId}/task/{processId}/children");
        return [.. ids.Split(' ', StringSplitOptions.RemoveEmptyEntries).Select(id => int.Parse(id, CultureInfo.InvariantCulture))];
    }

    private static bool IsAlive(int processId)
    {
        try
        {
            // Behind the name, which may have anything in it: the state.
            string stat = File.ReadAllText($"/proc/{processId}/stat");
            return stat[stat.LastIndexOf(')') + 2] is not ('Z' or 'X');
        }
        catch (Exception ex) when (ex is IOException or UnauthorizedAccessException)
        {
            return false;
        }
    }
}
