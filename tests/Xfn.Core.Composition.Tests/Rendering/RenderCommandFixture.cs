using Xfn.Core.Composition.Protocol;
using Xfn.Core.Composition.Tests.Support;

namespace Xfn.Core.Composition.Tests.Rendering;

/// <summary>The real <c>xfn render</c>, with files and a function of the test's own. The function paints: it composes a
/// Paint of the composite resource's colour, in the shade of its input.</summary>
internal abstract class RenderCommandFixture
{
    private readonly List<FunctionServer> _servers = [];
    private TemporaryDirectory _directory = null!;

    protected static string Xfn => Path.Combine(AppContext.BaseDirectory, "xfn");

    /// <summary>What the function is told before it answers.</summary>
    protected Func<CancellationToken, Task> Before { get; set; } = _ => Task.CompletedTask;

    [SetUp]
    public void MakeFiles()
    {
        _directory = new();
        Before = _ => Task.CompletedTask;
        Write("xr.yaml", Xr("red"));
        Write("composition.yaml", Composition(""));
    }

    [TearDown]
    public async Task RemoveFiles()
    {
        foreach (FunctionServer server in _servers)
            await server.DisposeAsync();
        _servers.Clear();
        _directory.Dispose();
    }

    protected string this[string name] => _directory[name];

    protected static string Xr(string color) => $"apiVersion: example.org/v1\nkind: App\nmetadata:\n  name: shop\nspec:\n  color: {color}\n";

    /// <summary>The composition, with more of its step.</summary>
    protected static string Composition(string step) =>
        "apiVersion: apiextensions.crossplane.io/v1\nkind: Composition\nmetadata:\n  name: apps\nspec:\n  compositeTypeRef: {apiVersion: example.org/v1, kind: App}\n  mode: Pipeline\n  pipeline:\n  - step: color\n    functionRef: {name: color}\n"
        + step;

    /// <summary>Serves the function, and writes the functions' file that leads to it.</summary>
    protected async Task ServeAsync(string annotation = "a: b", Action<Protocol.RunFunctionRequest, Protocol.RunFunctionResponse>? besides = null, string gloss = "")
    {
        FunctionServer server = await FunctionServer.ServeAsync(async (request, context) =>
        {
            await Before(context.CancellationToken);
            var response = new Protocol.RunFunctionResponse { Desired = request.Desired ?? new State(), Context = request.Context };
            string color = request.Observed.Composite.Resource_.Fields["spec"].StructValue.Fields["color"].StringValue;
            string shade = request.Input is { } input ? input.Fields["shade"].StringValue : "";
            InlineFunction.Want(response, "paint", $"{{apiVersion: v1, kind: Paint, spec: {{color: {gloss}{shade}{color}}}}}");
            response.Results.Add(new Protocol.Result { Severity = Severity.Normal, Message = "painted" });
            if (color == "none")
                response.Results.Add(new Protocol.Result { Severity = Severity.Fatal, Message = "there is no such color" });
            besides?.Invoke(request, response);
            return response;
        });
        _servers.Add(server);
        Write("functions.yaml", Function($"render.crossplane.io/runtime-development-target: '{server.Address}', {annotation}"));
    }

    protected static string Function(string annotations) => $"apiVersion: pkg.crossplane.io/v1\nkind: Function\nmetadata:\n  name: color\n  annotations: {{render.crossplane.io/runtime: Development, {annotations}}}\n";

    /// <summary>What the command line says of the three files and the cache.</summary>
    protected string[] Arguments(params string[] options) => ["render", this["xr.yaml"], this["composition.yaml"], this["functions.yaml"], "--cache-dir", this["cache"], .. options];

    protected async Task<ToolResult> RenderAsync(CancellationToken token, params string[] options)
    {
        ToolResult xfn = await Tool.RunAsync(Xfn, Arguments(options), token);

        // On a busy machine it says that it takes long.
        return xfn with { Error = xfn.Error.Replace("xfn: the functions have not started yet. Images that are not here yet are pulled first.\n", "") };
    }

    protected void Write(string name, string content) => File.WriteAllText(_directory[name], content);

    /// <summary>Puts a new file in the place of the old one, as many an editor saves.</summary>
    protected void Replace(string name, string content)
    {
        Write("new", content);
        File.Move(_directory["new"], _directory[name], overwrite: true);
    }
}
