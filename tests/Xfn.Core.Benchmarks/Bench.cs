namespace Xfn.Core.Benchmarks;

/// <summary>One group of rows in a process of its own: memory is the group's, and its failure ends no other.</summary>
internal sealed class Bench
{
    public static readonly IReadOnlyDictionary<string, Func<Bench, Task>> Groups = new Dictionary<string, Func<Bench, Task>>
    {
        ["warm"] = WarmRows.AddAsync,
        ["prepared"] = PreparedRows.AddAsync,
        ["images"] = ImageRows.AddAsync,
        ["many"] = ManyRows.AddAsync,
        ["fair"] = FairRows.AddAsync,
        ["socket"] = SocketRows.AddAsync,
        ["fresh"] = FreshRows.AddAsync,
        ["stream"] = StreamRows.AddAsync,
        ["pull"] = PullRows.AddAsync,
        ["build"] = BuildRows.AddAsync,
        ["services"] = ServiceRows.AddAsync,
        ["composition"] = CompositionRows.AddAsync,
        ["growth-cached"] = GrowthRows.AddCachedAsync,
        ["growth-layers"] = GrowthRows.AddLayersAsync,
        ["growth-output"] = GrowthRows.AddOutputAsync,
        ["growth-queued"] = GrowthRows.AddQueuedAsync,
        ["growth-concurrent"] = GrowthRows.AddConcurrentAsync,
        ["growth-asleep"] = GrowthRows.AddAsleepAsync,
        ["growth-waiting"] = GrowthRows.AddWaitingAsync,
    };

    private readonly string _caller;
    private readonly List<Row> _rows = [];

    private Bench(string caller, bool quick)
    {
        (_caller, IsQuick) = (caller, quick);
        Work = Directory.CreateDirectory(Path.Combine(Path.GetTempPath(), Path.GetRandomFileName()[..4])).FullName;
        Images = new Images(Work);
    }

    /// <summary>A directory in TMPDIR, which eng/bench.sh puts on tmpfs. podman takes only short names.</summary>
    public string Work { get; }

    public Images Images { get; }

    /// <summary>Whether this is only to see that it works.</summary>
    public bool IsQuick { get; }

    public static async Task<int> MeasureAsync(string group, string caller, string file, bool quick)
    {
        if (!Groups.TryGetValue(group, out Func<Bench, Task>? add))
        {
            Console.Error.WriteLine($"there is no group '{group}': expected one of {string.Join(' ', Groups.Keys)}.");
            return 2;
        }

        var bench = new Bench(caller, quick);
        try
        {
            await add(bench);
            return 0;
        }
        catch (Exception ex)
        {
            Console.Error.WriteLine(ex);
            bench._rows.Add(new Row { Name = group, Caller = caller, Peer = "", LeftOut = ex.Message });
            return 1;
        }
        finally
        {
            Row.Write(file, bench._rows);

            // What an ordinary user unpacked belongs to its subordinate ids.
            await Peers.ShellAsync($"rm -rf {bench.Work} 2>/dev/null || unshare --user --map-root-user --map-auto rm -rf {bench.Work}");
        }
    }

    public ContainerRunner MakeRunner(Action<ContainerRunnerOptions>? configure = null) => new(options =>
    {
        options.WithCacheDir(Path.Combine(Work, "cache"));
        configure?.Invoke(options);
    });

    public int Rounds(int full) => IsQuick ? Math.Max(2, full / 20) : full;

    /// <summary>The parameter of a growth: a smoke run goes not that far.</summary>
    public IEnumerable<long> Points(long most, params long[] points) => points.Where(p => !IsQuick || p <= most);

    /// <summary>Measures, and makes a row of our way with each of the others.</summary>
    public Task CompareAsync(string name, int rounds, Way ours, params Way[] peers) => CompareAsync([name], rounds, [ours], peers);

    /// <summary>Measures, and makes rows: our first way with each peer, our further ones with the first peer.</summary>
    public async Task CompareAsync(string[] names, int rounds, Way[] ours, Way[] peers)
    {
        Sample[] samples = await Measure.AlternateAsync(Rounds(rounds), Math.Clamp(rounds / 10, 1, IsQuick ? 2 : 20), [.. ours, .. peers]);
        for (int i = 0; i < ours.Length; i++)
        {
            foreach (Sample peer in samples.Skip(ours.Length).Take(i == 0 ? peers.Length : 1))
                _rows.Add(Row.Compare(names[i], _caller, samples[i], peer));
        }
    }

    /// <summary>Measures, and makes two rows with each of the others: of the time, and of the processor time. For what
    /// ends with its processes.</summary>
    public async Task CompareProcessorsAsync(string name, int rounds, Way ours, params Way[] peers)
    {
        Sample[] samples = await Measure.AlternateAsync(Rounds(rounds), 1, [ours, .. peers]);
        foreach (Sample peer in samples.Skip(1))
        {
            _rows.Add(Row.Compare(name, _caller, samples[0], peer));
            _rows.Add(Row.Compare("the same, processor time", _caller, samples[0].OfProcessor(), peer.OfProcessor()));
        }
    }

    /// <summary>Measures what grows: a row for each point, against the first.</summary>
    public async Task GrowAsync(string table, int rounds, IEnumerable<Way> ways)
    {
        Sample[] samples = await Measure.AlternateAsync(Rounds(rounds), 1, [.. ways]);
        foreach (Sample sample in samples)
            _rows.Add(Row.Compare(sample.Name, _caller, sample, samples[0], table));
    }

    /// <summary>Measures what is compared with nothing.</summary>
    public async Task ListAsync(string table, int rounds, params Way[] ways)
    {
        foreach (Sample sample in await Measure.AlternateAsync(IsQuick ? 1 : rounds, 1, ways))
            _rows.Add(Row.Compare(sample.Name, _caller, sample, null, table));
    }

    /// <summary>Adds a comparison that was measured otherwise.</summary>
    public void Add(string name, Sample ours, Sample peer) => _rows.Add(Row.Compare(name, _caller, ours, peer));

    /// <summary>Adds what was measured otherwise.</summary>
    /// <param name="table">Its table.</param>
    /// <param name="name">What it is.</param>
    /// <param name="milliseconds">How long it took; null where that is not what was measured.</param>
    /// <param name="mebibytes">How much memory it took; likewise.</param>
    public void Note(string table, string name, double? milliseconds = null, double? mebibytes = null) =>
        _rows.Add(new Row { Table = table, Name = name, Caller = _caller, Peer = "", Rounds = 1, Median = milliseconds, PeakMiB = mebibytes });
}
