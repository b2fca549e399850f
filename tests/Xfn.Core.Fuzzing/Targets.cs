extern alias spark;

using System.Text;
using Google.Protobuf;
using Grpc.Core;
using Xfn.Core.Bundles;
using Xfn.Core.Composition;
using Xfn.Core.Composition.Functions;
using Xfn.Core.Composition.Packages;
using Xfn.Core.Composition.Yaml;
using Xfn.Core.Images;
using Xfn.Core.Layers;
using Xfn.Core.Registry;
using Xfn.Core.Remote;
using Xfn.Core.Server;
using Xfn.Core.Sources;
using Xfn.Core.Spark;
using spark::Xfn.Core.Spark.Channel;
using Metadata = Grpc.Core.Metadata;

namespace Xfn.Core.Fuzzing;

/// <summary>All that reads bytes which somebody else wrote.</summary>
internal static class Targets
{
    private static readonly ImageReference Image = ImageReference.Parse("registry.example.org/function:v1");

    private static readonly RequestPolicy Policy = RequestPolicy.From(
        new ContainerRunnerServiceOptions
        {
            DefaultRegistry = ImageReference.DefaultRegistry,
            MaxInputBytes = 1 << 20,
            MaxMemoryBytes = 1 << 30,
            MaxCpus = 4,
            AllowUser = true,
            AllowWritableRoot = true,
            AllowExtraHosts = true,
            AllowEgress = true,
        },
        new NoRunner());

    private static readonly MemoryFile Memory = new();

    public static IReadOnlyList<FuzzTarget> All { get; } =
    [
        new("tar", TarTarget.Read, typeof(SparkException)) { Repair = TarTarget.MendChecksums },
        new("frames", Frame, typeof(InvalidDataException)) { Seeds = FrameSeeds() },
        new("manifests", Manifest, typeof(InvalidImageException)),
        new("indexes", Index, typeof(InvalidImageException)),
        new("configs", Config, typeof(InvalidImageException), typeof(ContainerEnvironmentException)),
        new("layouts", input => LayoutIndex.Find(ImageReference.Parse("oci:/layout:v1"), input), typeof(InvalidImageException), typeof(ImageNotFoundException)),
        new("archives", Archive, typeof(UnreadableArchiveException), typeof(InvalidImageException)) { Repair = TarTarget.MendChecksums },
        new("compression", Compression, typeof(IOException), typeof(InvalidDataException), typeof(SharpCompress.Common.SharpCompressException)),
        new("references", Reference),
        new("challenges", Challenges),
        new("registry", RegistryTarget.Pull, typeof(XfnException)),
        new("credentials", Credentials),
        new("users", Users),
        new("image-users", ImageUserName, typeof(InvalidImageException), typeof(ContainerEnvironmentException)),
        new("quantities", Quantity, typeof(InvalidRequestException)),
        new("settings", Settings, typeof(InvalidProtocolBufferException), typeof(InvalidRequestException), typeof(RefusedRequestException)),
        new("requests", Request, typeof(InvalidProtocolBufferException), typeof(InvalidRequestException), typeof(RefusedRequestException)),
        new("answers", Answer, typeof(InvalidProtocolBufferException)),
        new("egress", ProxyTarget.Read),
        new("packages", Package, typeof(InvalidImageException)),
        new("function-io", input => FunctionIO.Read(input, new Composition.Protocol.RunFunctionRequest()), typeof(InvalidDataException)),
    ];

    public static FuzzTarget? Find(string name) => All.FirstOrDefault(target => target.Name == name);

    /// <summary>What a condition says must hold whatever the input.</summary>
    public static void Demand(bool holds, string what)
    {
        if (!holds)
            throw new InvalidOperationException("it does not hold that " + what);
    }

    /// <summary>A byte of kind, then the body. What is read is written as what is read again.</summary>
    private static void Frame(byte[] input)
    {
        if (input.Length == 0)
            return;
        byte[] once = Written(SparkFrame.Read(input[0], input.AsMemory(1)));
        SparkFrame.ReadHeader(once, out byte kind);
        byte[] twice = Written(SparkFrame.Read(kind, once.AsMemory(SparkFrame.HeaderBytes)));
        Demand(once.AsSpan().SequenceEqual(twice), "a frame read and written again is the same");
    }

    /// <summary>A message of each kind whose fields are zero or empty: as many zeros as make one.</summary>
    private static List<byte[]> FrameSeeds()
    {
        var seeds = new List<byte[]>();
        for (byte kind = 1; kind <= SparkFrame.Kinds; kind++)
        {
            for (int length = 0; length < 1024; length++)
            {
                try
                {
                    SparkFrame.Read(kind, new byte[length]);
                }
                catch (InvalidDataException)
                {
                    continue;
                }

                seeds.Add([kind, .. new byte[length]]);
                break;
            }
        }

        return seeds;
    }

