using System.Net;
using System.Net.Sockets;
using System.Text;
using Google.Protobuf.WellKnownTypes;
using Xfn.Core.Composition.Tests.Support;

namespace Xfn.Core.Composition.Tests.Rendering;

/// <summary>The real <c>xfn render</c> and <c>xfn functions up</c>, with functions in containers: samples/GreetingFunction,
/// which says in its log that it starts, and takes a while for it.</summary>
[CancelAfter(120_000)]
internal sealed class FunctionCommandTests
{
    private const string Started = "the function starts";

    private static readonly string Files = Path.Combine(SourceTree.Root(), "samples/GreetingFunction/example");

    private TemporaryDirectory _directory = null!;
    private string _image = "";

    private static string Xfn => Path.Combine(AppContext.BaseDirectory, "xfn");

    [OneTimeSetUp]
    public void MakeImage()
    {
        string artifacts = Path.Combine(SourceTree.Root(), "artifacts");
        if (FunctionImages.MissingGreeting(artifacts) is { } missing)
            Assert.Ignore(missing);
        _directory = new();
        _image = TestImage.Shell($"echo {Started}; sleep 0.3; exec /function $0").WithFiles(FunctionImages.GreetingFiles(artifacts)).WriteTo(_directory["image"]);
    }

    [OneTimeTearDown]
    public void RemoveImage() => _directory?.Dispose();

    [Test]
    public async Task Functions_that_are_up_serve_whoever_reads_the_file_and_go_with_Ctrl_C(CancellationToken token)
    {
        string functions = Write("two.yaml", Function("greeting-function", _image) + Function("other", _image));
        string development = _directory["development.yaml"];
        Leftovers before = Leftovers.Take();
        IPEndPoint[] endpoints;

        // As the guide has it; the shell becomes xfn.
        using (var xfn = new LiveProgram("/bin/sh", "-c", $"exec \"$0\" functions up \"$1\" --cache-dir \"$2\" >\"$3\"", Xfn, functions, Cache, development))
        {
            await xfn.NotesAsync("xfn: 2 functions are up, until Ctrl-C.", token);
            IReadOnlyList<Struct> printed = CompositionObjects.Read(development);
            Assert.That(printed.Select(function => (Text(function, "kind"), Text(function, "metadata", "name"), Text(function, "spec", "package"), Annotation(function, "runtime"))), Is.EqualTo(new[]
            {
                ("Function", "greeting-function", _image, "Development"),
                ("Function", "other", _image, "Development"),
            }));
            endpoints = [.. printed.Select(function => IPEndPoint.Parse(Annotation(function, "runtime-development-target")))];
            Assert.That(endpoints.Select(endpoint => endpoint.Address), Is.All.EqualTo(IPAddress.Loopback));
            Assert.That(endpoints.Distinct().Count(), Is.EqualTo(2));

            // It needs no container of its own.
            RenderResult result = await Composition.RenderAsync(Path.Combine(Files, "xr.yaml"), Path.Combine(Files, "composition.yaml"), development, cancellationToken: token);
            Assert.That(result.ToString(), Does.Contain("  greeting: Good morning, Ada!\n"));
            Assert.That(await xfn.EndAsync(Signals.Interrupt, token), Is.EqualTo(130));
        }

        foreach (IPEndPoint endpoint in endpoints)
        {
            using var socket = new Socket(SocketType.Stream, ProtocolType.Tcp);
            Assert.That(() => socket.Connect(endpoint), Throws.InstanceOf<SocketException>());
        }

        before.AssertNothingNew();
    }

    [Test]
    public async Task A_function_that_ends_ends_all_with_125(CancellationToken token)
    {
        string script = TestImage.Shell("nc -l -p 9443 >/dev/null; exit 4").With("nc").WriteTo(_directory["short"]);
        string development = _directory["short-development.yaml"];
        using var xfn = new LiveProgram(
            "/bin/sh", "-c", $"exec \"$0\" functions up \"$1\" --cache-dir \"$2\" >\"$3\"", Xfn, Write("short.yaml", Function("long", _image) + Function("short", script)), Cache, development);
        await xfn.NotesAsync("2 functions are up", token);
        using (var socket = new Socket(SocketType.Stream, ProtocolType.Tcp))
            await socket.ConnectAsync(IPEndPoint.Parse(Annotation(CompositionObjects.Read(development)[1], "runtime-development-target")), token);
        await xfn.NotesAsync("xfn: error: function 'short' exited with status 4, so all are ended.", token);
        Assert.That(await xfn.ExitedAsync(token), Is.EqualTo(125));
    }

