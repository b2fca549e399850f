using Xfn.Cli;

namespace Xfn.Core.Samples.Tests;

/// <summary><c>xfn build</c>.</summary>
[CancelAfter(120_000)]
public class BuildTests
{
    private TemporaryDirectory _directory = null!;

    [SetUp]
    public void MakeDirectory() => _directory = new TemporaryDirectory();

    [TearDown]
    public void DeleteDirectory() => _directory.Dispose();

    [Test]
    public async Task What_is_built_is_said_on_stdout_and_does_as_it_was_told(CancellationToken token)
    {
        await File.WriteAllTextAsync(_directory["note"], "a note", token);
        (int status, string output, string error) = await InvokeAsync(token, "build", "-t", $"oci:{_directory["layout"]}:v1", "-o", _directory["fn.xpkg"], "--package", _directory["note"], "--copy", $"{_directory["note"]}:/data/",
            "-e", "A=1", "--label", "l=2", "--expose", "80/udp", "-w", "/data", "-u", "7", "--entrypoint", "[\"/app/busybox\",\"sh\"]", "--health-cmd", "/check", "/bin/busybox", "--", "-c", "cat note");
        Assert.That(status, Is.Zero, error);
        Assert.That(output, Does.Match($@"\Aoci:{_directory["layout"]}:v1@sha256:[0-9a-f]{{64}}\ndocker-archive:{_directory["fn.xpkg"]}\n\z"));
        Assert.That(error, Does.Contain("files packing ").And.Contain("package done "));
        string config = Tool.Run("skopeo", "inspect", "--config", "--raw", $"oci:{_directory["layout"]}:v1");
        Assert.That(config, Does.Contain("""
            "config":{"User":"7","ExposedPorts":{"80/udp":{}},"Env":["A=1"],"Entrypoint":["/app/busybox","sh"],"Cmd":["-c","cat note"],"WorkingDir":"/data","Labels":{"l":"2",
            """.Trim()));
    }

    [TestCase("-t oci:x", "cannot make an image of nothing")]
    [TestCase("/bin/busybox", "cannot build an image that goes nowhere. Write where to: -t oci:images/fn:v1")]
    [TestCase("-t fn:v1 /bin/busybox", "it is a name in a registry. Add --push to push it")]
    [TestCase("-t oci:x -f Dockerfile", "cannot build 'Dockerfile': xfn executes none. Build it with 'buildah build'")]
    [TestCase("-t oci:x DIR", "Dockerfile': xfn executes none")]
    [TestCase("-t oci:x --copy a /bin/busybox", "expected SRC:DST")]
    [TestCase("-t oci:x --copy /none:/a /bin/busybox", "cannot add file '/none': there is no such file")]
    [TestCase("-t oci:x --expose x /bin/busybox", "expected PORT or PORT/udp")]
    [TestCase("-t oci:x --label a /bin/busybox", "Write a=VALUE")]
    [TestCase("-t oci:x --entrypoint [1] /bin/busybox", "it holds something else than texts")]
    [TestCase("-t oci:x --platform linux /bin/busybox", "expected OS/ARCHITECTURE[/VARIANT]")]
    [TestCase("-t oci:x --platform linux/amd64 /bin/busybox /bin/cat", "cannot use --platform with several programs")]
    [TestCase("-t oci:x /none", "cannot add program '/none'")]
    public async Task What_cannot_be_built_says_what_to_do(string arguments, string said, CancellationToken token)
    {
        await File.WriteAllTextAsync(_directory["Dockerfile"], "FROM scratch\n", token);
        (int status, _, string error) = await InvokeAsync(token, ["build", .. arguments.Replace("DIR", _directory.Path, StringComparison.Ordinal).Replace("oci:x", $"oci:{_directory["x"]}", StringComparison.Ordinal).Split(' ')]);
        Assert.That(status, Is.EqualTo(125));
        Assert.That(error, Does.StartWith("xfn: error: ").And.Contain(said));
        Assert.That(Directory.Exists(_directory["x"]), Is.False);
    }

    private static async Task<(int Status, string Output, string Error)> InvokeAsync(CancellationToken token, params string[] arguments)
    {
        using StringWriter output = new(), error = new();
        int status = await new CommandLine(_ => throw new InvalidOperationException()) { Output = output, Error = error }.InvokeAsync(arguments).WaitAsync(token);
        return (status, output.ToString(), error.ToString());
    }
}