    private static byte[] Written(object message) => SparkFrame.Write(message).ToArray();

    private static void Manifest(byte[] input)
    {
        OciDocuments.IsIndex(Image, new FetchedManifest { Content = input, MediaType = MediaTypes.OciManifest });
        OciDocuments.CheckIsImage(Image, input);
        ImageManifest manifest = OciDocuments.ParseManifest(Image, input);
        var config = new ImageConfig
        {
            Architecture = "amd64",
            Os = "linux",
            RootFs = new ImageRootFs { Type = "layers", DiffIds = [.. manifest.Layers.Select(l => l.Digest)] },
        };
        OciDocuments.Check(Image, manifest, config);
        OciDocuments.ParseManifest(Image, OciJson.Serialize(manifest));
    }

    private static void Index(byte[] input)
    {
        var fetched = new FetchedManifest { Content = input };
        if (!OciDocuments.IsIndex(Image, fetched))
            return;
        ImageIndex index = OciDocuments.ParseIndex(Image, input);
        OciDocuments.ParseIndex(Image, OciJson.Serialize(index));
        PlatformSelector.Candidates(index, PlatformSelector.Host);
    }

    private static void Config(byte[] input)
    {
        ImageConfig config = OciDocuments.ParseConfig(Image, input);
        OciDocuments.ParseConfig(Image, OciJson.Serialize(config));
        ResolveUser(config, default, default);
    }

    private static void Archive(byte[] input)
    {
        ImageReference reference = ImageReference.Parse("docker-archive:" + Memory.PathOf(input));
        ArchiveEntries index = ArchiveEntries.ReadAsync(reference.Repository, CancellationToken.None).GetAwaiter().GetResult();
        foreach (DockerArchiveImage image in index.DockerImages ?? [])
            index.ManifestAsync(reference, image, CancellationToken.None).GetAwaiter().GetResult();
    }

    private static void Compression(byte[] input)
    {
        using Stream stream = LayerDecoder.OpenAsync(new MemoryStream(input), CancellationToken.None).GetAwaiter().GetResult();
        var buffer = new byte[64 << 10];
        for (int total = 0; total < 8 << 20;)
        {
            int count = stream.Read(buffer);
            if (count == 0)
                return;
            total += count;
        }
    }

    private static void Reference(byte[] input)
    {
        if (!ImageReference.TryParse(Encoding.UTF8.GetString(input), ImageReference.DefaultRegistry, out ImageReference? reference, out string? error))
        {
            Demand(error.Length > 0, "a refusal says why");
            return;
        }

        Demand(ImageReference.Parse(reference.ToString()) == reference, "a reference written and parsed again is the same");
    }

    private static void Challenges(byte[] input)
    {
        using var response = new HttpResponseMessage();
        foreach (string line in Encoding.Latin1.GetString(input).Split('\n'))
            response.Headers.TryAddWithoutValidation("WWW-Authenticate", line);
        foreach (Challenge challenge in Challenge.Of(response))
            Demand(challenge.Scheme.Length > 0 && !challenge.Parameters.ContainsKey(""), "a challenge has a scheme, and its parameters names");
    }

    private static void Credentials(byte[] input)
    {
        string path = Memory.PathOf(input);
        var files = new CredentialFiles(new RegistryOptions
        {
            // Helpers are looked for where there are none.
            GetEnvironmentVariable = name => name switch { "REGISTRY_AUTH_FILE" => path, "PATH" => "/nonexistent", _ => null },
        });
        var search = new CredentialSearch();
        files.SearchAsync(search, "registry.example.org", "team/function", CancellationToken.None).GetAwaiter().GetResult();
        Demand(search.Describe().Length > 0, "a search says where it looked");
    }

    /// <summary>A name, a line break, and the file.</summary>
    private static void Users(byte[] input)
    {
        int end = Math.Max(0, Array.IndexOf(input, (byte)'\n'));
        string name = Encoding.UTF8.GetString(input.AsSpan(0, end));
        ReadOnlySpan<byte> file = input.AsSpan(end);
        UserDatabase.FindUser(file, 1000);
        UserDatabase.FindGroup(file, name);
        UserDatabase.FindGroupsOf(file, name);
        if (UserDatabase.FindUser(file, name) is { } user)
            Demand(user.Name == name, "a user who is found has the name that was looked for");
    }

    /// <summary>The User of an image, a line break, and its passwd, which serves as group too.</summary>
    private static void ImageUserName(byte[] input)
    {
        int end = Math.Max(0, Array.IndexOf(input, (byte)'\n'));
        var config = new ImageConfig
        {
            Architecture = "amd64",
            Os = "linux",
            RootFs = new ImageRootFs { Type = "layers", DiffIds = [] },
            Config = new ImageExecutionConfig { User = Encoding.UTF8.GetString(input.AsSpan(0, end)) },
        };
        ResolveUser(config, input.AsMemory(end), input.AsMemory(end));
    }

