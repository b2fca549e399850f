using System.Net;

namespace Xfn.Core;

/// <summary>A container that lives (<see cref="IContainerHost.StartAsync"/>). Disposal ends it.</summary>
/// <remarks>
/// <para>Safe for concurrent use. It ends with its runner, and with the process: nothing of it is left then.</para>
/// <para>It is an abstract class, not an interface, so that members can be added to it without breaking a stand-in that
/// a test derives from it.</para>
/// </remarks>
public abstract class RunningContainer : IAsyncDisposable
{
    /// <summary>The image, as the request named it.</summary>
    public abstract string Image { get; }

    /// <summary>The digest of the manifest that runs.</summary>
    public abstract Digest ImageDigest { get; }

    /// <summary>Ends when the container has, with all that it wrote in the logs. It never faults.</summary>
    public abstract Task<ContainerExit> Exited { get; }

    /// <summary>Written to, it is what the program reads on stdin; its disposal is the end of that, but for a terminal's.
    /// A write throws an <see cref="IOException"/> once the program reads no more.</summary>
    /// <exception cref="InvalidOperationException">The request asked neither for <see cref="ContainerStdio.Piped"/> nor
    /// for a terminal.</exception>
    public abstract Stream Stdin { get; }

    /// <summary>What the program writes to stdout, or to its terminal. It can be read to its end after the container has
    /// ended.</summary>
    /// <inheritdoc cref="Stdin" path="/exception"/>
    public abstract Stream Stdout { get; }

    /// <summary>Reads the logs, from the oldest line that is kept.</summary>
    /// <param name="follow">Whether to wait for further lines, until the container has ended. False, the default, ends
    /// with the newest line.</param>
    /// <param name="cancellationToken">Ends the reading.</param>
    /// <returns>The lines of stdout and stderr, in the order in which they came. A line is there when its line feed is,
    /// or the container has ended. A reader that is too slow misses lines, and is told how many
    /// (<see cref="LogLine.LostBefore"/>): the container never waits for it. They can be read after the container has
    /// ended, and after its disposal.</returns>
    public abstract IAsyncEnumerable<LogLine> ReadLogsAsync(bool follow = false, CancellationToken cancellationToken = default);

    /// <summary>Connects to a TCP port on the container's loopback: on 127.0.0.1, or where nobody listens there on ::1.
    /// No port of the machine's is used.</summary>
    /// <param name="port">The port, 1 to 65535.</param>
    /// <param name="cancellationToken">Ends the attempt.</param>
    /// <returns>The connection, the caller's to dispose. It is shut down when the container is stopped. UDP is not
    /// supported.</returns>
    /// <exception cref="IOException">The container refuses; the inner exception has the system's reason, and the
    /// message the ports on which it listens.</exception>
    /// <exception cref="ContainerEndedException">It has ended.</exception>
    /// <exception cref="ArgumentOutOfRangeException"><paramref name="port"/> is no port.</exception>
    public abstract Task<Stream> ConnectAsync(int port, CancellationToken cancellationToken = default);

    /// <summary>Makes a handler for HTTP and gRPC whose connections lead into the container. The port is that of the
    /// request's address; its host is only a name.</summary>
    /// <returns>The handler, the caller's to dispose. It uses no proxy of the environment, follows no redirect, keeps
    /// no cookie, and takes at most 64 KiB of headers: what a container answers is not to be trusted.</returns>
    public virtual SocketsHttpHandler CreateHandler() => new()
    {
        UseProxy = false,
        AllowAutoRedirect = false,
        UseCookies = false,
        MaxResponseHeadersLength = 64,
        EnableMultipleHttp2Connections = true,
        ConnectCallback = async (context, cancellationToken) => await ConnectAsync(context.DnsEndPoint.Port, cancellationToken).ConfigureAwait(false),
    };

    /// <summary>Makes a client whose requests go to a port of the container.</summary>
    /// <param name="port">The port, 1 to 65535.</param>
    /// <returns>The client, the caller's to dispose, with <c>http://localhost:PORT/</c> as base address, over
    /// <see cref="CreateHandler"/>. An answer that it holds in memory may have 64 MiB.</returns>
    /// <exception cref="ArgumentOutOfRangeException"><paramref name="port"/> is no port.</exception>
    public virtual HttpClient CreateHttpClient(int port) => new(CreateHandler(), disposeHandler: true)
    {
        BaseAddress = new UriBuilder(Uri.UriSchemeHttp, "localhost", Ready.CheckPort(port)).Uri,
        MaxResponseContentBufferSize = 64 << 20,
    };

