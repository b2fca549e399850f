using System.Text.Json.Nodes;

namespace Xfn.Core.Images.Tests;

/// <summary>Images of programs of this machine.</summary>
[CancelAfter(60_000)]
public class ProgramTests
{
    private TemporaryDirectory _directory = null!;

    private Layout Written => new(_directory["layout"]);

    [SetUp]
    public void MakeDirectory() => _directory = new TemporaryDirectory();

    [TearDown]
    public void DeleteDirectory() => _directory.Dispose();

    [Test]
    public async Task A_program_and_its_shared_libraries_run_in_a_root_that_holds_nothing_else(CancellationToken token)
    {
        Publish("/bin/cat");
        await WriteAsync(_directory["published"], token);
        string bundle = _directory["bundle"];
        Tool.Run("umoci", "unpack", "--rootless", "--image", _directory["layout"] + ":v1", bundle);

        Assert.That(Tool.Run("unshare", "--user", "--map-root-user", "chroot", bundle + "/rootfs", "/app/cat", "/app/note.txt"), Is.EqualTo("beside the program"));
        Assert.That(Written.Config(Written.Manifest("v1"))["config"]!["Entrypoint"]!.ToJsonString(), Is.EqualTo("""["/app/cat"]"""));
    }

    [Test]
    public async Task A_static_program_needs_no_libraries(CancellationToken token)
    {
        Publish("/bin/busybox");
        await WriteAsync(_directory["published"], token);
        ImageManifest manifest = Written.Manifest("v1");
        Assert.That(Written.Entries(manifest.Layers.Single()).Select(e => $"{e.Name} {Convert.ToString((int)e.Mode, 8)}"), Is.EqualTo((string[])["app/ 755", "app/busybox 755", "app/note.txt 644"]));
    }

    [Test]
    public async Task An_executable_that_is_named_goes_in_alone(CancellationToken token)
    {
        await WriteAsync(Publish("/bin/busybox"), token);
        Assert.That(Written.Entries(Written.Manifest("v1").Layers.Single()).Select(e => e.Name), Is.EqualTo((string[])["app/", "app/busybox"]));
    }

    [Test]
    public async Task On_a_base_a_program_has_the_bases_libraries(CancellationToken token)
    {
        await new ImageBuilder().AddFile(new LayerFile("base")).WriteToAsync($"oci:{_directory["layout"]}:base", cancellationToken: token);
        await new ImageBuilder().From($"oci:{_directory["layout"]}:base").AddProgram(Publish("/bin/cat")).WriteToAsync($"oci:{_directory["layout"]}:v1", cancellationToken: token);
        Assert.That(Written.Manifest("v1").Layers, Has.Count.EqualTo(2));
    }

    [Test]
    public void A_missing_library_of_the_program_is_named(CancellationToken token)
    {
        // A name of the same length that nobody has.
        File.WriteAllBytes(Publish("/bin/cat"), Renamed("/bin/cat", "libc.so.6\0"u8, "libq.so.6\0"u8));
        Assert.That(() => WriteAsync(_directory["published/cat"], token), Throws.TypeOf<XfnException>().With.Message.Contains("cannot find shared library 'libq.so.6'"));
        Assert.That(Directory.Exists(_directory["layout"]), Is.False);
    }

    [Test]
    public async Task A_missing_library_of_what_lies_beside_is_left_out_with_a_word(CancellationToken token)
    {
        Publish("/bin/cat");
        await File.WriteAllBytesAsync(_directory["published/module"], Renamed("/bin/cat", "libc.so.6\0"u8, "libq.so.6\0"u8), token);

        // Packages bring their native code for each machine.
        byte[] foreign = await File.ReadAllBytesAsync("/bin/cat", token);
        foreach ((byte machine, string identifier) in ((byte, string)[])[(183, "linux-arm64"), (40, "linux-arm")])
        {
            foreign[18] = machine;
            await File.WriteAllBytesAsync(Path.Combine(Directory.CreateDirectory(_directory[$"published/runtimes/{identifier}/native"]).FullName, "module"), foreign, token);
        }

        var log = new LogCollector();
        await new ImageBuilder(logger: log).AddProgram(_directory["published"]).WriteToAsync($"oci:{_directory["layout"]}:v1", cancellationToken: token);
        Assert.That(log.Text, Does.Contain("libq.so.6"));
    }

