using Microsoft.Extensions.Configuration;
using Microsoft.Extensions.DependencyInjection;
using Microsoft.Extensions.Diagnostics.HealthChecks;
using Microsoft.Extensions.Hosting;
using Microsoft.Extensions.Options;
using Moq;

namespace Xfn.Core.Hosting.Tests;

/// <summary>Containers that a host declares.</summary>
internal sealed class HostedContainerTests : RunnerFixture
{
    [Test, CancelAfter(90_000)]
    public async Task A_host_has_its_containers_before_its_services_start_and_they_stop_with_it(CancellationToken token)
    {
        string image = Write(TestImage.Command("/bin/httpd", "-f", "-p", "80", "-h", "/www").With("httpd", "wget").WithLayer(tar => tar.Directory("www").File("www/index.html", "hello")));
        IConfiguration configuration = Configure(
            ("Xfn:CacheDirectory", Cache), ("Xfn:Containers:app:Image", image), ("Xfn:Containers:app:Arguments", ""), ("Xfn:Containers:app:Entrypoint:0", "sh"), ("Xfn:Containers:app:Entrypoint:1", "-c"),
            ("Xfn:Containers:app:Entrypoint:2", "while [ ! -f /data/go ]; do sleep 0.05; done"), ("Xfn:Containers:app:Mounts:0:Destination", "/data"), ("Xfn:Containers:app:Mounts:0:Bytes", "1Mi"),
            ("Xfn:Containers:app:Links:web", "80"), ("Xfn:Containers:web:Image", image), ("Xfn:Containers:web:Ready", "http:80/index.html"));
        using IHost host = Build(services => services.AddContainerRunner(configuration.GetSection("Xfn")).AddHostedService<Asking>());
        await host.StartAsync(token);
        var containers = host.Services.GetRequiredService<IContainers>();
        Assert.That(containers.Names, Is.EqualTo((string[])["web", "app"]), "each behind those that it is linked to");
        Assert.That(host.Services.GetServices<IHostedService>().OfType<Asking>().Single().Answer, Is.EqualTo("hello"));

        HealthReport healthy = await host.Services.GetRequiredService<HealthCheckService>().CheckHealthAsync(token);
        Assert.That(healthy.Status, Is.EqualTo(HealthStatus.Healthy), healthy.Entries["containers"].Description);
        Assert.That(async () => await containers["app"].ExecAsync(["sh", "-c", "touch /data/go; exec sleep 1000"], cancellationToken: token), Throws.InstanceOf<ContainerEndedException>());
        await containers["app"].Exited.WaitAsync(token);
        HealthReport unhealthy = await host.Services.GetRequiredService<HealthCheckService>().CheckHealthAsync(token);
        Assert.That((unhealthy.Status, unhealthy.Entries["containers"].Description), Is.EqualTo((HealthStatus.Unhealthy, "Container 'app' exited with status 0.")));

        RunningContainer web = containers["web"];
        await host.StopAsync(token);
        Assert.That((await web.Exited.WaitAsync(token)).EndedBy, Is.EqualTo(ContainerEnd.Disposal));
    }

    [Test, CancelAfter(60_000)]
    public async Task Containers_start_behind_those_that_they_are_linked_to_and_stop_in_the_reverse_order(CancellationToken token)
    {
        var log = new Log();
        using IHost host = Build(log, services => services
            .AddContainer("app", Request("app"), new Dictionary<string, int> { ["db"] = 5432, ["cache"] = 6379 })
            .AddContainer("cache", _ => Request("cache"))
            .AddContainer("db", Request("db"), new Dictionary<string, int> { ["cache"] = 6379 }));
        await host.StartAsync(token);
        await host.StopAsync(token);
        Assert.That(log.Lines, Is.EqualTo((string[])["start cache", "start db", "db: cache:6379", "start app", "app: db:5432", "app: cache:6379", "stop app", "stop db", "stop cache"]));
    }

