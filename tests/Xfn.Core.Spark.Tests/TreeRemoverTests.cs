using Xfn.Core.Interop;
using Xfn.Core.Spark.Files;
using Xfn.Core.Spark.Tests.Support;

namespace Xfn.Core.Spark.Tests;

internal sealed class TreeRemoverTests
{
    [Test]
    public void A_tree_of_20000_levels_is_removed()
    {
        using var sandbox = new Sandbox();
        int at = Directories.Open(sandbox.Root);
        for (int i = 0; i < 20_000; i++)
        {
            Assert.That(Libc.mkdirat(at, "d"u8, 0), Is.Zero);
            int next = Libc.openat(at, "d"u8, Libc.O_PATH | Processor.O_DIRECTORY | Libc.O_CLOEXEC);
            _ = Libc.close(at);
            at = next;
        }

        _ = Libc.close(at);
        Sandbox.Remove(sandbox["d"]);
        Assert.That(Directory.GetFileSystemEntries(sandbox.Root), Is.Empty);
    }

    [Test]
    public void Links_are_removed_and_not_what_they_point_to()
    {
        using var sandbox = new Sandbox();
        sandbox.Unpack(new TarBuilder().Directory("d/", 0).SymbolicLink("d/out", sandbox.Canary).SymbolicLink("d/file", sandbox.Canary + "/hello").Directory("d/e/", 0).File("d/e/f", "", 0).Fifo("d/p").SymbolicLink("top", sandbox.Canary).SymbolicLink("d/e/up", ".."));
        Sandbox.Remove(sandbox["d"]);
        Sandbox.Remove(sandbox["top"]);
        Sandbox.Remove(sandbox["missing"]);
        Assert.That(Directory.GetFileSystemEntries(sandbox.Root), Is.Empty);
        sandbox.AssertNothingOutsideChanged();
    }

    [Test]
    public void A_directory_with_thousands_of_names_is_removed()
    {
        using var sandbox = new Sandbox();
        for (int i = 0; i < 5000; i++)
            Directory.CreateDirectory(sandbox[$"d/{i}/sub"]);
        Sandbox.Remove(sandbox["d"]);
        Assert.That(Directory.GetFileSystemEntries(sandbox.Root), Is.Empty);
    }
}
