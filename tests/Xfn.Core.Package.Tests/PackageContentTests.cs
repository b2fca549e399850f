using System.IO.Compression;
using System.Text.RegularExpressions;
using System.Xml.Linq;

namespace Xfn.Core.Package.Tests;

public class PackageContentTests
{
    [TestCase("Xfn.Core")]
    [TestCase("Xfn.Core.Abstractions")]
    [TestCase("Xfn.Core.Composition")]
    [TestCase("Xfn.Core.Hosting")]
    [TestCase("Xfn.Core.Images")]
    [TestCase("Xfn.Core.Server")]
    [TestCase("Xfn.Core.Testing")]
    public void A_package_says_what_it_is_and_where_it_comes_from(string name)
    {
        using ZipArchive package = Open(name, "nupkg");
        XElement metadata = XDocument.Load(package.GetEntry(name + ".nuspec")!.Open()).Root!.Elements().Single();
        string Value(string element) => metadata.Elements().Single(e => e.Name.LocalName == element).Value;

        Assert.That(Value("license"), Is.EqualTo("Apache-2.0"));
        Assert.That(Value("readme"), Is.EqualTo("README.md"));
        Assert.That(Value("description"), Is.Not.Empty);
        Assert.That(metadata.Elements().Single(e => e.Name.LocalName == "repository").Attribute("commit")?.Value, Does.Match("^[0-9a-f]{40}$"));

        // Beside it on a package's page there is nothing that a link could lead to.
        string readme = Read(package, "README.md");
        Assert.That(readme, Does.Not.Match(@"\]\((?!https?:)"));

        // All else is as it was written: what writes it would make slashes of backslashes.
        Assert.That(WithoutLinks(readme), Is.EqualTo(WithoutLinks(File.ReadAllText(Path.Combine(Repository.Root, "README.md")))));

        static string WithoutLinks(string text) => Regex.Replace(text, @"\[([^\]]+)\]\([^)]+\)", "$1").TrimEnd();
    }

    [TestCase("Xfn.Core")]
    [TestCase("Xfn.Core.Abstractions")]
    [TestCase("Xfn.Core.Composition")]
    [TestCase("Xfn.Core.Hosting")]
    [TestCase("Xfn.Core.Images")]
    [TestCase("Xfn.Core.Server")]
    [TestCase("Xfn.Core.Testing")]
    public void A_package_has_its_library_documentation_and_symbols(string name)
    {
        using ZipArchive package = Open(name, "nupkg");
        Assert.That(package.Entries.Select(e => e.FullName), Is.SupersetOf((string[])[$"lib/net10.0/{name}.dll", $"lib/net10.0/{name}.xml"]));
        using ZipArchive symbols = Open(name, "snupkg");
        Assert.That(symbols.Entries.Select(e => e.FullName), Does.Contain($"lib/net10.0/{name}.pdb"));
    }

    [Test]
    public void Only_the_runner_brings_spark_and_none_brings_anything_else_that_runs()
    {
        using ZipArchive runner = Open("Xfn.Core", "nupkg");
        Assert.That(NotManaged(runner), Is.EqualTo("runtimes/linux-arm64/native/xfn-spark runtimes/linux-x64/native/xfn-spark"));
        foreach (string name in new[] { "Xfn.Core.Abstractions", "Xfn.Core.Composition", "Xfn.Core.Hosting", "Xfn.Core.Images", "Xfn.Core.Server", "Xfn.Core.Testing" })
        {
            using ZipArchive package = Open(name, "nupkg");
            Assert.That(NotManaged(package), Is.Empty, name);
        }

        // That of images has MSBuild's task besides.
        static string NotManaged(ZipArchive package) => string.Join(' ', package.Entries.Select(e => e.FullName)
            .Where(path => !new[] { "lib/", "tools/", "build/", "buildTransitive/", "protos/", "_rels/", "package/" }.Any(folder => path.StartsWith(folder, StringComparison.Ordinal))
                && Path.GetExtension(path) is not (".nuspec" or ".md" or ".xml")).Order(StringComparer.Ordinal));
    }