    /// <summary>Opens a port on this machine's loopback that leads to one of the container's, for programs that need a
    /// port. It waits until a program in the container listens there, and is closed when the container is
    /// stopped.</summary>
    /// <param name="port">The container's port, 1 to 65535.</param>
    /// <param name="hostPort">The machine's port on 127.0.0.1, 1 to 65535; 0, the default, for one that is
    /// free.</param>
    /// <param name="cancellationToken">Ends the waiting.</param>
    /// <returns>Where it listens.</returns>
    /// <remarks><b>Every user and program of this machine may connect to it</b>, and is to the container's program a
    /// client like any other. <see cref="ConnectAsync"/> and <see cref="CreateHandler"/> open nothing to
    /// others.</remarks>
    /// <exception cref="IOException">The machine's port is taken.</exception>
    /// <exception cref="ContainerEndedException">The container has ended, or ended meanwhile.</exception>
    /// <exception cref="ArgumentOutOfRangeException">One of them is no port.</exception>
    public abstract Task<IPEndPoint> ForwardAsync(int port, int hostPort = 0, CancellationToken cancellationToken = default);

    /// <summary>Gives another container a name in this one: programs in this container that connect to that name and
    /// port reach a program in the other. Both stay as isolated as they are otherwise.</summary>
    /// <param name="name">The name, which <c>/etc/hosts</c> gets a line for: letters, digits, hyphens and
    /// dots.</param>
    /// <param name="port">The port that programs in this container connect to, 1 to 65535. It is taken on 127.0.0.1: no
    /// program of this container's can listen on it then, not on all addresses either.</param>
    /// <param name="target">The other container, which a runner of this process has started.</param>
    /// <param name="targetPort">The other's port, 1 to 65535. Null, the default, for the same.</param>
    /// <param name="cancellationToken">Ends it.</param>
    /// <returns>Ends when the link can be used. It goes with either container; connections to one that has ended are
    /// reset.</returns>
    /// <exception cref="IOException">The port is taken in this container, by a program or another link.</exception>
    /// <exception cref="ContainerEndedException">One of them has ended; <see cref="ContainerEndedException.Image"/>
    /// says which.</exception>
    /// <exception cref="InvalidRequestException">The name is none; this container has no network of its own; or it has
    /// an <c>/etc/hosts</c> of its own.</exception>
    /// <exception cref="ArgumentException"><paramref name="target"/> is no container of this process.</exception>
    /// <exception cref="ArgumentOutOfRangeException">One of them is no port.</exception>
    public abstract Task LinkAsync(string name, int port, RunningContainer target, int? targetPort = null, CancellationToken cancellationToken = default);

    /// <summary>Runs a further program in the container to its end, with all of the container's walls.</summary>
    /// <param name="arguments">The program and its arguments. A program without a slash is looked for in
    /// <c>PATH</c>.</param>
    /// <param name="options">How. Null, the default, for the container's user, environment and working
    /// directory.</param>
    /// <param name="cancellationToken">Ends it; the program is killed.</param>
    /// <returns>How it ended, whatever its exit status, and what it wrote.</returns>
    /// <exception cref="ExecException">The program is missing, ran longer than its time-out, or wrote too
    /// much.</exception>
    /// <exception cref="ContainerEndedException">The container has ended, or ended meanwhile.</exception>
    /// <exception cref="InvalidRequestException">An argument or option makes no sense.</exception>
    /// <exception cref="OperationCanceledException"><paramref name="cancellationToken"/> was cancelled.</exception>
    public abstract Task<ExecResult> ExecAsync(IReadOnlyList<string> arguments, ExecOptions? options = null, CancellationToken cancellationToken = default);

    /// <summary>Starts a further program in the container, and gives its streams.</summary>
    /// <param name="arguments">The program and its arguments.</param>
    /// <param name="options">How. Null, the default, for the container's user, environment and working
    /// directory.</param>
    /// <param name="cancellationToken">Ends the start, and nothing once the program was executed.</param>
    /// <returns>The program, which has been executed.</returns>
    /// <exception cref="ExecException">The program is missing.</exception>
    /// <inheritdoc cref="ExecAsync" path="/exception[@cref != 'T:Xfn.Core.ExecException']"/>
    public abstract Task<RunningProcess> StartExecAsync(IReadOnlyList<string> arguments, ExecOptions? options = null, CancellationToken cancellationToken = default);

    /// <summary>Writes a file in the container, as its user. Directories on the way are made.</summary>
    /// <param name="path">The file, an absolute path. Links on the way are followed, but never out of the container's
    /// root. A file that is there is replaced.</param>
    /// <param name="content">What it will hold.</param>
    /// <param name="mode">Its mode. Null, the default, for 0644.</param>
    /// <param name="cancellationToken">Ends it; the file may have been written in part.</param>
    /// <exception cref="IOException">The container refuses: its root is read-only there, a file system is full, its
    /// user may not write there.</exception>
    /// <exception cref="ContainerEndedException">It has ended, or ended meanwhile.</exception>
    /// <exception cref="InvalidRequestException">The path is not absolute, or names no file.</exception>
    public abstract Task CopyInAsync(string path, ReadOnlyMemory<byte> content, UnixFileMode? mode = null, CancellationToken cancellationToken = default);

