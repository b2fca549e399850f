using Google.Protobuf;
using Google.Protobuf.WellKnownTypes;
using Xfn.Core.Composition.Rendering.Engine;

namespace Xfn.Core.Composition.Rendering;

/// <summary>Crossplane as an engine: a program that reads one message from stdin and writes one to stdout.</summary>
internal abstract class CrossplaneEngine : RenderEngine
{
    /// <summary>The most that it may answer.</summary>
    protected const int MostBytes = 64 << 20;

    /// <summary>A step was fatal, and stdout has what there was by then.</summary>
    private const int Fatal = 3;

    protected static string[] Arguments { get; } = ["internal", "render"];

    internal override async Task<RenderResult> RenderAsync(RenderRequest request, CancellationToken cancellationToken)
    {
        if (request.Options.Context is not null)
            throw new RenderException(RenderFailure.Input, "cannot give Crossplane's own engine a context: it takes none. Leave the context out, or use the built-in engine.");
        if (request.Options.Functions.Keys.FirstOrDefault(name => CompositionFunctions.NamesOf(request.Composition).Contains(name)) is { } inProcess)
            throw new RenderException(RenderFailure.Input, $"cannot give Crossplane's own engine function '{inProcess}': it is code of this process, and the engine calls functions at addresses. Use the built-in engine.");
        (int status, byte[] stdout, string stderr) = await RunAsync(request, cancellationToken).ConfigureAwait(false);
        if (status is not (0 or Fatal))
            throw new RenderException(RenderFailure.Engine, $"cannot render {request.Composite.Title()}: {this} exited with status {status}.{Said(stderr)}");
        CompositeOutput output = Parse(request, stdout, stderr);
        RenderResult result = Result(request, output);
        return status == 0 ? result : throw new RenderException(RenderFailure.Fatal, $"cannot render {request.Composite.Title()}: a pipeline step was fatal.{Said(stderr)}") { Partial = result };
    }

    /// <summary>Runs it once.</summary>
    /// <returns>Its exit status, and what it wrote.</returns>
    protected abstract Task<(int Status, byte[] Stdout, string Stderr)> RunAsync(RenderRequest request, CancellationToken cancellationToken);

    /// <summary>What it reads.</summary>
    /// <param name="request">What is rendered.</param>
    /// <param name="addresses">Where functions listen, by name.</param>
    protected static byte[] Message(RenderRequest request, IReadOnlyDictionary<string, string> addresses)
    {
        var input = new CompositeInput { CompositeResource = request.Composite, Composition = request.Composition };
        if (request.Options.Definition is { } definition)
            input.CompositeResourceDefinition = definition;
        input.Functions.AddRange(addresses.Select(address => new FunctionInput { Name = address.Key, Address = address.Value }));
        input.ObservedResources.AddRange(request.Options.ObservedResources);
        input.RequiredResources.AddRange(request.Options.RequiredResources);
        input.Credentials.AddRange(request.Options.Credentials);
        input.RequiredSchemas.AddRange(request.Options.RequiredSchemas);
        return new Engine.RenderRequest { Meta = new(), Composite = input }.ToByteArray();
    }

    /// <summary>Reads all of a stream.</summary>
    /// <exception cref="RenderException">It is too long.</exception>
    protected async Task<byte[]> ReadAsync(Stream stream, CancellationToken cancellationToken)
    {
        using var read = new MemoryStream();
        byte[] buffer = new byte[64 << 10];
        int count;
        while ((count = await stream.ReadAsync(buffer, cancellationToken).ConfigureAwait(false)) > 0)
        {
            read.Write(buffer, 0, count);
            if (read.Length > MostBytes)
                throw new RenderException(RenderFailure.Engine, $"cannot use the answer of {this}: it has more than {MostBytes} bytes.");
        }

        return read.ToArray();
    }

    private CompositeOutput Parse(RenderRequest request, byte[] stdout, string stderr)
    {
        try
        {
            const int depth = 1000;
            RenderResponse response = new();
            response.MergeFrom(CodedInputStream.CreateWithLimits(new MemoryStream(stdout), MostBytes, depth));
            return response.Composite ?? throw new RenderException(RenderFailure.Engine, $"cannot render {request.Composite.Title()}: {this} answered without a result. It may be of a version before 2.3.{Said(stderr)}");
        }
        catch (InvalidProtocolBufferException e)
        {
            throw new RenderException(RenderFailure.Engine, $"cannot render {request.Composite.Title()}: what {this} answered is no message of its protocol. It may be of a version before 2.3.{Said(stderr)}", e);
        }
    }

    private static RenderResult Result(RenderRequest request, CompositeOutput output) => new()
    {
        Input = request.Composite,
        Composite = RenderResult.FixTimes(output.CompositeResource ?? new Struct()),
        Resources = [.. output.ComposedResources.Select(RenderResult.FixTimes).OrderBy(RenderResult.NameOf, StringComparer.Ordinal)],
        Deleted = output.DeletedResources,
        Events = [.. output.Events.Select(it => new RenderEvent(it.Type, it.Reason, it.Message))],
        Context = new Struct(),
        RequiredResources = output.RequiredResources,
        RequiredSchemas = output.RequiredSchemas,
        Output = request.Options.Output,
    };

    private static string Said(string stderr) => string.IsNullOrWhiteSpace(stderr) ? "" : $" It said: {stderr.Trim()}";
}
