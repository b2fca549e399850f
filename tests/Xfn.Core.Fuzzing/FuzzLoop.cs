using System.Diagnostics;
using System.IO.MemoryMappedFiles;
using System.Runtime.CompilerServices;
using System.Runtime.InteropServices;
using System.Security.Cryptography;
using Trace = SharpFuzz.Common.Trace;

namespace Xfn.Core.Fuzzing;

/// <summary>When a loop ends: after so long or so many runs, whichever comes first.</summary>
internal sealed record FuzzLimit(TimeSpan Time, long Runs);

/// <summary>Makes inputs, runs them, and keeps those whose branches were taken in a new way or number.</summary>
/// <remarks>Counts are AFL's: a byte for each pair of branches, in classes of 1, 2, 3, 4, 8, 16, 32 and 128.</remarks>
internal sealed unsafe class FuzzLoop
{
    private const int MapBytes = 1 << 16;
    private const int MaxInputBytes = 1 << 16;
    private const int MaxFindings = 20;
    private const string CurrentFile = "current";

    /// <summary>What one input may take of processor time, which a busy machine does not change: more is a finding, as is an
    /// error that the target does not allow.</summary>
    private static readonly TimeSpan MaxTime = TimeSpan.FromSeconds(2);

    /// <summary>After which processor time an input is taken for one that never ends, and after which time if it waits for
    /// something.</summary>
    private static readonly TimeSpan MaxStuck = TimeSpan.FromSeconds(30), MaxWait = TimeSpan.FromMinutes(10);

    private const long MaxAllocatedBytes = 256 << 20;

    private static readonly byte* s_map = (byte*)NativeMemory.AlignedAlloc(MapBytes, 64);

    private readonly FuzzTarget _target;
    private readonly string _work;
    private readonly byte[] _seen = new byte[MapBytes];
    private readonly byte[] _class = new byte[256];
    private readonly List<byte[]> _corpus = [];
    private readonly HashSet<string> _findings = [];
    private readonly MemoryMappedViewAccessor _current;
    private readonly byte* _currentBytes;
    private long _runs;
    private long _startedAt;
    private long _usedAtStart;

    private FuzzLoop(FuzzTarget target, string work)
    {
        _target = target;
        _work = work;
        for (int i = 1; i < 256; i++)
            _class[i] = (byte)(i < 4 ? 1 << (i - 1) : i < 8 ? 8 : i < 16 ? 16 : i < 32 ? 32 : i < 128 ? 64 : 128);
        string current = Path.Combine(work, CurrentFile);
        _current = MemoryMappedFile.CreateFromFile(current, FileMode.Create, null, MaxInputBytes + sizeof(int)).CreateViewAccessor();
        _current.SafeMemoryMappedViewHandle.AcquirePointer(ref _currentBytes);
    }

    /// <summary>Gives the branches their counters. Must come before any code that counts.</summary>
    public static void PrepareCounters() => Trace.SharedMem = s_map;

    /// <returns>0 when nothing was found, else 1.</returns>
    public static int Run(FuzzTarget target, FuzzLimit limit, string work)
    {
        var loop = new FuzzLoop(target, work);
        using var watch = new Timer(_ => loop.EndIfStuck(), null, TimeSpan.FromSeconds(1), TimeSpan.FromSeconds(1));
        return loop.Run(limit);
    }

    /// <summary>Keeps the input that was run last, in whichever process.</summary>
    /// <returns>The file's path.</returns>
    public static string KeepCurrent(string work, string why)
    {
        byte[] bytes = File.ReadAllBytes(Path.Combine(work, CurrentFile));
        return Keep(work, why, bytes.AsSpan(sizeof(int), Math.Clamp(BitConverter.ToInt32(bytes), 0, MaxInputBytes)));
    }

    private static string Keep(string work, string why, ReadOnlySpan<byte> input)
    {
        string path = Path.Combine(work, $"{why}-{Convert.ToHexStringLower(SHA256.HashData(input))[..12]}");
        File.WriteAllBytes(path, input);
        return path;
    }

