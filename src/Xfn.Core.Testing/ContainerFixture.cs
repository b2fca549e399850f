using System.Collections.Concurrent;
using System.Text;

namespace Xfn.Core.Testing;

/// <summary>Containers for tests: a runner with a cache of its own, images for it, and the containers that it started.
/// Its disposal ends them, and leaves nothing.</summary>
/// <remarks>
/// <para>Safe for concurrent use. One may serve a class of tests, or all tests of a program. Making it starts nothing
/// and needs nothing of the machine, so <see cref="Requires"/> may still skip the tests.</para>
/// <para>What was not disposed when the process ends, because a set-up failed for example, is disposed then. What a killed
/// process leaves of its cache is removed by the next fixture.</para>
/// </remarks>
public sealed class ContainerFixture : IContainerHost, IAsyncDisposable
{
    /// <summary>The image that scripts are based on unless they name another one: a shell and the usual commands. It is
    /// made of this machine's busybox when it is first used.</summary>
    public const string Busybox = "localhost/busybox";

    private static readonly ConcurrentDictionary<ContainerFixture, bool> Undisposed = new();

    private readonly ContainerRunnerOptions _options = new ContainerRunnerOptions().WithEphemeralCache();
    private readonly DefaultImageFetcher? _fetcher;
    private readonly Lazy<ContainerRunner> _runner;
    private readonly StartedContainers _containers = new();
    private readonly ImageNames _names = new();

    static ContainerFixture() => AppDomain.CurrentDomain.ProcessExit += (_, _) =>
    {
        foreach (ContainerFixture fixture in Undisposed.Keys)
            fixture.DisposeAsync().AsTask().GetAwaiter().GetResult();
    };

    /// <summary>Makes a fixture.</summary>
    /// <param name="configure">Sets options of its runner. The cache is ephemeral unless this sets
    /// <see cref="ContainerRunnerOptions.EphemeralCacheParent"/> to null: then it is
    /// <see cref="ContainerRunnerOptions.CacheDirectory"/>, which any number of processes may share, and which keeps
    /// images for the next run of the tests. Null, the default, for the defaults.</param>
    public ContainerFixture(Action<ContainerRunnerOptions>? configure = null)
    {
        configure?.Invoke(_options);
        IImageFetcher others = _options.ImageFetcher ?? (_fetcher = new DefaultImageFetcher(_options.Registry, _options.Logger, _options.TimeProvider));
        Images = new InMemoryImageFetcher(_options.DefaultRegistry);
        _options.ImageFetcher = new FixtureImages(Images, others);

#pragma warning disable CA1416 // The runner says itself what to do where there is no Linux.
        _runner = new(() => new ContainerRunner(_options));
#pragma warning restore CA1416
        Undisposed[this] = true;
    }

    /// <summary>Gets the images that are this fixture's alone. Requests name them, and what is not among them is fetched
    /// as by any runner.</summary>
    public InMemoryImageFetcher Images { get; }

    /// <summary>Gets the runner. It is made when it is first used.</summary>
    /// <exception cref="ContainerEnvironmentException">This machine or user cannot run containers.</exception>
    /// <exception cref="ArgumentException">An option makes no sense.</exception>
    /// <exception cref="ObjectDisposedException">The fixture was disposed.</exception>
    public ContainerRunner Runner
    {
        get
        {
            ObjectDisposedException.ThrowIf(!Undisposed.ContainsKey(this), this);
            return _runner.Value;
        }
    }

    /// <summary>Adds an image whose program is a script.</summary>
    /// <param name="script">The script. It begins with <c>#!</c> and its interpreter; without that it is one of
    /// <c>/bin/sh</c>.</param>
    /// <param name="name">The image's reference. Null, the default, for a new one.</param>
    /// <param name="from">The image that it is based on, which has the interpreter. <see cref="Busybox"/> by
    /// default.</param>
    /// <param name="cancellationToken">Ends the work.</param>
    /// <returns>The image's reference.</returns>
    /// <exception cref="XfnException">The base cannot be made or fetched; the message says what this machine
    /// lacks.</exception>
    public Task<string> AddScriptAsync(string script, string? name = null, string from = Busybox, CancellationToken cancellationToken = default)
    {
        ArgumentNullException.ThrowIfNull(script);
        return AddImageAsync(
            name ?? _names.NewOf("script"),
            image => image.From(from).WithEntrypoint("/script")
                .AddFile(new LayerFile("script") { Content = Encoding.UTF8.GetBytes(script.StartsWith("#!", StringComparison.Ordinal) ? script : "#!/bin/sh\n" + script) }),
            cancellationToken);
    }

