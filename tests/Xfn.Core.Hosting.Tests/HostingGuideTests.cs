using System.Diagnostics.CodeAnalysis;
using System.Net;
using System.Text;
using System.Text.RegularExpressions;
using Microsoft.AspNetCore.Builder;
using Microsoft.AspNetCore.Hosting;
using Microsoft.AspNetCore.Http;
using Microsoft.Extensions.Configuration;
using Microsoft.Extensions.DependencyInjection;
using Microsoft.Extensions.Hosting;
using Xfn.Core.Hosting.Tests.Support;

namespace Xfn.Core.Hosting.Tests;

/// <summary>The examples of docs/hosting.md, line by line: DocumentTests compares those in C#, and those in JSON are read
/// from the guide.</summary>
[SuppressMessage("Reliability", "CA2016:Forward the CancellationToken parameter to methods", Justification = "The examples are as short as a reader would write them.")]
internal sealed partial class HostingGuideTests : RunnerFixture
{
    [Test, CancelAfter(120_000)]
    public async Task A_host_is_what_the_guide_makes_it(CancellationToken token)
    {
        if (!Ways.IsRoot)
            Assert.Ignore("Limits of memory are part of it, which not every user may set.");

        WebApplicationBuilder builder = WebApplication.CreateEmptyBuilder(new());
        builder.WebHost.UseKestrelCore().UseUrls("http://127.0.0.1:0");
        foreach (string section in Sections())
            builder.Configuration.AddJsonStream(new MemoryStream(Encoding.UTF8.GetBytes($"{{ {section} }}")));
        // Files of the machine that a test has in places of its own.
        builder.Configuration.AddInMemoryCollection(new Dictionary<string, string?>
        {
            ["Xfn:CacheDirectory"] = Cache,
            ["Xfn:Registry:CertificateAuthoritiesFile"] = new TlsFiles(Scratch).Authority,
        });
        builder.Services.AddSingleton<IImageFetcher>(Images()).AddRouting().AddHostedService<Orders>();

        builder.Services.AddContainerRunner(builder.Configuration.GetSection("Xfn"));
        builder.Services.AddHealthChecks().AddContainerRunnerCheck();

        IServiceCollection services = builder.Services;

        services.AddFunctionService(
            "render", new ContainerRequest { Image = "registry.example.org/render:1", Ready = Ready.Listens(8080) });
        services.AddHttpClient<RenderClient>(client => client.BaseAddress = new("http://render:8080"))
            .ConfigurePrimaryHttpMessageHandler(
                host => host.GetRequiredKeyedService<FunctionService>("render").CreateHandler());

        await using WebApplication app = builder.Build();

        app.MapPost("/resize", async (IPreparedFunctions functions, HttpRequest request, CancellationToken token) =>
        {
            RunFunctionResponse small = await functions["resize"].RunAsync(await ReadAsync(request), token);
            return Results.Bytes(small.Output);
        });

        await app.StartAsync(token);
        using var caller = new HttpClient { BaseAddress = new(app.Urls.Single()) };
        using HttpResponseMessage resized = await caller.PostAsync("/resize", new StringContent("picture"), token);
        Assert.That(await resized.Content.ReadAsStringAsync(token), Is.EqualTo("picture --width 800"));
        Assert.That(await app.Services.GetRequiredService<RenderClient>().GetPageAsync(token), Is.EqualTo("hello"));
        using var database = new HttpClient();
        IPEndPoint db = await app.Services.GetServices<IHostedService>().OfType<Orders>().Single().Database.WaitAsync(token);
        Assert.That(await database.GetStringAsync($"http://{db}/index.html", token), Is.EqualTo("hello"));
        await app.StopAsync(token);

        async Task<byte[]> ReadAsync(HttpRequest request)
        {
            using var body = new MemoryStream();
            await request.Body.CopyToAsync(body, token);
            return body.ToArray();
        }
    }

    [Test]
    public async Task Runners_of_servers()
    {
        HostApplicationBuilder builder = Host.CreateEmptyApplicationBuilder(new());

        await using var one = new RemoteContainerRunner("unix-abstract:crossplane/fn/default.sock");
        await using var fleet = new RemoteContainerRunner("dns:///xfn.functions.svc:5000");
        builder.Services.AddRemoteContainerRunner(o => o.Addresses = ["http://10.0.0.1:5000", "http://10.0.0.2:5000"]);

        using IHost host = builder.Build();
        Assert.That(host.Services.GetRequiredService<IContainerRunner>(), Is.TypeOf<RemoteContainerRunner>());
    }

    /// <summary>The sections of a configuration that the guide shows.</summary>
    private static IEnumerable<string> Sections()
    {
        string guide = File.ReadAllText(Path.Combine(SourceTree.Root(), "docs/hosting.md"));
        MatchCollection sections = Section().Matches(guide);
        Assert.That(sections, Has.Count.EqualTo(3));
        return sections.Select(section => section.Groups[1].Value);
    }

    /// <summary>What the guide's images are here: busybox, as a program for each.</summary>
    private static InMemoryImageFetcher Images()
    {
        var images = new InMemoryImageFetcher();
        ReadOnlyMemory<byte> layer = InMemoryImageFetcher.Layer(
            new LayerFile("bin/busybox") { Content = File.ReadAllBytes("/bin/busybox"), Mode = (UnixFileMode)0b111_101_101 },
            new LayerFile("www/index.html") { Content = "hello"u8.ToArray() });
        Add("tools/convert:v3", "true");
        // It answers its input, and its arguments.
        Add("functions/resize:v2", "sh", "-c", """/bin/busybox cat; echo -n " $*" """, "resize");
        Add("postgres:15", "httpd", "-f", "-p", "5432", "-h", "/www");
        Add("app:1", "sleep", "1000");
        Add("render:1", "httpd", "-f", "-p", "8080", "-h", "/www");
        return images;

        void Add(string name, params string[] program) =>
            images.AddImage($"registry.example.org/{name}", new() { Entrypoint = ["/bin/busybox", .. program] }, layer);
    }

    [GeneratedRegex("```json\n(.*?)```", RegexOptions.Singleline)]
    private static partial Regex Section();

    /// <summary>A typed client, of a function that is a server.</summary>
    private sealed class RenderClient(HttpClient client)
    {
        public Task<string> GetPageAsync(CancellationToken cancellationToken) => client.GetStringAsync("/index.html", cancellationToken);
    }
}

internal sealed class Orders(IContainers containers) : BackgroundService
{
    private readonly TaskCompletionSource<IPEndPoint> _database = new(TaskCreationOptions.RunContinuationsAsynchronously);

    /// <summary>Where it found the database.</summary>
    public Task<IPEndPoint> Database => _database.Task;

    protected override async Task ExecuteAsync(CancellationToken stoppingToken)
    {
        IPEndPoint db = await containers["db"].ForwardAsync(5432, cancellationToken: stoppingToken);
        Console.WriteLine($"the database is at {db}");
        _database.SetResult(db);
    }
}
