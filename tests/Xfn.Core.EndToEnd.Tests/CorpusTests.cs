using Xfn.Core.EndToEnd.Tests.Support;

namespace Xfn.Core.EndToEnd.Tests;

/// <summary>Images by the builders that there are show a program what podman shows it of them.</summary>
internal sealed class CorpusTests : RunnerFixture
{
    private static readonly string[] Few =
    [
        "buildah push oci-archive", "podman save docker-archive", "podman save oci-dir", "podman commit", "podman import", "umoci", "skopeo oci oci zstd:chunked", "kaniko", "jib", "nix",
        "buildkit docker types in oci", "estargz", "xfn build", "dotnet publish OCI",
    ];

    /// <summary>Each transport and format of skopeo's with each compression, and what is left.</summary>
    private static readonly string[] Many =
    [
        "buildah push docker-archive", "dotnet publish Docker",
        .. from transport in new[] { "oci", "oci-archive", "docker-archive" }
           from compression in transport == "docker-archive" ? new[] { "plain", "gzip" } : ["plain", "gzip", "zstd"]
           select $"skopeo {transport} {(transport == "docker-archive" ? "v2s2" : "oci")} {compression}",
    ];

    private string _directory = "";
    private Task<Corpus>? _corpus;

    [OneTimeSetUp]
    public void MakeDirectory()
    {
        if (!Ways.IsRoot)
            Assert.Ignore("podman, as it is run here, takes all of root's capabilities");

        // podman makes a name of it, which has no upper-case letters, and takes no long ones.
        _directory = Directory.CreateDirectory($"/tmp/xfn-corpus-{Guid.NewGuid().ToString("N")[..12]}").FullName;
    }

    [OneTimeTearDown]
    public void RemoveDirectory()
    {
        if (_directory.Length > 0)
            Directory.Delete(_directory, recursive: true);
    }

    [Test, CancelAfter(120_000)]
    public Task An_image_shows_what_podman_shows_of_it([ValueSource(nameof(Few))] string builder, CancellationToken token) => CompareAsync(builder, token);

    [Test, CancelAfter(120_000), Category("Long"), Category("corpus")]
    public Task An_image_in_any_form_shows_what_podman_shows_of_it([ValueSource(nameof(Many))] string builder, CancellationToken token) => CompareAsync(builder, token);

    private async Task CompareAsync(string builder, CancellationToken token)
    {
        Corpus corpus = await (_corpus ??= BuildAsync(token));
        string reference = await corpus.MakeAsync(builder, token);
        string expected = await corpus.RunByPodmanAsync(reference, token);
        TestRunner runner = NewRunner();
        var request = new RunFunctionRequest { Image = reference, RunFunctionConfig = new() { Timeout = TimeSpan.FromMinutes(1) } };
        RunFunctionResponse response = await runner.RunFunctionAsync(request, token);
        Assert.That(expected, Does.Contain("/busybox"), "it ran");
        Assert.That(Text(response.Output), Is.EqualTo(expected));

        // Here rather than in the pass with prepared functions, which would make all images and run podman again.
        await using PreparedFunction function = await runner.PrepareAsync(request, cancellationToken: token);
        RunFunctionResponse prepared = await function.RunAsync(cancellationToken: token);
        Assert.That((Text(prepared.Output), prepared.Statistics.Prepared), Is.EqualTo((expected, true)));
    }

    private async Task<Corpus> BuildAsync(CancellationToken token)
    {
        var corpus = new Corpus(_directory);
        await corpus.BuildAsync(token);
        return corpus;
    }
}
