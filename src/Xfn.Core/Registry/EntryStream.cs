namespace Xfn.Core.Registry;

/// <summary>An entry's data; its disposal is the archive's.</summary>
internal sealed class EntryStream(Stream data, TarArchive archive) : ForwardStream
{
    public override ValueTask<int> ReadAsync(Memory<byte> buffer, CancellationToken cancellationToken = default) => data.ReadAsync(buffer, cancellationToken);

    public override int Read(byte[] buffer, int offset, int count) => data.Read(buffer, offset, count);

    protected override void Dispose(bool disposing)
    {
        if (disposing)
            archive.Dispose();
        base.Dispose(disposing);
    }
}