    private static void ResolveUser(ImageConfig config, ReadOnlyMemory<byte> passwd, ReadOnlyMemory<byte> group)
    {
        IdRange[] ids = [new IdRange(0, 100_000, 65_536)];
        var context = new BundleContext
        {
            Reference = Image,
            Image = config,
            Config = new RunFunctionConfig(),
            Mapping = new IdMapping { Uids = ids, Gids = ids, Method = IdMappingMethod.SubordinateIds },
            Passwd = passwd,
            Group = group,
        };
        ImageUser user = ImageUser.Resolve(context);
        Demand(user.Uid < 65_536 && user.Gid < 65_536, "a user is one that is mapped");
        string name = (config.Config?.User ?? "").Split(':')[0];
        bool isOtherNumber = name.Trim('0').Length > 0 && name.All(char.IsAsciiDigit);
        Demand(user.Uid != 0 || !isOtherNumber, "only the number 0 is root");
    }

    /// <summary>A package, with itself as an input of each of its kinds.</summary>
    private static void Package(byte[] input)
    {
        string yaml = Encoding.UTF8.GetString(input);
        FunctionPackage package = PackageDocument.Read(yaml, "image");
        foreach (FunctionInputSchema schema in package.Inputs)
        {
            foreach (YamlNode document in YamlReader.Read(yaml, "input"))
            {
                Demand(package.CheckInput(document.ToStruct()).Count <= 21, "there are few problems");
                var check = new SchemaCheck();
                check.Check(document.ToValue(), schema.Schema, "");
                foreach (InputProblem problem in check.Problems)
                    Demand(SchemaPath.Parts(problem.Field).All(part => part is not null), "a path has parts");
            }
        }
    }

    private static void Quantity(byte[] input)
    {
        string text = Encoding.UTF8.GetString(input);
        long bytes = Xfn.Core.Options.Quantity.ParseMemory(text, "memory limit");
        Demand(bytes is >= Xfn.Core.Options.Quantity.MinMemoryBytes and <= Xfn.Core.Options.Quantity.MaxMemoryBytes, "a memory limit is in its range");
    }

    private static void Request(byte[] input)
    {
        RunFunctionRequest request = Policy.Apply(WireMessages.FromMessage(Xfn.Core.Remote.Protocol.RunFunctionRequest.Parser.ParseFrom(input)));
        WireMessages.FromMessage(WireMessages.ToMessage(request));
    }

    private static void Settings(byte[] input)
    {
        RunFunctionRequest request = Policy.Apply(WireSettings.FromMessage(Xfn.Core.Remote.Protocol.RunRequest.Parser.ParseFrom(input)));
        if (WireSettings.ToMessage(request, WireMessages.ToMessage(request)) is { } message)
            Demand(message.Equals(WireSettings.ToMessage(WireSettings.FromMessage(message), message.Function)), "settings come back as they were");
    }

    /// <summary>What a server sends: the status, a line break, trailer lines, an empty line, the message.</summary>
    private static void Answer(byte[] input)
    {
        int end = Math.Max(0, input.AsSpan().IndexOf("\n\n"u8));
        string[] lines = Encoding.Latin1.GetString(input.AsSpan(0, end)).Split('\n');
        var trailers = new Metadata();
        foreach (string line in lines.Skip(1))
        {
            int colon = line.IndexOf(':');
            if (colon <= 0 || line[..colon].Any(c => !char.IsAsciiLetterLower(c) && c != '-'))
                continue;
            if (line[..colon].EndsWith("-bin", StringComparison.Ordinal))
                trailers.Add(line[..colon], Encoding.Latin1.GetBytes(line[(colon + 1)..]));
            else
                trailers.Add(line[..colon], line[(colon + 1)..]);
        }

        WireTrailers.ReadStatistics(trailers);
        WireErrors.FromRpc(new Status((StatusCode)(lines[0].Length == 0 ? 0 : lines[0][0] % 17), "detail"), trailers);
        WireMessages.FromMessage(Xfn.Core.Remote.Protocol.RunFunctionResponse.Parser.ParseFrom(input.AsSpan(end).TrimStart((byte)'\n')), trailers);
    }

    /// <summary>A policy wants a runner to take defaults from, and asks it nothing else.</summary>
    private sealed class NoRunner : IContainerRunner
    {
        public Task<RunFunctionResponse> RunFunctionAsync(RunFunctionRequest request, CancellationToken cancellationToken = default) => throw new NotSupportedException();

        public Task<RunFunctionResponse> RunFunctionAsync(RunFunctionRequest request, FunctionStreams streams, CancellationToken cancellationToken = default) => throw new NotSupportedException();

        public ValueTask DisposeAsync() => default;
    }
}
