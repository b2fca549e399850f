using Xfn.Core.Sources;

namespace Xfn.Cli;

/// <summary>Standard input whose reads can be given up: a function may end without reading all of it, and a read that
/// waits for a terminal cannot be cancelled.</summary>
internal sealed class StandardInput : ForwardStream
{
    private readonly Stream _console = Console.OpenStandardInput();

    // Its own, and not the caller's: a read that was given up may still come to write to it.
    private readonly byte[] _buffer = new byte[64 << 10];

    public override async ValueTask<int> ReadAsync(Memory<byte> buffer, CancellationToken cancellationToken = default)
    {
        int wanted = Math.Min(buffer.Length, _buffer.Length);
        int count = await Task.Run(() => _console.Read(_buffer, 0, wanted), cancellationToken).WaitAsync(cancellationToken);
        _buffer.AsMemory(0, count).CopyTo(buffer);
        return count;
    }

    public override int Read(byte[] buffer, int offset, int count) => _console.Read(buffer, offset, count);
}
