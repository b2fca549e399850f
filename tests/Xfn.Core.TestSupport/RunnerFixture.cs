using System.Text;
using Xfn.Core.Namespaces;

namespace Xfn.Core.TestSupport;

/// <summary>A runner with its own cache for each test, and a look around afterwards: nothing may be left.</summary>
internal abstract class RunnerFixture
{
    private readonly List<TestRunner> _runners = [];
    private readonly List<ForkingSpawner> _spawners = [];
    private Leftovers _before = null!;

    /// <summary>A directory of the test's own.</summary>
    protected string Scratch { get; private set; } = "";

    protected string Cache => Path.Combine(Scratch, "cache");

    [SetUp]
    public void MakeScratch()
    {
        Scratch = Directory.CreateTempSubdirectory(TemporaryDirectory.Prefix).FullName;
        _before = Leftovers.Take();
    }

    [TearDown]
    public async Task NothingIsLeft()
    {
        foreach (TestRunner runner in _runners)
            await runner.DisposeAsync();
        _runners.Clear();
        foreach (ForkingSpawner spawner in _spawners)
            await spawner.DisposeAsync();
        _spawners.Clear();
        try
        {
            _before.AssertNothingNew();
            foreach (string leaf in new[] { "incoming", "sessions" }.Select(name => Path.Combine(Cache, name)).Where(Directory.Exists))
                Assert.That(Directory.GetFileSystemEntries(leaf), Is.Empty, $"left in {leaf}");
        }
        finally
        {
            Remove(Scratch);
        }
    }

    protected TestRunner NewRunner(Action<ContainerRunnerOptions>? configure = null)
    {
        var runner = new TestRunner(new ContainerRunner(o =>
        {
            o.WithCacheDir(Cache);
            o.Runtime = Ways.Runtime;
            o.NamespaceSpawner = Ways.Forks ? Forking() : null;
            o.FlattenImages |= Environment.GetEnvironmentVariable("XFN_TEST_FLATTEN") == "1";
            configure?.Invoke(o);
        }));
        _runners.Add(runner);
        return runner;
    }

    /// <summary>Makes a spawner for a test's own to stand before: as the way of the tests wants it.</summary>
    protected INamespaceSpawner NewSpawner() => Ways.Forks ? Forking() : new NamespaceSpawner();

    /// <summary>Makes a spawner of which every xfn-spark is a copy, or all but those of the first run, as ordinarily.
    /// Its process is ended behind the runners.</summary>
    protected ForkingSpawner Forking(bool all = true, LogCollector? log = null)
    {
        var spawner = new ForkingSpawner(log ?? new LogCollector()) { ForksAll = all };
        _spawners.Add(spawner);
        return spawner;
    }

    /// <summary>Writes an image for a test.</summary>
    /// <returns>A reference to it.</returns>
    protected string Write(TestImage image, string name = "image") => image.WriteTo(Path.Combine(Scratch, name));

    /// <summary>Runs a shell script as a function.</summary>
    protected async Task<RunFunctionResponse> RunShellAsync(string script, string input = "", Action<ContainerRunnerOptions>? configure = null, TimeSpan? timeout = null, CancellationToken token = default) =>
        await NewRunner(configure).RunFunctionAsync(new RunFunctionRequest
        {
            Image = Write(TestImage.Shell(script)),
            Input = Encoding.UTF8.GetBytes(input),
            RunFunctionConfig = new() { Timeout = timeout },
        }, token);

    /// <summary>Runs a shell script as a function that runs out of its time, of which it has as much as it needs to write a
    /// text to its standard error.</summary>
    protected Task<FunctionTimedOutException> TimeOutShellAsync(string script, string said, Action<ContainerRunnerOptions>? configure = null, CancellationToken token = default) =>
        Patience.GrowAsync(
            async limit => (await Assert.ThrowsAsync<FunctionTimedOutException>(() => RunShellAsync(script, configure: configure, timeout: limit, token: token)))!,
            error => error.StderrTail == said);

    /// <summary>Whether a layer is on its way into the cache.</summary>
    protected bool IsPulling()
    {
        try
        {
            return Directory.GetDirectories(Path.Combine(Cache, "incoming")).Any(session => Directory.GetDirectories(session).Length > 0);
        }
        catch (DirectoryNotFoundException)
        {
            // It was cleared in this moment.
            return false;
        }
    }

    protected static string Text(ReadOnlyMemory<byte> bytes) => Encoding.UTF8.GetString(bytes.Span);

    private static void Remove(string directory)
    {
        try
        {
            Directory.Delete(directory, recursive: true);
        }
        catch (Exception ex) when (ex is IOException or UnauthorizedAccessException && !Ways.IsRoot && Ways.HasManyIds)
        {
            // Mapped ids own layers, which this user may not delete; who started the tests as this user removes TMPDIR.
        }
    }
}
