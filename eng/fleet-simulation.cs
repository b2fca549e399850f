// What comes of seven ways to choose the server of a run, for a thousand servers: the table of docs/fleet.md.
//   dotnet run -c Release eng/fleet-simulation.cs
// It says the same each time, since chance comes from numbers that begin alike.
using System.Globalization;

CultureInfo.CurrentCulture = CultureInfo.InvariantCulture;
Console.WriteLine("| images | runs take | choice | from the cache | pulls a second | waits, median | waits, 99 of 100 | busiest server | offers a run | refused |");
Console.WriteLine("|--:|--:|---|--:|--:|--:|--:|--:|--:|--:|");
foreach ((int images, double load) in new[] { (80, 0.7), (1000, 0.4) })
{
    foreach (Choice choice in Enum.GetValues<Choice>())
        Console.WriteLine(new Fleet(choice, images, load).Run());
}

/// <summary>How the server of a run is chosen.</summary>
internal enum Choice
{
    /// <summary>Each client goes round all servers, beginning somewhere else.</summary>
    RoundRobin,

    /// <summary>The same, and a server whose places are taken refuses: five offers at most, with waits between
    /// them.</summary>
    RoundRobinThenNext,

    /// <summary>The same, and each client has the servers in an order of its own.</summary>
    ShuffledRobinThenNext,

    /// <summary>Each client takes one of those where it has the fewest open runs itself.</summary>
    LeastOpenOfClient,

    /// <summary>One balancer, which all runs pass, takes one of those with the fewest open runs.</summary>
    LeastOpen,

    /// <summary>The image's one server.</summary>
    Hash,

    /// <summary>As <c>RemoteContainerRunner</c> does it: each image has an order of servers, and one whose places are
    /// taken refuses. A client begins one before the server that took its last run of the image, and goes on, by steps
    /// that grow. Where none has a place the run waits at the server that it began with.</summary>
    HashThenNext,
}

/// <summary>A fleet for 80 seconds, of which the second half is counted. Its servers begin with the images that are asked for
/// most.</summary>
internal sealed class Fleet(Choice choice, int images, double load)
{
    private const int Servers = 1000;
    private const int Clients = 200;
    private const int Places = 8;
    private const int Cached = 100;
    private const double RunSeconds = 1;
    private const double PullSeconds = 4;
    private const int MostOffers = 5;
    private const double FirstDelay = 0.05;
    private const double RoundTrip = 0.001;
    private const double Begin = 40;
    private const double End = 80;

    private readonly Server[] _servers = [.. Enumerable.Range(0, Servers).Select(_ => new Server(Math.Min(images, Cached)))];
    private readonly int[] _turns = [.. Enumerable.Range(0, Clients).Select(client => client * 7919)];
    private readonly int[,] _open = new int[Clients, Servers];
    private readonly int[,] _ranks = new int[Clients, images];
    private readonly int[][] _orders = new int[images + Clients][];
    private readonly LoadOrder _order = new(Servers);
    private readonly PriorityQueue<Job, double> _events = new();
    private readonly Chance _chance = new(20_261_129);
    private readonly List<double> _waits = [];
    private double _now;
    private long _runs;
    private long _hits;
    private long _pulls;
    private long _offers;
    private long _refused;