    [Test]
    public void A_program_of_another_machine_needs_a_base(CancellationToken token)
    {
        byte[] program = File.ReadAllBytes(Publish("/bin/cat"));
        program[18] = 183;
        File.WriteAllBytes(_directory["published/cat"], program);
        Assert.That(() => WriteAsync(_directory["published/cat"], token), Throws.TypeOf<XfnException>().With.Message.Contains("for linux/arm64 are not on this machine. Name a base"));
        Assert.That(() => new ImageBuilder().WithPlatform("linux/amd64").AddProgram(_directory["published/cat"]).WriteToAsync($"oci:{_directory["layout"]}", cancellationToken: token),
            Throws.TypeOf<XfnException>().With.Message.Contains("is for arm64"));
    }

    [Test]
    public void A_program_of_a_machine_that_nothing_here_runs_on_is_refused(CancellationToken token)
    {
        byte[] program = File.ReadAllBytes(Publish("/bin/cat"));
        program[18] = 40;
        File.WriteAllBytes(_directory["published/cat"], program);
        Assert.That(() => WriteAsync(_directory["published/cat"], token), Throws.TypeOf<XfnException>().With.Message.Contains("it is for ELF machine 40, expected 62 (x86-64) or 183 (AArch64)"));
    }

    [Test]
    public void A_directory_must_have_one_program(CancellationToken token)
    {
        Publish("/bin/cat");
        File.Copy("/bin/busybox", _directory["published/busybox"]);
        // The symbols of native code are no second one.
        File.Copy("/bin/cat", _directory["published/cat.dbg"]);
        Assert.That(() => WriteAsync(_directory["published"], token), Throws.TypeOf<XfnException>().With.Message.Contains("it has 2 programs (busybox, cat). Name one"));
        Assert.That(() => WriteAsync(Directory.CreateDirectory(_directory["empty"]).FullName, token), Throws.TypeOf<XfnException>().With.Message.Contains("there is no program in it"));
        File.WriteAllText(_directory["empty/fn.csproj"], "");
        Assert.That(() => WriteAsync(_directory["empty"], token), Throws.TypeOf<XfnException>().With.Message.Contains("it is a project").And.Message.Contains("-t:PublishFunction"));
    }

    [Test]
    public async Task A_program_that_needs_the_runtime_gets_it_or_is_refused(CancellationToken token)
    {
        // As dotnet publish writes it with UseAppHost=false.
        string assembly = typeof(ProgramTests).Assembly.Location;
        Directory.CreateDirectory(_directory["published"]);
        File.Copy(assembly, _directory["published/fn.dll"]);
        await File.WriteAllTextAsync(_directory["published/fn.runtimeconfig.json"], """{"runtimeOptions":{"framework":{"name":"Microsoft.NETCore.App","version":"10.0.0"},"configProperties":{"System.Globalization.Invariant":true}}}""", token);
        Assert.That(() => WriteAsync(_directory["published"], token), Throws.TypeOf<XfnException>().With.Message.Contains("it needs Microsoft.NETCore.App 10.0.0").And.Message.Contains("--self-contained"));

        await new ImageBuilder().AddProgram(_directory["published"]).AddDotnetRuntime().WriteToAsync($"oci:{_directory["layout"]}:v1", cancellationToken: token);
        ImageManifest manifest = Written.Manifest("v1");
        JsonNode config = Written.Config(manifest)["config"]!;
        Assert.That(config["Entrypoint"]!.ToJsonString(), Is.EqualTo("""["/usr/share/dotnet/dotnet","/app/fn.dll"]"""));
        Assert.That((string?)config["WorkingDir"], Is.EqualTo("/app"));
        Assert.That(manifest.Layers, Has.Count.EqualTo(3), "libraries, runtime, files");

        File.WriteAllText(_directory["published/fn.runtimeconfig.json"], """{"runtimeOptions":{"framework":{"name":"Microsoft.NETCore.App","version":"99.0.0"}}}""");
        Assert.That(() => new ImageBuilder().AddProgram(_directory["published"]).AddDotnetRuntime().WriteToAsync($"oci:{_directory["layout"]}:v1", cancellationToken: token), Throws.TypeOf<XfnException>().With.Message.Contains("has no Microsoft.NETCore.App 99.0.0"));
    }

    private Task<ImageReference> WriteAsync(string program, CancellationToken token) => new ImageBuilder().AddProgram(program).WriteToAsync($"oci:{_directory["layout"]}:v1", cancellationToken: token);

    private string Publish(string program)
    {
        Directory.CreateDirectory(_directory["published"]);
        File.Copy(program, _directory[$"published/{Path.GetFileName(program)}"]);
        File.WriteAllText(_directory["published/note.txt"], "beside the program");
        return _directory[$"published/{Path.GetFileName(program)}"];
    }

    private static byte[] Renamed(string program, ReadOnlySpan<byte> from, ReadOnlySpan<byte> to)
    {
        byte[] content = File.ReadAllBytes(program);
        to.CopyTo(content.AsSpan(content.AsSpan().IndexOf(from)));
        return content;
    }
}
