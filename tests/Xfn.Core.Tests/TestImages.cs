namespace Xfn.Core.Tests;

/// <summary>A layout by umoci, once for all tests: v1, an image of two layers, and v2, configured otherwise.</summary>
internal static class TestImages
{
    private static readonly Lazy<TemporaryDirectory> Directory = new(Make);

    public static string Layout => Directory.Value["layout"];

    public static void Delete()
    {
        if (Directory.IsValueCreated)
            Directory.Value.Dispose();
    }

    private static TemporaryDirectory Make()
    {
        var directory = new TemporaryDirectory();
        string layout = directory["layout"];
        Tool.Run("umoci", "init", "--layout", layout);
        Tool.Run("umoci", "new", "--image", layout + ":v1");
        foreach ((string name, int size) in new[] { ("small", 3), ("large", 300_000) })
        {
            byte[] content = new byte[size];
            new Random(size).NextBytes(content);
            File.WriteAllBytes(directory[name], content);
            Tool.Run("umoci", "insert", "--image", layout + ":v1", directory[name], "/" + name);
        }

        Tool.Run("umoci", "config", "--image", layout + ":v1", "--config.entrypoint", "/small");
        Tool.Run("umoci", "tag", "--image", layout + ":v1", "v2");
        Tool.Run("umoci", "config", "--image", layout + ":v2", "--config.entrypoint", "/large");
        return directory;
    }
}

[SetUpFixture]
public class TestImagesCleanUp
{
    [OneTimeTearDown]
    public void Delete_the_images() => TestImages.Delete();
}