    /// <returns>A row of the table.</returns>
    public string Run()
    {
        double[] popularity = Popularity();
        double gap = RunSeconds / (Servers * Places * load);
        for (double next = 0; next < End; next += _chance.Exponential(gap))
        {
            while (_events.TryPeek(out Job? job, out double at) && at <= next)
            {
                _events.Dequeue();
                _now = at;
                if (job.IsStarted)
                    Finish(job);
                else
                    Offer(job);
            }

            _now = next;
            int image = Array.BinarySearch(popularity, _chance.Next());
            var run = new Job(next, image < 0 ? ~image : image, _chance.Next(Clients));
            run.Begin = Math.Max(0, _ranks[run.Client, run.Image] - 1);
            _runs += Counts(run) ? 1 : 0;
            Offer(run);
        }

        _waits.Sort();
        double busiest = _servers.Max(s => s.Runs) / _servers.Average(s => s.Runs);
        string name = choice switch
        {
            Choice.RoundRobin => "round robin of each client",
            Choice.RoundRobinThenNext => "round robin, the next when busy",
            Choice.ShuffledRobinThenNext => "the same, in an order of each client's own",
            Choice.LeastOpenOfClient => "least open runs of the client's own",
            Choice.LeastOpen => "least open runs, by one balancer",
            Choice.Hash => "hash of the image, one server",
            _ => "hash of the image, the next when busy",
        };
        return $"| {images} | {load:0%} | {name} | {(double)_hits / _waits.Count:0.0%} | {_pulls / (End - Begin):0} | {Wait(0.5)} | {Wait(0.99)} | {busiest:0.0} | {(double)_offers / _runs:0.0} | {(double)_refused / _runs:0.00%} |";

        // Where servers have more runs waiting than places in the end, and always more, a figure would say how long this went on.
        string Wait(double share) => _servers.Sum(s => s.Waiting.Count) > Servers * Places ? "grows" : $"{_waits[(int)(share * _waits.Count)]:0.00} s";
    }

    /// <summary>Each image is asked for as often as one by its rank (Zipf's law).</summary>
    private double[] Popularity()
    {
        var sums = new double[images];
        for (int i = 0; i < images; i++)
            sums[i] = (i > 0 ? sums[i - 1] : 0) + 1.0 / (i + 1);
        return [.. sums.Select(sum => sum / sums[^1])];
    }

    private static bool Counts(Job job) => job.Arrival >= Begin;

    private void Offer(Job job)
    {
        job.Server = Choose(job);
        job.Offers++;
        _offers += Counts(job) ? 1 : 0;
        Server server = _servers[job.Server];
        if (server.Busy == Places && (choice is Choice.RoundRobinThenNext or Choice.ShuffledRobinThenNext || (choice == Choice.HashThenNext && !job.MayWait)))
        {
            Refuse(job);
            return;
        }

        if (!job.MayWait)
            _ranks[job.Client, job.Image] = (job.Begin + job.Step) % Servers;
        _open[job.Client, job.Server]++;
        _order.Move(job.Server, ++server.Open);
        server.Runs += Counts(job) ? 1 : 0;
        if (server.Busy < Places)
            Start(job, server);
        else
            server.Waiting.Enqueue(job);
    }

    private void Refuse(Job job)
    {
        if (choice == Choice.HashThenNext)
        {
            job.Step += Math.Max(1, job.Step / 4);
            if (job.Step >= Servers)
                (job.Step, job.MayWait) = (0, true);
            _events.Enqueue(job, _now + RoundTrip);
        }
        else if (job.Offers < MostOffers)
            _events.Enqueue(job, _now + FirstDelay * (1 << (job.Offers - 1)));
        else
            _refused += Counts(job) ? 1 : 0;
    }

    private int Choose(Job job)
    {
        switch (choice)
        {
            case Choice.RoundRobin or Choice.RoundRobinThenNext:
                return _turns[job.Client]++ % Servers;
            case Choice.ShuffledRobinThenNext:
                return InOrder(job.Client + images, _turns[job.Client]++);
            case Choice.LeastOpenOfClient:
                // A client has fewer open runs than there are servers.
                int any = _chance.Next(Servers);
                while (_open[job.Client, any] > 0)
                    any = (any + 1) % Servers;
                return any;
            case Choice.LeastOpen:
                return _order.Least(_chance);
            case Choice.Hash:
                return InOrder(job.Image, 0);
            default:
                return InOrder(job.Image, job.Begin + job.Step);
        }
    }

    /// <summary>The servers in an order of an image's or a client's own: by a hash of both names.</summary>
    private int InOrder(int owner, int rank)
    {
        _orders[owner] ??= [.. Enumerable.Range(0, Servers).OrderByDescending(server => Chance.Mix(Chance.Mix((ulong)owner) ^ Chance.Mix(~(ulong)server)))];
        return _orders[owner][rank % Servers];
    }

