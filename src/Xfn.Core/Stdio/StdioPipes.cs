using System.IO.Pipes;
using Microsoft.Win32.SafeHandles;

namespace Xfn.Core;

/// <summary>Pipes for a function's standard streams, owned by its mapped root where that may be set, so that it can open <c>/dev/stdin</c> and its like anew.</summary>
/// <remarks>They are named pipes, because a process that is started by another program cannot be handed descriptors from here; their mode is 0666, for where the owner may
/// not be set, so they must lie in a directory that nobody else reaches. Reading and writing block no thread.</remarks>
public sealed class StdioPipes : IStdioPiper
{
    /// <inheritdoc/>
    /// <exception cref="IOException">A pipe could not be made or opened.</exception>
    public Stdio Create(string directory, uint uid, uint gid)
    {
        ArgumentException.ThrowIfNullOrEmpty(directory);
        return new Pipes(directory, uid, gid);
    }

    private sealed class Pipes : Stdio
    {
        private static readonly string[] Names = ["stdin", "stdout", "stderr"];

        private readonly string _directory;
        private readonly List<IDisposable> _streams = [];
        private SafePipeHandle? _reader;
        private bool _named = true;

        public Pipes(string directory, uint uid, uint gid)
        {
            _directory = directory;
            try
            {
                foreach (string name in Names)
                    Posix.MakeFifo(Path.Combine(directory, name));

                // A pipe can be opened for writing only while somebody reads it: until the function does, we do.
                _reader = Open("stdin", FileAccess.ReadWrite, uid, gid);
                Stdin = Stream("stdin", FileAccess.Write, uid, gid);
                Stdout = Stream("stdout", FileAccess.Read, uid, gid);
                Stderr = Stream("stderr", FileAccess.Read, uid, gid);
            }
            catch
            {
                Dispose();
                throw;
            }
        }

        public override Stream Stdin { get; }

        public override Stream Stdout { get; }

        public override Stream Stderr { get; }

        public override void Opened()
        {
            _reader?.Dispose();
            _reader = null;
            if (!_named)
                return;
            _named = false;
            foreach (string name in Names)
                File.Delete(Path.Combine(_directory, name));
        }

        protected override void Dispose(bool disposing)
        {
            foreach (IDisposable stream in _streams)
                stream.Dispose();
            Opened();
        }

        private AnonymousPipeClientStream Stream(string name, FileAccess access, uint uid, uint gid)
        {
            var stream = new AnonymousPipeClientStream(access == FileAccess.Read ? PipeDirection.In : PipeDirection.Out, Open(name, access, uid, gid));
            _streams.Add(stream);
            return stream;
        }

        private SafePipeHandle Open(string name, FileAccess access, uint uid, uint gid)
        {
            int fd = Posix.OpenNonBlocking(Path.Combine(_directory, name), access);

            // Allowed to root; anybody else relies on the mode.
            Posix.TryChangeOwner(fd, uid, gid);
            return new SafePipeHandle(fd, ownsHandle: true);
        }
    }
}
