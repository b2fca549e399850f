namespace Xfn.Core.Package.Tests;

[CancelAfter(60_000)]
public class ConsumerTests
{
    private static IEnumerable<string> Ways => Consumer.Ways.Keys;

    [TestCaseSource(nameof(Ways))]
    public async Task A_new_program_runs_a_function(string way, CancellationToken token)
    {
        string program = Path.Combine(Consumer.Published(way), "Consumer");
        Assert.That(program, Does.Exist, Consumer.Log);

        // Without what .NET extracted for another.
        string answer = await Repository.RunAsync("/", program, [Workspace.Image, Workspace.At(way + "-cache")], token,
            environment: new() { ["DOTNET_BUNDLE_EXTRACT_BASE_DIR"] = Workspace.At(way + "-extracted") });
        Assert.That(answer, Is.EqualTo("from a package"));
    }

    /// <summary>That of docs/getting-started.md, which knows two packages and nothing else.</summary>
    [Test]
    public async Task The_first_program_of_the_guide_does_what_the_guide_says(CancellationToken token)
    {
        string program = Path.Combine(Consumer.Published(Consumer.FirstProgram), "Consumer");
        Assert.That(program, Does.Exist, Consumer.Log);
        string answer = await Repository.RunAsync(Directory.CreateDirectory(Workspace.At("first")).FullName, program, [], token);
        Assert.That(answer, Is.EqualTo("apple\npear\n"));
    }

    /// <summary>As when somebody copies only the program: the runner needs no native file but spark.</summary>
    [Test]
    public async Task A_single_file_needs_nothing_beside_it_but_spark(CancellationToken token)
    {
        string published = Consumer.Published("single-file"), alone = Directory.CreateDirectory(Workspace.At("alone")).FullName;
        foreach (string name in new[] { "Consumer", "xfn-spark" })
            File.Copy(Path.Combine(published, name), Path.Combine(alone, name));
        string answer = await Repository.RunAsync("/", Path.Combine(alone, "Consumer"), [Workspace.Image, Workspace.At("alone-cache")], token);
        Assert.That(answer, Is.EqualTo("from a package"));
        Assert.That(Directory.GetFiles(published, "*.so"), Is.Not.Empty, "nothing was left away; is this test still needed?");
    }

    [Test]
    public async Task A_program_that_only_serves_a_function_can_do_without_spark(CancellationToken token)
    {
        string published = Consumer.Published(Consumer.Serving);
        Assert.That(published, Does.Exist, Consumer.Log);
        Assert.That(Directory.GetFiles(published, "*", SearchOption.AllDirectories).Select(Path.GetFileName), Has.None.EqualTo("xfn-spark"));
        Assert.That(Directory.GetFiles(Consumer.Published("framework-dependent"), "xfn-spark", SearchOption.AllDirectories), Is.Not.Empty, "it is nowhere; is this test still needed?");
        Assert.That(await Repository.RunAsync("/", Path.Combine(published, "Consumer"), [], token), Is.EqualTo("served"));
    }
}