    /// <summary>Gives a run its place, in which it also waits for its image.</summary>
    private void Start(Job job, Server server)
    {
        job.IsStarted = true;
        server.Busy++;
        double ready = server.Ready(job.Image, _now, PullSeconds, Cached, out bool pulls);
        if (Counts(job))
        {
            _waits.Add(ready - job.Arrival);
            _hits += ready > _now ? 0 : 1;
            _pulls += pulls ? 1 : 0;
        }

        _events.Enqueue(job, ready + _chance.Exponential(RunSeconds));
    }

    private void Finish(Job job)
    {
        Server server = _servers[job.Server];
        server.Busy--;
        _open[job.Client, job.Server]--;
        _order.Move(job.Server, --server.Open);
        if (server.Waiting.TryDequeue(out Job? next))
            Start(next, server);
    }
}

/// <summary>A run.</summary>
internal sealed record Job(double Arrival, int Image, int Client)
{
    public int Server { get; set; }

    public bool IsStarted { get; set; }

    public int Offers { get; set; }

    /// <summary>The place of the server that it is offered first, in its image's order.</summary>
    public int Begin { get; set; }

    /// <summary>How far beyond that the server is that it is offered next.</summary>
    public int Step { get; set; }

    /// <summary>Whether that server may have it wait.</summary>
    public bool MayWait { get; set; }
}

/// <summary>A server: its places, its queue, and its cache.</summary>
internal sealed class Server
{
    /// <summary>Images, the one that was used last at the end, and when they are there.</summary>
    private readonly LinkedList<(int Image, double Ready)> _recent = new();
    private readonly Dictionary<int, LinkedListNode<(int Image, double Ready)>> _cache = [];

    /// <param name="first">How many images it has to begin with.</param>
    public Server(int first)
    {
        for (int image = first - 1; image >= 0; image--)
            _cache.Add(image, _recent.AddLast((image, 0)));
    }

    public Queue<Job> Waiting { get; } = new();

    public int Busy { get; set; }

    public int Open { get; set; }

    public int Runs { get; set; }

    /// <summary>Uses an image, and pulls it where neither it nor a pull of it is there.</summary>
    /// <returns>When it is there.</returns>
    public double Ready(int image, double now, double pullSeconds, int cached, out bool pulls)
    {
        pulls = !_cache.TryGetValue(image, out LinkedListNode<(int Image, double Ready)>? node);
        if (pulls)
        {
            node = new((image, now + pullSeconds));
            _cache.Add(image, node);
            if (_cache.Count > cached)
            {
                _cache.Remove(_recent.First!.Value.Image);
                _recent.RemoveFirst();
            }
        }
        else
        {
            _recent.Remove(node!);
        }

        _recent.AddLast(node!);
        return Math.Max(now, node!.Value.Ready);
    }
}

/// <summary>The servers by their open runs.</summary>
internal sealed class LoadOrder
{
    private readonly List<List<int>> _levels = [[]];
    private readonly (int Level, int Index)[] _places;

    public LoadOrder(int servers)
    {
        _places = new (int, int)[servers];
        for (int server = 0; server < servers; server++)
            Add(server, 0);
    }

    public void Move(int server, int level)
    {
        (int old, int index) = _places[server];
        List<int> left = _levels[old];
        int last = left[^1];
        left[index] = last;
        _places[last] = (old, index);
        left.RemoveAt(left.Count - 1);
        Add(server, level);
    }

    public int Least(Chance chance)
    {
        List<int> least = _levels.First(level => level.Count > 0);
        return least[chance.Next(least.Count)];
    }

    private void Add(int server, int level)
    {
        while (_levels.Count <= level)
            _levels.Add([]);
        _places[server] = (level, _levels[level].Count);
        _levels[level].Add(server);
    }
}

/// <summary>Numbers by chance (SplitMix64), the same everywhere.</summary>
internal sealed class Chance(ulong state)
{
    public static ulong Mix(ulong z)
    {
        z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9;
        z = (z ^ (z >> 27)) * 0x94d049bb133111eb;
        return z ^ (z >> 31);
    }

    /// <returns>A number from 0 up to 1.</returns>
    public double Next() => (Mix(state += 0x9e3779b97f4a7c15) >> 11) * (1.0 / (1UL << 53));

    public int Next(int count) => (int)(Next() * count);

    public double Exponential(double mean) => -mean * Math.Log(1 - Next());
}