    [Test, CancelAfter(60_000)]
    public async Task A_container_that_does_not_start_fails_the_host_s_start_by_name_and_leaves_none(CancellationToken token)
    {
        var log = new Log { Broken = "app" };
        using IHost host = Build(log, services => services.AddContainer("db", Request("db")).AddContainer("app", Request("app"), new Dictionary<string, int> { ["db"] = 1 }));
        var error = (await Assert.ThrowsAsync<XfnException>(() => host.StartAsync(token)))!;
        Assert.That((error.Message, error.Stage), Is.EqualTo(("cannot start container 'app': it is broken", RunStage.Resolve)));
        Assert.That(error.InnerException, Is.TypeOf<ImageNotFoundException>());
        Assert.That(log.Lines, Is.EqualTo((string[])["start db", "stop db"]));
        Assert.That(() => host.Services.GetRequiredService<IContainers>()["db"], Throws.InvalidOperationException.With.Message.Contains("not in a constructor"));
    }

    [Test, CancelAfter(60_000)]
    public async Task A_host_may_start_without_a_container_and_health_says_so(CancellationToken token)
    {
        var log = new Log { Broken = "db" };
        using IHost host = Build(log, services => services
            .Configure<ContainerRunnerStartOptions>(o => o.ContinueOnFailure = true)
            .AddContainer("db", Request("db")).AddContainer("app", Request("app"), new Dictionary<string, int> { ["db"] = 1 }).AddContainer("web", Request("web")));
        await host.StartAsync(token);
        var containers = host.Services.GetRequiredService<IContainers>();
        Assert.That(containers.Names, Is.EqualTo((string[])["web"]));
        Assert.That(() => containers["app"], Throws.InvalidOperationException.With.Message.EqualTo("cannot give container 'app': cannot start container 'app': cannot start container 'db': it is broken"));
        HealthReportEntry health = (await host.Services.GetRequiredService<HealthCheckService>().CheckHealthAsync(token)).Entries["containers"];
        Assert.That((health.Status, health.Description), Is.EqualTo((HealthStatus.Unhealthy, "cannot start container 'db': it is broken cannot start container 'app': cannot start container 'db': it is broken")));
        await host.StopAsync(token);
        Assert.That(log.Lines, Is.EqualTo((string[])["start web", "stop web"]));
    }

    [Test, CancelAfter(60_000)]
    public async Task Links_that_lead_nowhere_or_round_and_names_that_are_twice_are_told(CancellationToken token)
    {
        await RefusedAsync("cannot link container 'a' to 'b': the host has no such container", s => s.AddContainer("a", Request("a"), new Dictionary<string, int> { ["b"] = 1 }));
        await RefusedAsync("cannot start container 'a': it is linked to itself, by a, b", s => s
            .AddContainer("a", Request("a"), new Dictionary<string, int> { ["b"] = 1 }).AddContainer("b", Request("b"), new Dictionary<string, int> { ["a"] = 1 }));
        await RefusedAsync("cannot start container 'a': the host has it twice", s => s.AddContainer("a", Request("a")).AddContainer("a", Request("a")));

        async Task RefusedAsync(string message, Action<IServiceCollection> add)
        {
            using IHost host = Build(new Log(), add);
            Assert.That((await Assert.ThrowsAsync<InvalidOperationException>(() => host.StartAsync(token)))!.Message, Does.StartWith(message));
        }
    }

    [TestCase("Imag", "x", "Xfn:Containers:db:Imag'")]
    [TestCase("Ready", "soon", "cannot use option Xfn:Containers:db:Ready: cannot wait for 'soon'")]
    [TestCase("Ready", "log:(", "no regular expression")]
    [TestCase("Network", "Open", "Isolated, Runner")]
    [TestCase("Limits:MemoryBytes", "1Mb", "Xfn:Containers:db:Limits:MemoryBytes '1Mb'")]
    [TestCase("ExtraHosts:x", "nowhere", "Xfn:Containers:db:ExtraHosts:x 'nowhere'")]
    [TestCase("Mounts:0:Size", "1Mi", "Xfn:Containers:db:Mounts:0:Size")]
    [TestCase("Mounts:0:ReadOnly", "true", "Xfn:Containers:db:Mounts:0:Destination")]
    [TestCase("Links:web", "http", "Xfn:Containers:db:Links:web 'http'")]
    [TestCase("StopGrace", "5", "Xfn:Containers:db:StopGrace '5'")]
    [CancelAfter(60_000)]
    public async Task A_wrong_key_or_value_of_a_container_fails_the_host_s_start_and_is_named(string key, string value, string named, CancellationToken token)
    {
        IConfiguration configuration = Configure(("Xfn:CacheDirectory", Cache), ("Xfn:Containers:db:Image", "example.org/db"), ($"Xfn:Containers:db:{key}", value));
        using IHost host = Build(services => services.AddContainerRunner(configuration.GetSection("Xfn")));
        Assert.That((await Assert.ThrowsAsync<OptionsValidationException>(() => host.StartAsync(token)))!.Message, Does.Contain(named));
    }

