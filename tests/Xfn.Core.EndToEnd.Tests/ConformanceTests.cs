using System.Diagnostics;
using Xfn.Core.Conformance;
using Xfn.Core.Runs;

namespace Xfn.Core.EndToEnd.Tests;

/// <summary>Our own spawner and fetchers keep the extenders' contracts, and the trials find those that do
/// not.</summary>
internal sealed class ConformanceTests : RunnerFixture
{
    private IdMapping Mapping => RunnerSettings.From(new ContainerRunnerOptions().WithCacheDir(Cache)).Mapping;

    [Test, CancelAfter(60_000)]
    public async Task The_spawner_keeps_the_contract(CancellationToken token) =>
        Assert.That(await SpawnerConformance.FindFaultsAsync(new NamespaceSpawner(), Mapping, cancellationToken: token), Is.Empty);

    [Test, CancelAfter(60_000)]
    public async Task A_spawner_that_hands_on_what_is_the_callers_is_found_out(CancellationToken token) => Assert.That(
        await SpawnerConformance.FindFaultsAsync(new PlainSpawner(), Mapping, cancellationToken: token),
        Has.Some.Contains("XFN_CONFORMANCE=of the caller").And.Some.StartsWith("The program is '/").And.Some.StartsWith("Descriptor 3 of the program is '")
            .And.Some.Contains("no signal ignored")
            .And.Some.Contains("all capabilities").And.Some.Contains("the user ids of the mapping"));

    [TestCase("arguments", "The program does not have the arguments: expected 'zero one', found 'zero two'.")]
    [TestCase("directory", "The program does not have the working directory")]
    [TestCase("ids", "The program does not have the user ids of the mapping")]
    [TestCase("kill", "Ended did not end after Kill, within ")]
    [TestCase("disposal", "DisposeAsync did not wait for the program's end.")]
    [TestCase("output", "The program did not say 'ready', within ")]
    [CancelAfter(60_000)]
    public async Task A_spawner_that_breaks_one_promise_is_found_out(string broken, string fault, CancellationToken token)
    {
        Assert.That(await Patience.GrowAsync(FindAsync, faults => faults.Any(f => f.Contains(fault, StringComparison.Ordinal))), Has.Some.Contains(fault));

        async Task<IEnumerable<string>> FindAsync(TimeSpan patience)
        {
            await using var spawner = new BrokenSpawner(broken);
            return await SpawnerConformance.FindFaultsAsync(spawner, Mapping, patience, token);
        }
    }

    [Test, Category(Ways.InOne), CancelAfter(60_000)]
    public async Task The_fetchers_keep_the_contract([Values("layout", "archive", "registry", "memory")] string kind, CancellationToken token)
    {
        string layout = Write(TestImage.Shell("true"));
        using DockerRegistry? registry = kind == "registry" ? new DockerRegistry() : null;
        using var all = new DefaultImageFetcher();
        string image = kind switch
        {
            "registry" => registry!.Push(layout, "fn:v1"),
            "archive" => Archive(layout),
            "memory" => "registry.example.org/fn:v1",
            _ => layout,
        };
        Assert.That(await FetcherConformance.FindFaultsAsync(kind == "memory" ? InMemory() : all, image, token), Is.Empty);
    }

    [TestCase("name", "FetchManifestAsync did not throw for a tag that does not exist")]
    [TestCase("digest", "FetchManifestAsync gave another document by the digest than by the tag.")]
    [TestCase("known", "FetchManifestAsync did not give the document to who knows the digest of another.")]
    [TestCase("stated", "FetchManifestAsync says that the document's digest is")]
    [TestCase("null", "FetchManifestAsync returned null for")]
    [TestCase("bytes", "OpenBlobAsync gave other bytes than those of blob")]
    [TestCase("offset", "OpenBlobAsync did not begin blob")]
    [TestCase("source", "SourceOf gave two names for one reference.")]
    [Category(Ways.InOne), CancelAfter(60_000)]
    public async Task A_fetcher_that_breaks_one_promise_is_found_out(string broken, string fault, CancellationToken token) => Assert.That(
        await FetcherConformance.FindFaultsAsync(new BrokenFetcher(InMemory(), broken), "registry.example.org/fn:v1", token), Has.Some.Contains(fault));

    private static InMemoryImageFetcher InMemory()
    {
        var images = new InMemoryImageFetcher();
        ReadOnlyMemory<byte> layer = InMemoryImageFetcher.Layer(new LayerFile("fn") { Content = "#!/bin/sh\n"u8.ToArray() });
        images.AddImage("registry.example.org/fn:v1", new ImageExecutionConfig { Entrypoint = ["/fn"] }, layer);
        return images;
    }

    private string Archive(string layout)
    {
        string path = Path.Combine(Scratch, "archive.tar");
        string directory = ImageReference.Parse(layout).Repository;
        System.Formats.Tar.TarFile.CreateFromDirectory(directory, path, includeBaseDirectory: false);
        return $"oci-archive:{path}{layout[(layout.IndexOf(directory, StringComparison.Ordinal) + directory.Length)..]}";
    }