    /// <summary>Adds an image of a published program, with the libraries that it needs from this machine, and .NET's
    /// runtime if it is to be there.</summary>
    /// <param name="published">The directory that <c>dotnet publish</c> wrote, or an executable
    /// (<see cref="ImageBuilder.AddProgram"/>).</param>
    /// <param name="name">The image's reference. Null, the default, for a new one.</param>
    /// <param name="cancellationToken">Ends the work.</param>
    /// <returns>The image's reference.</returns>
    /// <exception cref="ArgumentException">There is nothing there.</exception>
    /// <exception cref="XfnException">It is no program that an image can be made of.</exception>
    public async Task<string> AddProgramAsync(string published, string? name = null, CancellationToken cancellationToken = default)
    {
        name ??= _names.NewOf(published);
        await TestedProjects.ImageOf(published).AddToAsync(Images, name, cancellationToken).ConfigureAwait(false);
        return name;
    }

    /// <summary>Makes an image of the project that a type is of: it is built and published as it stands, in the
    /// configuration of the tests, once in a process.</summary>
    /// <typeparam name="T">A type of the project, to which the test project has a <c>ProjectReference</c>.</typeparam>
    /// <inheritdoc cref="AddProjectAsync(string, CancellationToken)"/>
    public Task<string> AddProjectAsync<T>(CancellationToken cancellationToken = default) => AddProjectAsync(TestedProjects.Of(typeof(T).Assembly), cancellationToken);

    /// <summary>Makes an image of a project: it is built and published as it stands, in the configuration of the tests,
    /// once in a process.</summary>
    /// <param name="project">The project's file, or its directory: a path from the test project's directory.</param>
    /// <param name="cancellationToken">Ends the waiting, not the work that others may wait for.</param>
    /// <returns>The image's reference.</returns>
    /// <exception cref="ArgumentException">There is no such project.</exception>
    /// <exception cref="XfnException">It cannot be published, or no image be made of it.</exception>
    public Task<string> AddProjectAsync(string project, CancellationToken cancellationToken = default)
    {
        ArgumentNullException.ThrowIfNull(project);
        ObjectDisposedException.ThrowIf(!Undisposed.ContainsKey(this), this);
        return TestedProjects.AddAsync(project, cancellationToken);
    }

    /// <summary>Adds an image.</summary>
    /// <param name="name">The image's reference.</param>
    /// <param name="describe">Says what is in it. Its base may be an image of this fixture, such as
    /// <see cref="Busybox"/>.</param>
    /// <param name="cancellationToken">Ends the work.</param>
    /// <returns>The image's reference.</returns>
    /// <exception cref="FormatException">A name is no reference.</exception>
    /// <exception cref="XfnException">The image cannot be made, or its base not be fetched.</exception>
    public async Task<string> AddImageAsync(string name, Action<ImageBuilder> describe, CancellationToken cancellationToken = default)
    {
        ArgumentNullException.ThrowIfNull(describe);
        var image = new ImageBuilder(fetcher: _options.ImageFetcher, logger: _options.Logger) { DefaultRegistry = _options.DefaultRegistry };
        describe(image);
        await image.AddToAsync(Images, name, cancellationToken).ConfigureAwait(false);
        return name;
    }