    [Test]
    public void A_container_s_request_is_read_from_a_configuration()
    {
        IConfiguration configuration = Configure(
            ("Containers:db:Image", "example.org/db"), ("Containers:db:Arguments:0", "-v"), ("Containers:db:Environment:A", "b"), ("Containers:db:User", "70"), ("Containers:db:Hostname", "db"),
            ("Containers:db:ExtraHosts:x", "192.0.2.7"), ("Containers:db:Egress:0", "example.org:443"), ("Containers:db:Limits:MemoryBytes", "64Mi"), ("Containers:db:Limits:Cpus", "500m"),
            ("Containers:db:ImagePullConfig:PullPolicy", "always"), ("Containers:db:Ready", "log:^up$"), ("Containers:db:StopGrace", "7s"), ("Containers:db:StopSignal", "SIGINT"),
            ("Containers:db:Mounts:0:Destination", "/a"), ("Containers:db:Mounts:1:Destination", "/b"), ("Containers:db:Mounts:1:Source", "/srv"), ("Containers:db:Mounts:1:ReadOnly", "false"),
            ("Containers:db:Mounts:2:Destination", "/c"), ("Containers:db:Mounts:2:Content", "text"), ("Containers:db:Mounts:3:Destination", "/d"), ("Containers:db:Mounts:3:Bytes", "1Mi"), ("Containers:db:Links:web", "80"));
        HostedContainer db = HostedContainer.Read(configuration).Single();
        ContainerRequest request = db.Request;
        Assert.That((db.Name, db.Links["web"], request.Image, request.Entrypoint, request.User, request.Hostname), Is.EqualTo(("db", 80, "example.org/db", (IReadOnlyList<string>?)null, "70", "db")));
        Assert.That((request.Arguments![0], request.Environment["A"], request.ExtraHosts["x"].ToString(), request.Egress[0], request.StopSignal), Is.EqualTo(("-v", "b", "192.0.2.7", "example.org:443", "SIGINT")));
        Assert.That((request.Limits.MemoryBytes, request.Limits.Cpus, request.ImagePullConfig.PullPolicy, request.StopGrace), Is.EqualTo(((long?)(64 << 20), (double?)0.5, ImagePullPolicy.Always, TimeSpan.FromSeconds(7))));
        Assert.That(request.Ready.ToString(), Is.EqualTo("writes a line that matches '^up$'"));
        Assert.That(request.Mounts.Select(mount => mount.GetType().Name), Is.EqualTo((string[])["VolumeMount", "BindMount", "FileMount", "TmpfsMount"]));
        Assert.That((((BindMount)request.Mounts[1]).ReadOnly, ((TmpfsMount)request.Mounts[3]).Bytes), Is.EqualTo((false, 1L << 20)));
    }

    [Test, CancelAfter(60_000)]
    public async Task A_function_service_is_read_from_a_configuration(CancellationToken token)
    {
        var log = new Log();
        IConfiguration configuration = Configure(("Render:Image", "fn"), ("Render:Ready", "8080"), ("Render:MinInstances", "2"), ("Render:MaxInstances", "1"), ("Render:IdleTime", "1m"));
        using (IHost host = Build(log, services => services.AddFunctionService("fn", configuration.GetSection("Render"), o => o.MaxInstances = 3)))
        {
            await host.StartAsync(token);
            Assert.That(host.Services.GetRequiredKeyedService<FunctionService>("fn").InstanceCount, Is.EqualTo(2));
            await host.StopAsync(token);
        }

        foreach ((string key, string named) in new[] { ("MaxInstance", "Render:MaxInstance'"), ("IdleTime", "Render:IdleTime 'soon'"), ("Ready", "Render:Ready") })
        {
            IConfiguration wrong = Configure(("Render:Image", "fn"), ($"Render:{key}", "soon"));
            using IHost host = Build(log, services => services.AddFunctionService("fn", wrong.GetSection("Render")));
            Assert.That((await Assert.ThrowsAsync<OptionsValidationException>(() => host.StartAsync(token)))!.Message, Does.Contain(named));
        }
    }

