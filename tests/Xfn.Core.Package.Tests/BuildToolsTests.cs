namespace Xfn.Core.Package.Tests;

[CancelAfter(120_000)]
public class BuildToolsTests
{
    [Test]
    public async Task Without_clang_and_lld_the_build_says_in_one_line_what_to_install(CancellationToken token)
    {
        string path = Directory.CreateDirectory(Workspace.At("path")).FullName;
        foreach (string tool in Directory.GetFiles("/usr/bin").Where(file => Path.GetFileName(file) is var name && !name.Contains("clang") && !name.Contains("lld")))
            File.CreateSymbolicLink(Path.Combine(path, Path.GetFileName(tool)), tool);

        string output = await Repository.RunAsync(Repository.Root, "dotnet", ["build", "src/Xfn.Core", "--no-restore", "-t:CheckSparkTools"],
            token, expectedStatus: 1, environment: new() { ["PATH"] = path });
        string[] errors = [.. output.Split('\n').Where(line => line.Contains("error")).Select(line => line.Trim()).Distinct()];
        Assert.That(errors, Has.Length.EqualTo(1));
        Assert.That(errors[0], Does.Contain("cannot build xfn-spark: missing clang lld. Install with: apt-get install --no-install-recommends clang lld libc6-dev"));
    }
}