    private int Run(FuzzLimit limit)
    {
        string kept = Directory.CreateDirectory(Path.Combine(_work, "corpus")).FullName;
        string seeds = Path.Combine(AppContext.BaseDirectory, "Corpus", _target.Name);
        IEnumerable<string> files = new[] { seeds, kept }.Where(Directory.Exists).SelectMany(directory => Directory.GetFiles(directory).Order());
        foreach (byte[] seed in _target.Seeds.Concat(files.Select(File.ReadAllBytes)))
        {
            if (TakesNewWay(seed))
                _corpus.Add(seed);
        }

        if (_corpus.Count == 0)
            throw new InvalidOperationException($"cannot fuzz '{_target.Name}': no seed in '{seeds}' reaches any code. Add one.");

        var random = new Random();
        var mutator = new Mutator(random, _corpus, MaxInputBytes);
        var clock = Stopwatch.StartNew();
        TimeSpan told = TimeSpan.Zero;
        while (clock.Elapsed < limit.Time && _runs < limit.Runs && _findings.Count < MaxFindings)
        {
            // New inputs are the likelier ones to lead on.
            int pick = random.Next(2) == 0 ? random.Next(_corpus.Count) : _corpus.Count - 1 - random.Next(Math.Min(_corpus.Count, 32));
            byte[] input = _target.Repair(mutator.Mutate(_corpus[pick]));
            if (TakesNewWay(input))
            {
                _corpus.Add(input);
                Keep(kept, "in", input);
            }

            if (clock.Elapsed - told > TimeSpan.FromSeconds(10))
            {
                told = clock.Elapsed;
                Console.WriteLine(Summary(clock.Elapsed));
            }
        }

        Console.WriteLine(Summary(clock.Elapsed));
        return _findings.Count == 0 ? 0 : 1;
    }

    private string Summary(TimeSpan elapsed) =>
        $"{_target.Name}: {_runs} runs in {elapsed.TotalSeconds:0} s, {_corpus.Count} inputs kept, " +
        $"{_seen.Count(c => c != 0)} branches, {_findings.Count} findings";

    /// <summary>The processor time that this process has had: everything runs in one thread.</summary>
    private static TimeSpan Used => Environment.CpuUsage.TotalTime;

    private TimeSpan TimeAgain(byte[] input)
    {
        TimeSpan used = BeginTime();
        try
        {
            _target.Run(input);
        }
        catch (Exception)
        {
            // Reported when it ran first.
        }

        return Used - used;
    }

    /// <summary>Begins to measure an input.</summary>
    /// <returns>The processor time until then.</returns>
    private TimeSpan BeginTime()
    {
        TimeSpan used = Used;
        Volatile.Write(ref _usedAtStart, used.Ticks);
        Volatile.Write(ref _startedAt, Environment.TickCount64);
        return used;
    }

    private bool TakesNewWay(byte[] input)
    {
        *(int*)_currentBytes = input.Length;
        input.CopyTo(new Span<byte>(_currentBytes + sizeof(int), MaxInputBytes));
        new Span<byte>(s_map, MapBytes).Clear();
        Trace.PrevLocation = 0;
        long allocated = GC.GetAllocatedBytesForCurrentThread();
        TimeSpan used = BeginTime();
        try
        {
            _target.Run(input);
        }
        catch (Exception ex) when (!_target.Allows(ex))
        {
            string where = ex.StackTrace?.Split('\n').FirstOrDefault(line => line.Contains("Xfn.Core", StringComparison.Ordinal))?.Trim() ?? "";
            Report("error", input, $"{ex.GetType()}: {ex.Message} {where}", $"{ex.GetType()} {where}");
        }
        catch (Exception)
        {
            // What the target allows is an answer.
        }

        _runs++;
        TimeSpan took = Used - used;
        allocated = GC.GetAllocatedBytesForCurrentThread() - allocated;
        bool isNew = IsNew();
        // Twice: the first run may have compiled much.
        if (took > MaxTime && TimeAgain(input) is var again && again > MaxTime)
            Report("slow", input, $"it took {again.TotalSeconds:0.0} s of processor time", "slow");
        if (allocated > MaxAllocatedBytes)
            Report("memory", input, $"it took {allocated >> 20} MiB", "memory");
        Volatile.Write(ref _startedAt, 0);
        return isNew;
    }

    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private bool IsNew()
    {
        bool isNew = false;
        ulong* words = (ulong*)s_map;
        for (int word = 0; word < MapBytes / sizeof(ulong); word++)
        {
            if (words[word] == 0)
                continue;
            for (int i = word * sizeof(ulong); i < (word + 1) * sizeof(ulong); i++)
            {
                byte count = _class[s_map[i]];
                if ((count & ~_seen[i]) != 0)
                {
                    _seen[i] |= count;
                    isNew = true;
                }
            }
        }

        return isNew;
    }

    private void Report(string kind, byte[] input, string what, string key)
    {
        if (_findings.Add(key))
            Console.WriteLine($"FINDING: {what}\n  The input is kept as {Keep(_work, kind, input)}");
    }

    private void EndIfStuck()
    {
        long startedAt = Volatile.Read(ref _startedAt);
        if (startedAt == 0)
            return;
        TimeSpan waited = TimeSpan.FromMilliseconds(Environment.TickCount64 - startedAt), used = Used - TimeSpan.FromTicks(Volatile.Read(ref _usedAtStart));
        if (waited < MaxStuck || (used < MaxStuck && waited < MaxWait))
            return;
        Console.WriteLine($"FINDING: an input takes more than {used.TotalSeconds:0} s of processor time, {waited.TotalSeconds:0} s in all");
        Environment.Exit(3);
    }
}