    /// <summary>Copies a file or directory of this machine into the container, as its user. Links in a directory are
    /// copied as links; what is neither file, directory nor link is left out.</summary>
    /// <param name="source">The file or directory on this machine.</param>
    /// <param name="path">What it will be in the container, an absolute path. Directories on the way are made; what a
    /// directory holds is added to one that is there.</param>
    /// <param name="limits">How much may be copied. Null, the default, for the defaults.</param>
    /// <param name="cancellationToken">Ends it; a part may have been copied.</param>
    /// <returns>What was copied.</returns>
    /// <inheritdoc cref="CopyInAsync(string, ReadOnlyMemory{byte}, UnixFileMode?, CancellationToken)"
    /// path="/exception"/>
    public abstract Task<CopyReport> CopyInAsync(string source, string path, CopyLimits? limits = null, CancellationToken cancellationToken = default);

    /// <summary>Unpacks a tar archive in the container. Owners are those that the archive names, where the container's
    /// root may set them.</summary>
    /// <param name="tar">The archive, read to its end. It is not disposed.</param>
    /// <param name="directory">Where, an absolute path. It is made where it is missing.</param>
    /// <param name="limits">How much may be copied. Null, the default, for the defaults.</param>
    /// <param name="cancellationToken">Ends it; a part may have been copied.</param>
    /// <returns>What was copied.</returns>
    /// <inheritdoc cref="CopyInAsync(string, ReadOnlyMemory{byte}, UnixFileMode?, CancellationToken)"
    /// path="/exception"/>
    public abstract Task<CopyReport> CopyInAsync(Stream tar, string directory, CopyLimits? limits = null, CancellationToken cancellationToken = default);

    /// <summary>Copies a file or directory out of the container, as a tar archive.</summary>
    /// <param name="path">The file or directory, an absolute path. Links on the way are followed, but never out of the
    /// container's root.</param>
    /// <param name="limits">How much may be copied. Null, the default, for the defaults.</param>
    /// <param name="cancellationToken">Ends the start.</param>
    /// <returns>The archive, the caller's to read and dispose. Its names start with the last name of the path. Devices,
    /// FIFOs and sockets are left out, which the log says. A read throws an <see cref="IOException"/> where the copy
    /// failed: an archive that was read to its end is whole.</returns>
    /// <remarks>The container's programs decide what the archive holds. Do not unpack it with a program that follows
    /// its names or links out of a directory.</remarks>
    /// <exception cref="FileNotFoundException">There is nothing of that name.</exception>
    /// <inheritdoc cref="CopyInAsync(string, ReadOnlyMemory{byte}, UnixFileMode?, CancellationToken)"
    /// path="/exception"/>
    public abstract Task<Stream> CopyOutAsync(string path, CopyLimits? limits = null, CancellationToken cancellationToken = default);

    /// <summary>Reads a file of the container's.</summary>
    /// <param name="path">The file, an absolute path, as in <see cref="CopyOutAsync"/>.</param>
    /// <param name="maxBytes">How many bytes it may have. 16 MiB by default.</param>
    /// <param name="cancellationToken">Ends it.</param>
    /// <returns>What it holds.</returns>
    /// <exception cref="IOException">It is no file, has more bytes, or the container refuses.</exception>
    /// <exception cref="ArgumentOutOfRangeException"><paramref name="maxBytes"/> is negative.</exception>
    /// <inheritdoc cref="CopyOutAsync" path="/exception"/>
    public abstract Task<byte[]> ReadFileAsync(string path, int maxBytes = 16 << 20, CancellationToken cancellationToken = default);

    /// <summary>Looks at what the container uses; once it has ended, at what it has used.</summary>
    /// <exception cref="ContainerEnvironmentException">A limit that was asked for does not hold any more: who manages
    /// the machine's cgroups took the container's away.</exception>
    public abstract ContainerStatistics ReadStatistics();

    /// <summary>Gives the program's terminal another size.</summary>
    /// <param name="size">The size.</param>
    /// <exception cref="InvalidOperationException">The request did not ask for a terminal.</exception>
    /// <exception cref="ArgumentOutOfRangeException">It is no size of a terminal.</exception>
    public abstract void Resize(TerminalSize size);

    /// <summary>Sends a signal to the container's first process. Nothing happens when it has ended.</summary>
    /// <param name="signal">The signal's number, 1 to 64.</param>
    /// <exception cref="ArgumentOutOfRangeException">It is no signal.</exception>
    public abstract void Signal(int signal);

    /// <summary>Stops the container: sends its stop signal, waits, and kills it. What has ended stays as it
    /// is.</summary>
    /// <param name="grace">How long it may take to end after the signal, 0 to 1 hour; zero kills at once. Null, the
    /// default, for <see cref="ContainerRequest.StopGrace"/>. A first process that has no handler for the signal is
    /// killed at once: the kernel would withhold the signal from it.</param>
    /// <param name="cancellationToken">Ends the waiting, not the stop: the container is then killed.</param>
    /// <returns>How it ended.</returns>
    /// <exception cref="ArgumentOutOfRangeException"><paramref name="grace"/> is out of its range.</exception>
    public abstract Task<ContainerExit> StopAsync(TimeSpan? grace = null, CancellationToken cancellationToken = default);

    /// <summary>Stops the container (<see cref="StopAsync"/>), and waits until nothing of it is left but its
    /// logs.</summary>
    public abstract ValueTask DisposeAsync();
}