    [TestCase(0, ""), TestCase(2, "start fn, start fn")]
    [CancelAfter(60_000)]
    public async Task A_function_service_is_a_keyed_service_that_is_started_and_ended_with_the_host(int ahead, string started, CancellationToken token)
    {
        var log = new Log();
        IHost host = Build(log, services => services.AddFunctionService("fn", Request("fn"), o => (o.MinInstances, o.MaxInstances) = (ahead, 2)));
        await host.StartAsync(token);
        var service = host.Services.GetRequiredKeyedService<FunctionService>("fn");
        Assert.That((service.InstanceCount, string.Join(", ", log.Lines)), Is.EqualTo((ahead, started)));
        Assert.That(await service.CallAsync((container, _) => Task.FromResult(container.Image), token), Is.EqualTo("fn"));
        await host.StopAsync(token);
        await ((IAsyncDisposable)host).DisposeAsync();
        Assert.That(log.Lines.Count(line => line == "stop fn"), Is.EqualTo(Math.Max(ahead, 1)));
    }

    private static ContainerRequest Request(string image) => new() { Image = image };

    private static IConfiguration Configure(params (string Key, string Value)[] values) =>
        new ConfigurationBuilder().AddInMemoryCollection(values.Select(v => KeyValuePair.Create(v.Key, (string?)v.Value))).Build();

    private static IHost Build(Log log, Action<IServiceCollection> add) => Build(services =>
    {
        services.AddSingleton<IContainerHost>(log);
        add(services);
    });

    private static IHost Build(Action<IServiceCollection> add)
    {
        HostApplicationBuilder builder = Host.CreateEmptyApplicationBuilder(new HostApplicationBuilderSettings());
        builder.Services.AddLogging();
        builder.Services.AddHealthChecks().AddContainersCheck();
        add(builder.Services);
        return builder.Build();
    }

    /// <summary>A service of the host's, which needs the containers as soon as it starts.</summary>
    private sealed class Asking(IContainers containers) : IHostedService
    {
        public string? Answer { get; private set; }

        public async Task StartAsync(CancellationToken cancellationToken) =>
            Answer = (await containers["app"].ExecAsync(["wget", "-q", "-O", "-", "http://web/index.html"], cancellationToken: cancellationToken)).Stdout;

        public Task StopAsync(CancellationToken cancellationToken) => Task.CompletedTask;
    }

    /// <summary>Starts containers that are none, and notes what is done to them.</summary>
    private sealed class Log : IContainerHost
    {
        private readonly List<string> _lines = [];

        /// <summary>What does not start.</summary>
        public string? Broken { get; init; }

        public string[] Lines
        {
            get
            {
                lock (_lines)
                    return [.. _lines];
            }
        }

        public async Task<RunningContainer> StartAsync(ContainerRequest request, CancellationToken cancellationToken = default)
        {
            string name = request.Image;
            if (name == Broken)
                throw new ImageNotFoundException("it is broken");
            Note($"start {name}");
            var exited = new TaskCompletionSource<ContainerExit>();
            var container = new Mock<RunningContainer>();
            container.Setup(c => c.Image).Returns(name);
            container.Setup(c => c.Exited).Returns(exited.Task);
            container.Setup(c => c.LinkAsync(It.IsAny<string>(), It.IsAny<int>(), It.IsAny<RunningContainer>(), null, It.IsAny<CancellationToken>()))
                .Callback((string link, int port, RunningContainer target, int? _, CancellationToken _) => Note(target.Image == link ? $"{name}: {link}:{port}" : "a wrong link"))
                .Returns(Task.CompletedTask);
            container.Setup(c => c.DisposeAsync()).Returns(() =>
            {
                if (exited.TrySetResult(new ContainerExit { ExitCode = 0, EndedBy = ContainerEnd.Disposal }))
                    Note($"stop {name}");
                return ValueTask.CompletedTask;
            });
            await ReadyAsync(request.Ready, container.Object, cancellationToken);
            return container.Object;
        }

        /// <summary>Waits for the conditions that are functions, as links are.</summary>
        private static async Task ReadyAsync(Ready ready, RunningContainer container, CancellationToken token)
        {
            foreach (Ready part in ready is AllReady all ? all.Parts : [ready])
            {
                if (part is PredicateReady predicate)
                    await predicate.Predicate(container, token);
            }
        }

        private void Note(string line)
        {
            lock (_lines)
                _lines.Add(line);
        }
    }
}
