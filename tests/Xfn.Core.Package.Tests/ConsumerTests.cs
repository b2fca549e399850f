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
}
