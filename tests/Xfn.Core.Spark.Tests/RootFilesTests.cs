using Xfn.Core.Interop;
using Xfn.Core.Spark.Mounts;

namespace Xfn.Core.Spark.Tests;

/// <summary>Paths of a root are found whatever goes on in the machine besides.</summary>
internal sealed class RootFilesTests
{
    /// <summary>During renames the kernel refuses a path with <c>..</c> below a root, and asks for a retry.</summary>
    [Test, CancelAfter(60_000)]
    public async Task A_path_with_dots_is_found_while_files_are_renamed(CancellationToken token)
    {
        DirectoryInfo root = Directory.CreateTempSubdirectory("xfn-root-");
        try
        {
            root.CreateSubdirectory("a/b/c");
            File.CreateSymbolicLink(Path.Combine(root.FullName, "link"), "a/b/../b/../b/c/../..");
            string one = Path.Combine(root.FullName, "one"), other = Path.Combine(root.FullName, "other");
            await File.WriteAllTextAsync(one, "", token);
            using var stop = CancellationTokenSource.CreateLinkedTokenSource(token);
            Task renames = Task.Run(
                () =>
                {
                    for (; !stop.IsCancellationRequested; (one, other) = (other, one))
                        File.Move(one, other);
                },
                CancellationToken.None);
            int opened = Libc.open(root.FullName, Libc.O_PATH | Libc.O_CLOEXEC);
            for (int i = 0; i < 20_000 && !token.IsCancellationRequested; i++)
            {
                int found = RootFiles.Open(opened, "link/b/c");
                Assert.That(found, Is.Not.Negative, $"attempt {i}");
                _ = Libc.close(found);
            }

            _ = Libc.close(opened);
            await stop.CancelAsync();
            await renames.WaitAsync(token);
        }
        finally
        {
            root.Delete(recursive: true);
        }
    }
}