    [Test]
    public async Task Functions_that_cannot_be_started_are_told_with_125(CancellationToken token)
    {
        string broken = TestImage.Shell("echo what went wrong >&2; exit 5").WriteTo(_directory["broken"]);
        ToolResult xfn = await UpAsync(Function("greeting-function", _image) + Function("broken", broken));
        Assert.That((xfn.ExitCode, xfn.Output), Is.EqualTo((125, "")), xfn.Error);
        Assert.That(xfn.Error, Does.Contain("cannot start function 'broken': ").And.Contain("what went wrong"));
        Assert.That((await UpAsync("# nothing")).Error, Does.Contain("there are none. Write objects of kind Function."));
        Assert.That((await UpAsync("{apiVersion: v1, kind: Secret, metadata: {name: s}}")).Error, Does.Contain("cannot use Secret 's' as a function"));

        Task<ToolResult> UpAsync(string functions) => Tool.RunAsync(Xfn, ["functions", "up", Write("up.yaml", functions), "--cache-dir", Cache], token);
    }

    [Test]
    public async Task Functions_stay_alive_while_files_change_and_are_started_anew_when_theirs_does(CancellationToken token)
    {
        string xr = Write("watched-xr.yaml", await File.ReadAllTextAsync(Path.Combine(Files, "xr.yaml"), token)), functions = Write("watched.yaml", Function("greeting-function", _image));
        using var xfn = new LiveProgram(Xfn, "render", xr, Path.Combine(Files, "composition.yaml"), functions, "--watch", "--function-logs", "--cache-dir", Cache);
        await xfn.SaysAsync("Good morning, Grace!", token);
        Replace(xr, (await File.ReadAllTextAsync(xr, token)).Replace("Grace", "Alan"));
        await xfn.SaysAsync("Good morning, Alan!", token);
        Replace(functions, Function("greeting-function", _image, "render.crossplane.io/runtime-docker-env: A=1"));
        await xfn.SaysAsync("Good morning, Alan!", token);
        Assert.That(await xfn.EndAsync(Signals.Interrupt, token), Is.EqualTo(130));
        Assert.That(xfn.Noted.Count(line => line == $"greeting-function: {Started}"), Is.EqualTo(2), string.Join('\n', xfn.Noted));
    }

    [Test]
    public async Task A_function_that_does_not_listen_in_time_is_124_and_goes(CancellationToken token)
    {
        string silent = TestImage.Shell("echo nothing listens; exec sleep 1000").WriteTo(_directory["silent"]);
        Leftovers before = Leftovers.Take();
        ToolResult xfn = await RenderAsync(Function("greeting-function", silent), null, token, "--timeout=2s");
        Assert.That((xfn.ExitCode, xfn.Output), Is.EqualTo((124, "")), xfn.Error);
        Assert.That(xfn.Error, Does.Contain("xfn: error: cannot render: after 2 s the functions have not started."));
        before.AssertNothingNew();
    }

    [Test]
    public async Task An_input_that_the_package_does_not_describe_is_a_warning_with_its_line(CancellationToken token)
    {
        string package = Path.Combine(SourceTree.Root(), "samples/GreetingFunction/package");
        string described = $"{await File.ReadAllTextAsync(Path.Combine(package, "crossplane.yaml"), token)}\n---\n{await File.ReadAllTextAsync(Path.Combine(package, "input.yaml"), token)}";
        string image = TestImage.Shell("exec /function $0").WithFiles(FunctionImages.GreetingFiles(Path.Combine(SourceTree.Root(), "artifacts"))).WithLayer(tar => tar.File("package.yaml", described)).WriteTo(_directory["described"]);
        string composition = Write("misspelt.yaml", (await File.ReadAllTextAsync(Path.Combine(Files, "composition.yaml"), token)).Replace("salutation:", "saltuation:"));
        int line = 1 + Array.FindIndex(await File.ReadAllLinesAsync(composition, token), text => text.Contains("saltuation"));
        ToolResult xfn = await Tool.RunAsync(Xfn, ["render", Path.Combine(Files, "xr.yaml"), composition, Write("described.yaml", Function("greeting-function", image)), "--cache-dir", Cache], token);
        Assert.That(xfn.ExitCode, Is.Zero, xfn.Error);
        Assert.That(xfn.Error, Does.Contain($"xfn: warning: the input of step 'greet' is not what function 'greeting-function' describes: line {line}: field 'saltuation': there is no such field, expected apiVersion, kind, metadata, salutation, salutationFrom.\n"));
        Assert.That(xfn.Output, Does.Contain("greeting: Hello, Ada!"));
    }

