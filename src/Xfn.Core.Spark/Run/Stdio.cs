namespace Xfn.Core.Spark.Run;

/// <summary>The function's ends of its pipes.</summary>
internal readonly record struct Stdio(int Stdin, int Stdout, int Stderr)
{
    /// <summary>Opens the named pipes of the working directory. None of it waits: the runner holds the other ends.</summary>
    public static Stdio Open() => new(Open("stdin", Libc.O_RDONLY), Open("stdout", Libc.O_WRONLY), Open("stderr", Libc.O_WRONLY));

    public void Close()
    {
        Libc.close(Stdin);
        Libc.close(Stdout);
        Libc.close(Stderr);
    }

    private static int Open(string name, int flags)
    {
        int fd = Libc.open(name, flags | Libc.O_CLOEXEC, 0);
        return fd >= 0 ? fd : throw SparkException.FromErrno($"cannot open the function's {name}");
    }
}