    /// <summary>Runs a function, and returns however it ends.</summary>
    /// <param name="image">The image's reference.</param>
    /// <param name="input">What the function reads on stdin. Empty by default.</param>
    /// <param name="cancellationToken">Ends the run; the function is killed.</param>
    /// <inheritdoc cref="RunAsync(RunFunctionRequest, CancellationToken)"/>
    public Task<FunctionResult> RunAsync(string image, string input = "", CancellationToken cancellationToken = default) =>
        RunAsync(new RunFunctionRequest { Image = image, Input = Encoding.UTF8.GetBytes(input) }, cancellationToken);

    /// <summary>Runs a function, and returns however it ends.</summary>
    /// <param name="request">What is run, and how.</param>
    /// <param name="cancellationToken">Ends the run; the function is killed.</param>
    /// <returns>How it ended, and what it wrote by then.</returns>
    /// <exception cref="XfnException">The function could not be run; the derived type says why.</exception>
    /// <exception cref="OperationCanceledException"><paramref name="cancellationToken"/> was cancelled.</exception>
    public async Task<FunctionResult> RunAsync(RunFunctionRequest request, CancellationToken cancellationToken = default)
    {
        ArgumentNullException.ThrowIfNull(request);
        using var stdout = new BoundedOutput(_options.MaxStdioBytes);
        using var stderr = new MemoryStream();
        using var stdin = new MemoryStream(request.Input.ToArray());
        FunctionResult Result(RunStatistics statistics, int? exitCode = null, int? signal = null, bool outOfMemory = false, bool timedOut = false, bool outputExceeded = false) => new()
        {
            Image = request.Image,
            ExitCode = exitCode,
            Signal = signal,
            OutOfMemory = outOfMemory,
            TimedOut = timedOut,
            OutputExceeded = outputExceeded,
            StdoutBytes = stdout.ToArray(),
            StderrBytes = stderr.ToArray(),
            Statistics = statistics,
        };

        try
        {
            RunFunctionResponse response = await Runner.RunFunctionAsync(
                request with { Input = default }, new FunctionStreams { Stdin = stdin, Stdout = stdout, Stderr = stderr }, cancellationToken).ConfigureAwait(false);
            return Result(response.Statistics, exitCode: 0);
        }
        catch (FunctionExitedException e)
        {
            return Result(e.Statistics, e.ExitCode, e.Signal, e.OutOfMemory);
        }
        catch (FunctionTimedOutException e)
        {
            return Result(e.Statistics, timedOut: true);
        }
        catch (OutputLimitExceededException e)
        {
            return Result(e.Statistics, outputExceeded: true);
        }
    }

    /// <summary>Starts a container that lives, and waits until it is ready. It ends with the fixture, if not
    /// before.</summary>
    /// <inheritdoc/>
    public async Task<RunningContainer> StartAsync(ContainerRequest request, CancellationToken cancellationToken = default)
    {
        RunningContainer container = await Runner.StartAsync(request, cancellationToken).ConfigureAwait(false);
        _containers.Add(container);
        return container;
    }

    /// <summary>If the test failed, writes what the containers have logged since the last call to the test's output: of
    /// each the last 200 lines. Call it at the end of each test. <see cref="DisposeAsync"/> calls it too; NUnit says
    /// then whether one of the tests failed that have the fixture in common.</summary>
    /// <param name="hasFailed">Whether it failed. Null, the default, to ask the framework, which is NUnit or xUnit
    /// v3.</param>
    /// <param name="cancellationToken">Ends the reading.</param>
    public async Task ShowLogsOnFailureAsync(bool? hasFailed = null, CancellationToken cancellationToken = default)
    {
        string logs = await _containers.TakeLogsAsync(cancellationToken).ConfigureAwait(false);
        if (logs.Length > 0 && (hasFailed ?? TestFramework.HasFailed()))
            TestFramework.Write(logs);
    }

    /// <summary>Ends all that the fixture started, and removes its cache.</summary>
    public async ValueTask DisposeAsync()
    {
        if (!Undisposed.TryRemove(this, out _))
            return;
        try
        {
            await ShowLogsOnFailureAsync().ConfigureAwait(false);
        }
        finally
        {
            if (_runner.IsValueCreated)
                await _runner.Value.DisposeAsync().ConfigureAwait(false);
            _fetcher?.Dispose();
        }
    }
}