    [Test]
    public async Task A_package_that_is_none_of_a_function_is_a_warning(CancellationToken token)
    {
        string image = TestImage.Shell("exec /function $0").WithFiles(FunctionImages.GreetingFiles(Path.Combine(SourceTree.Root(), "artifacts"))).WithLayer(tar => tar.File("package.yaml", "kind: Other")).WriteTo(_directory["other"]);
        ToolResult xfn = await RenderAsync(Function("greeting-function", image), null, token);
        Assert.That((xfn.ExitCode, xfn.Output.Contains("greeting: Good morning, Ada!")), Is.EqualTo((0, true)), xfn.Error);
        Assert.That(xfn.Error, Does.Contain($"xfn: warning: the input of step 'greet' is not checked: cannot read the package of image '{image}': its package.yaml has 0 objects of kind Function"));
    }

    // Where people have told of: a daemon of another machine or container, and sockets in other places.
    [TestCase("tcp")]
    [TestCase("unix")]
    public async Task No_daemon_is_asked_wherever_it_is(string kind, CancellationToken token)
    {
        using var daemon = new Socket(kind == "tcp" ? AddressFamily.InterNetwork : AddressFamily.Unix, SocketType.Stream, ProtocolType.Unspecified);
        daemon.Bind(kind == "tcp" ? new IPEndPoint(IPAddress.Loopback, 0) : new UnixDomainSocketEndPoint(_directory["docker.sock"]));
        daemon.Listen();
        string address = kind == "tcp" ? $"tcp://{daemon.LocalEndPoint}" : $"unix://{_directory["docker.sock"]}";
        ToolResult xfn = await RenderAsync(
            Function("greeting-function", _image), new() { ["DOCKER_HOST"] = address, ["CONTAINER_HOST"] = address }, token, "-c", "--context-values", "example.org/before=\"there\"");
        Assert.That(xfn.ExitCode, Is.Zero, xfn.Error);
        Assert.That(xfn.Output, Does.Contain("greeting: Good morning, Ada!").And.Contain("example.org/before: there"));
        Assert.That(daemon.Poll(0, SelectMode.SelectRead), Is.False, "somebody connected");
    }

    // What docker login and podman login write. The registry refuses everybody else.
    [TestCase("DOCKER_CONFIG", "config.json")]
    [TestCase("REGISTRY_AUTH_FILE", "auth.json")]
    public async Task Functions_of_a_private_registry_are_pulled_with_the_credentials_of_a_login(string variable, string file, CancellationToken token)
    {
        using var registry = new DockerRegistry(directory =>
        {
            File.WriteAllText(directory["htpasswd"], Tool.Run("htpasswd", "-Bbn", "ada", "sesame"));
            return ("", $"auth: {{ htpasswd: {{ realm: x, path: \"{directory["htpasswd"]}\" }} }}");
        });
        string package = registry.Push(_image, "functions/greeting:v1", "--dest-creds", "ada:sesame");
        string login = Directory.CreateDirectory(_directory[Guid.NewGuid().ToString("N")]).FullName, auth = Path.Combine(login, file);
        string secret = Convert.ToBase64String(Encoding.UTF8.GetBytes("ada:sesame"));
        await File.WriteAllTextAsync(auth, $"{{\"auths\": {{\"{registry.Host}\": {{\"auth\": \"{secret}\"}}}}}}", token);
        ToolResult xfn = await RenderAsync(Function("greeting-function", package), new() { [variable] = variable == "DOCKER_CONFIG" ? login : auth }, token);
        Assert.That((xfn.ExitCode, xfn.Output.Contains("greeting: Good morning, Ada!")), Is.EqualTo((0, true)), xfn.Error);
    }

    private string Cache => _directory["cache"];

    private static string Function(string name, string image, string annotation = "a: b") =>
        $"---\napiVersion: pkg.crossplane.io/v1\nkind: Function\nmetadata:\n  name: {name}\n  annotations: {{{annotation}}}\nspec:\n  package: {image}\n";

    private static string Text(Struct it, params string[] path) => path.Aggregate(Value.ForStruct(it), (value, name) => value.StructValue.Fields[name]).StringValue;

    private static string Annotation(Struct function, string name) => Text(function, "metadata", "annotations", $"render.crossplane.io/{name}");

    private Task<ToolResult> RenderAsync(string functions, Dictionary<string, string>? environment, CancellationToken token, params string[] options) => Tool.RunAsync(
        Xfn,
        ["render", Path.Combine(Files, "xr.yaml"), Path.Combine(Files, "composition.yaml"), Write($"{Guid.NewGuid():N}.yaml", functions), "--cache-dir", Cache, .. options],
        token,
        environment: environment);

    private void Replace(string path, string content) => File.Move(Write("new", content), path, overwrite: true);

    private string Write(string name, string content)
    {
        File.WriteAllText(_directory[name], content);
        return _directory[name];
    }
}
