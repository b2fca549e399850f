using System.Net.Sockets;
using Xfn.Core.Cache;
using Xfn.Core.Interop;

namespace Xfn.Core.Server;

/// <summary>The file of a Unix socket, which outlives a server that is killed.</summary>
internal sealed class SocketFile(string path, FileStream held) : IDisposable
{
    private const uint OthersMayWrite = 0b010_010;
    private const uint Sticky = 0b001_000_000_000;

    /// <summary>Sees that a socket can be bound at a path, and that nobody else does so meanwhile.</summary>
    /// <exception cref="IOException">Another server or file is there, or others may put something there.</exception>
    public static SocketFile Claim(string path)
    {
        string directory = Path.GetDirectoryName(path) ?? "/";
        try
        {
            if (!Directory.Exists(directory))
                Directory.CreateDirectory(directory, UnixFileMode.UserRead | UnixFileMode.UserWrite | UnixFileMode.UserExecute);
        }
        catch (Exception ex) when (ex is IOException or UnauthorizedAccessException)
        {
            throw new IOException($"cannot listen on '{path}': its directory cannot be made ({ex.Message.TrimEnd('.')}). Use a path in a directory that is this user's.", ex);
        }

        (uint owner, _, uint mode) = Posix.LookAt(new DirectoryInfo(directory).ResolveLinkTarget(returnFinalTarget: true)?.FullName ?? directory)
            ?? throw new IOException($"cannot listen on '{path}': its directory is not there. Make it.");
        if ((owner != 0 && owner != Posix.EffectiveUserId) || ((mode & OthersMayWrite) != 0 && (mode & Sticky) == 0))
            throw new IOException($"cannot listen on '{path}': others may write its directory, and so replace the socket. Use a directory of mode 0700 that is this user's.");

        // Without the lock two servers could both find a dead socket, and the later one remove the other's.
        FileStream held = FileLock.Try(path + ".lock") ?? throw Taken(path);
        try
        {
            switch (Posix.LookAt(path)?.Kind)
            {
                case null:
                    break;
                case UnixFileKind.Socket when !SomebodyListens(path):
                    File.Delete(path);
                    break;
                case UnixFileKind.Socket:
                    throw Taken(path);
                default:
                    throw new IOException($"cannot listen on '{path}': there is something that is no socket. Remove it, or use another path.");
            }

            return new SocketFile(path, held);
        }
        catch
        {
            held.Dispose();
            throw;
        }
    }

    public void Dispose()
    {
        File.Delete(path);
        File.Delete(path + ".lock");
        held.Dispose();
    }

    private static IOException Taken(string path) => new($"cannot listen on '{path}': another server does. Stop it, or use another path.");

    private static bool SomebodyListens(string path)
    {
        using var probe = new Socket(AddressFamily.Unix, SocketType.Stream, ProtocolType.Unspecified);
        try
        {
            probe.Connect(new UnixDomainSocketEndPoint(path));
            return true;
        }
        catch (SocketException ex) when (ex.SocketErrorCode == SocketError.ConnectionRefused)
        {
            return false;
        }
    }
}
