using Xfn.Core.Interop;

namespace Xfn.Core.Testing;

/// <summary>The base of scripts: this machine's busybox, under the names of its commands.</summary>
internal static class BusyboxImage
{
    /// <summary>Why it cannot be made here; null where it can.</summary>
    public static string? Lacks() => Executables.Find("busybox") is null
        ? "cannot make an image of busybox: there is no busybox on this machine. Install it (Debian and Ubuntu: busybox-static; Alpine, Arch, Fedora: busybox), or name a base image that has a shell."
        : null;

    /// <exception cref="XfnException">There is no busybox, or it does not say its commands.</exception>
    public static async Task AddToAsync(InMemoryImageFetcher images, string name, CancellationToken cancellationToken)
    {
        if (Lacks() is { } reason)
            throw new XfnException(reason);
        string busybox = Executables.Find("busybox")!;
        ProgramResult listed = await Programs.RunAsync(busybox, ["--list"], cancellationToken).ConfigureAwait(false);
        if (listed.ExitCode != 0)
            throw new XfnException($"cannot make an image of busybox: '{busybox} --list' exited with status {listed.ExitCode}: {listed.Error.TrimEnd()}. Install another busybox.");

        ImageBuilder image = new ImageBuilder().AddProgram(busybox, "/bin").WithEntrypoint().WithArguments("/bin/sh").WithWorkingDirectory("/").WithEnvironment("PATH", "/bin")
            .AddFile(Text("etc/passwd", "root:x:0:0:root:/:/bin/sh\nnobody:x:65534:65534:nobody:/:/bin/false\n"))
            .AddFile(Text("etc/group", "root:x:0:\nnobody:x:65534:\n"));
        foreach (string command in listed.Output.Split('\n', StringSplitOptions.RemoveEmptyEntries | StringSplitOptions.TrimEntries).Where(command => command != "busybox"))
            image.AddFile(new LayerFile($"bin/{command}") { SymbolicLink = "busybox" });
        await image.AddToAsync(images, name, cancellationToken).ConfigureAwait(false);
    }

    private static LayerFile Text(string path, string text) => new(path) { Content = System.Text.Encoding.UTF8.GetBytes(text), Mode = (UnixFileMode)0b110_100_100 };
}
