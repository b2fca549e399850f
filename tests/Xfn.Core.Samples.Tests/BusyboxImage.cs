namespace Xfn.Core.Samples.Tests;

/// <summary>A directory of a test's own, with images whose functions are shell scripts.</summary>
internal sealed class BusyboxImage : IDisposable
{
    public string Directory { get; } = System.IO.Directory.CreateTempSubdirectory("xfn-sample-").FullName;

    /// <summary>Where a runner may keep what it pulls.</summary>
    public string Cache => Path.Combine(Directory, "cache");

    /// <summary>Writes an image.</summary>
    /// <returns>A reference to it.</returns>
    public string Write(string script)
    {
        string program = Path.Combine(System.IO.Directory.CreateDirectory(Path.Combine(Directory, "published")).FullName, "busybox");
        File.Copy("/bin/busybox", program, overwrite: true);
        string layout = Path.Combine(Directory, "layout");
        ImageReference written = new ImageBuilder().AddProgram(program).WithEntrypoint("/app/busybox", "sh", "-c", script).WriteToAsync($"oci:{layout}:v1").GetAwaiter().GetResult();
        return $"oci:{layout}@{written.Digest}";
    }

    public void Dispose()
    {
        // What was unpacked may belong to subordinate ids, which only root of a user namespace may delete.
        if (System.IO.Directory.Exists(Cache) && !Environment.IsPrivilegedProcess)
            Tool.Run("unshare", "--user", "--map-root-user", "--map-auto", "rm", "-rf", Cache);
        System.IO.Directory.Delete(Directory, recursive: true);
    }
}