    [Test]
    public void The_server_brings_its_messages_for_other_languages_and_hosting_the_schema_of_its_configuration()
    {
        using ZipArchive server = Open("Xfn.Core.Server", "nupkg"), hosting = Open("Xfn.Core.Hosting", "nupkg");
        Assert.That(server.Entries.Select(e => e.FullName), Is.SupersetOf((string[])["protos/run.proto", "protos/run_function.proto"]));
        Assert.That(Read(hosting, "buildTransitive/Xfn.Core.Hosting.targets"), Does.Contain("\"$(MSBuildThisFileDirectory)ConfigurationSchema.json\""));
        Assert.That(Read(hosting, "buildTransitive/ConfigurationSchema.json"), Does.StartWith("{").And.Contain("\"CacheDirectory\""));
    }

    [TestCase("linux-x64", 0x3e)]
    [TestCase("linux-arm64", 0xb7)]
    public void Each_spark_is_a_static_program_of_its_processor_for_pages_of_all_sizes(string identifier, int machine)
    {
        using ZipArchive runner = Open("Xfn.Core", "nupkg");
        byte[] spark = new byte[64 << 10];
        using (Stream stream = runner.GetEntry($"runtimes/{identifier}/native/xfn-spark")!.Open())
            stream.ReadExactly(spark);
        Assert.That((int)BitConverter.ToUInt16(spark, 18), Is.EqualTo(machine));

        // The program headers begin behind the ELF header, and have 56 bytes each.
        (uint Kind, long Align)[] headers = [.. Enumerable.Range(0, BitConverter.ToUInt16(spark, 56))
            .Select(i => 64 + i * 56).Select(at => (BitConverter.ToUInt32(spark, at), BitConverter.ToInt64(spark, at + 48)))];
        const uint load = 1, interpreter = 3;
        Assert.That(headers.Select(header => header.Kind), Does.Not.Contain(interpreter));

        // Only arm64 has kernels with larger pages than 4 KiB: of 16 and 64.
        Assert.That(headers.Where(header => header.Kind == load).Select(header => header.Align), Is.All.EqualTo(machine == 0xb7 ? 0x10000 : 0x1000));
    }

    [Test]
    public void No_library_but_the_server_brings_ASP_NET_Core_or_OpenTelemetry()
    {
        foreach (string name in new[] { "Xfn.Core.Abstractions", "Xfn.Core", "Xfn.Core.Composition", "Xfn.Core.Hosting", "Xfn.Core.Images", "Xfn.Core.Testing" })
        {
            using ZipArchive package = Open(name, "nupkg");
            string specification = Read(package, name + ".nuspec");
            Assert.That(specification, Does.Not.Contain("AspNetCore").And.Not.Contain("OpenTelemetry"), name);
        }
    }

    [Test, CancelAfter(60_000)]
    public async Task Spark_starts_in_a_root_that_holds_nothing_else(CancellationToken token)
    {
        string root = Directory.CreateDirectory(Workspace.At("root")).FullName;
        using (ZipArchive package = Open("Xfn.Core", "nupkg"))
            package.GetEntry($"runtimes/{Consumer.OwnIdentifier}/native/xfn-spark")!.ExtractToFile(Path.Combine(root, "xfn-spark"));
        await Repository.RunAsync(root, "chmod", ["755", "xfn-spark"], token);

        // Spark says that it has no /proc to find itself in, by code that a dynamic program would never have reached.
        string output = await Repository.RunAsync("/", "unshare", ["--user", "--map-root-user", "chroot", root, "/xfn-spark"],
            token, expectedStatus: 1);
        Assert.That(output, Does.Contain("cannot read /proc/self"));
    }

    private static ZipArchive Open(string name, string extension) => ZipFile.OpenRead(Path.Combine(Workspace.Feed, $"{name}.{Workspace.Version}.{extension}"));

    private static string Read(ZipArchive package, string entry)
    {
        using var reader = new StreamReader(package.GetEntry(entry)!.Open());
        return reader.ReadToEnd();
    }
}