    /// <summary>Starts programs in namespaces as a script would: by name, with all that is the caller's.</summary>
    private sealed class PlainSpawner : INamespaceSpawner
    {
        public Task<SpawnedNamespace> SpawnAsync(NamespaceRequest request, CancellationToken cancellationToken = default)
        {
            var start = new ProcessStartInfo("unshare", ["--user", "--mount", "--pid", "--fork", "--kill-child", "/bin/sh", .. request.Arguments])
            {
                WorkingDirectory = request.WorkingDirectory,
                RedirectStandardInput = true,
                RedirectStandardOutput = true,
                RedirectStandardError = true,
            };
            return Task.FromResult<SpawnedNamespace>(new Spawned(Process.Start(start)!));
        }

        private sealed class Spawned(Process process) : SpawnedNamespace
        {
            public override Stream Input => process.StandardInput.BaseStream;

            public override Stream Output => process.StandardOutput.BaseStream;

            public override Task<string> Ended { get; } = process.StandardError.ReadToEndAsync();

            public override Task MapIdsAsync(int processId, CancellationToken cancellationToken = default) => Task.CompletedTask;

            public override void Kill() => process.Kill();

            public override async ValueTask DisposeAsync()
            {
                Kill();
                await Ended;
                await process.WaitForExitAsync();
                process.Dispose();
            }
        }
    }

    /// <summary>A spawner around ours that does one thing wrong.</summary>
    private sealed class BrokenSpawner(string broken) : INamespaceSpawner, IAsyncDisposable
    {
        private readonly NamespaceSpawner _inner = new();
        private readonly List<SpawnedNamespace> _spawned = [];

        public async Task<SpawnedNamespace> SpawnAsync(NamespaceRequest request, CancellationToken cancellationToken = default)
        {
            SpawnedNamespace spawned = await _inner.SpawnAsync(
                new NamespaceRequest
                {
                    Executable = request.Executable,
                    Arguments = broken == "arguments" ? [.. request.Arguments.SkipLast(1), "two"] : request.Arguments,
                    WorkingDirectory = broken == "directory" ? "/" : request.WorkingDirectory,
                    Mapping = request.Mapping,
                },
                cancellationToken);
            _spawned.Add(spawned);
            return new Spawned(spawned, broken);
        }

        public async ValueTask DisposeAsync()
        {
            foreach (SpawnedNamespace spawned in _spawned)
                await spawned.DisposeAsync();
        }

        private sealed class Spawned(SpawnedNamespace inner, string broken) : SpawnedNamespace
        {
            public override Stream Input => inner.Input;

            public override Stream Output => broken == "output" ? new System.IO.Pipelines.Pipe().Reader.AsStream() : inner.Output;

            public override Task<string> Ended => inner.Ended;

            public override Task MapIdsAsync(int processId, CancellationToken cancellationToken = default) =>
                broken == "ids" ? Task.CompletedTask : inner.MapIdsAsync(processId, cancellationToken);

            public override void Kill()
            {
                if (broken != "kill")
                    inner.Kill();
            }

            public override ValueTask DisposeAsync() => broken == "disposal" ? default : inner.DisposeAsync();
        }
    }

    /// <summary>A fetcher around another that does one thing wrong.</summary>
    private sealed class BrokenFetcher(IImageFetcher inner, string broken) : IImageFetcher
    {
        private FetchedManifest? _first;
        private int _asked;

        public async Task<FetchedManifest> FetchManifestAsync(ImageReference reference, FetchContext context, CancellationToken cancellationToken = default)
        {
            if (broken == "null")
                return null!;
            if (broken == "known" && !context.KnownDigest.IsEmpty)
                return FetchedManifest.NotModified(context.KnownDigest);
            if (broken == "name" && _first is not null)
                return _first;
            FetchedManifest fetched = await inner.FetchManifestAsync(reference, context, cancellationToken);
            _first ??= fetched;
            return broken switch
            {
                "digest" when !reference.Digest.IsEmpty => new FetchedManifest { Content = new byte[] { 0x20 }.Concat(fetched.Content.ToArray()).ToArray() },
                "stated" => new FetchedManifest { Content = fetched.Content, Digest = Digest.Compute("other"u8) },
                _ => fetched,
            };
        }

        public async Task<Stream> OpenBlobAsync(ImageReference reference, Descriptor blob, long offset, FetchContext context, CancellationToken cancellationToken = default) => broken switch
        {
            "offset" => await inner.OpenBlobAsync(reference, blob, 0, context, cancellationToken),
            "bytes" => new MemoryStream(new byte[blob.Size - offset]),
            _ => await inner.OpenBlobAsync(reference, blob, offset, context, cancellationToken),
        };

        public string? SourceOf(ImageReference reference) => broken == "source" ? $"{_asked++}" : null;
    }
}
