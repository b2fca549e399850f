using System.Text.RegularExpressions;

namespace Xfn.Core.Images.Tests;

/// <summary>The examples of docs/images.md, as they stand there.</summary>
[CancelAfter(60_000), NonParallelizable]
public partial class ImagesGuideTests
{
    [Test]
    public async Task The_examples_make_images(CancellationToken token)
    {
        using var directory = new TemporaryDirectory();
        string before = Environment.CurrentDirectory;
        Environment.CurrentDirectory = directory.Path;
        try
        {
            Directory.CreateDirectory("out");
            Directory.CreateDirectory("site");
            Directory.CreateDirectory("package");
            File.Copy("/bin/busybox", "out/HelloFunction");
            await File.WriteAllTextAsync("site/index.html", "hello", token);
            await File.WriteAllTextAsync("package/crossplane.yaml", "kind: Function\n", token);
            await ImageBuilder.WriteIndexToAsync([BaseFor("linux/amd64"), BaseFor("linux/arm64")], "oci:images/base:v1", cancellationToken: token);

#pragma warning disable CA2016 // As the guide has them, without a token.
            var builder = new ImageBuilder()
                .AddProgram("out/HelloFunction")
                .WithUser("1000:1000")
                .WithEnvironment("GREETING", "hello")
                .WithLabel("org.opencontainers.image.source", "https://example.org/hello");
            ImageReference image = await builder.WriteToAsync("oci:images/hello:v1");
            Assert.That(image.ToString(), Does.StartWith($"oci:{directory["images/hello"]}:v1@sha256:"));

            ImageReference onBase = await new ImageBuilder()
                .From("oci:images/base:v1")
                .AddDirectory("site", "/srv/www")
                .AddFile(new LayerFile("etc/motd") { Content = "hello\n"u8.ToArray(), Mode = UnixFileMode.UserRead, Uid = 1000 })
                .WithEntrypoint("/bin/serve", "/srv/www")
                .WithPort(8080)
                .WriteToAsync("oci:images/site:v1");
            Assert.That(new Layout(directory["images/site"]).Manifest("v1").Layers, Has.Count.EqualTo(2), $"{onBase}");

            ImageBuilder For(string platform) =>
                new ImageBuilder().From("oci:images/base:v1").WithPlatform(platform).AddDirectory("site", "/srv/www");

            ImageReference both = await ImageBuilder.WriteIndexToAsync(
                [For("linux/amd64"), For("linux/arm64")], "oci:images/site:both");
            Assert.That(new Layout(directory["images/site"]).Index.Manifests.Single(m => m.Digest == both.Digest).MediaType, Is.EqualTo(MediaTypes.OciIndex));

            await builder.WithPackage("package").WriteToAsync("docker-archive:hello.xpkg");
#pragma warning restore CA2016
            Assert.That(File.Exists("hello.xpkg"), Is.True);
        }
        finally
        {
            Environment.CurrentDirectory = before;
        }

        static ImageBuilder BaseFor(string platform) => new ImageBuilder().WithPlatform(platform).AddFile(new LayerFile("base"));
    }

    [Test]
    public void The_examples_of_the_guide_are_those_above()
    {
        string root = SourceTree.Root();
        string[] tried = [.. File.ReadLines(Path.Combine(root, "tests/Xfn.Core.Images.Tests/ImagesGuideTests.cs")).Select(line => line.Trim())];
        string guide = File.ReadAllText(Path.Combine(root, "docs/images.md"));
        string[] shown = [.. Example().Matches(guide).SelectMany(example => example.Groups[1].Value.Split('\n')).Select(line => line.Trim()).Where(line => line.Length > 0)];
        Assert.That(shown, Has.Length.GreaterThan(15));
        Assert.That(shown.Except(tried), Is.Empty);
    }

    [GeneratedRegex("```csharp\n(.*?)```", RegexOptions.Singleline)]
    private static partial Regex Example();
}
