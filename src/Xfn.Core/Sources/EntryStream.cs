namespace Xfn.Core.Sources;

/// <summary>An entry's data.</summary>
/// <param name="data">The bytes.</param>
/// <param name="archive">What they are read from.</param>
/// <param name="ownsArchive">Whether the archive goes when this does.</param>
/// <exception cref="UnreadableArchiveException">The archive is damaged or cut off; of reads.</exception>
internal sealed class EntryStream(Stream data, TarArchive archive, bool ownsArchive) : ForwardStream
{
    public override async ValueTask<int> ReadAsync(Memory<byte> buffer, CancellationToken cancellationToken = default)
    {
        try
        {
            return await data.ReadAsync(buffer, cancellationToken).ConfigureAwait(false);
        }
        catch (Exception e) when (TarArchive.IsOfContent(e))
        {
            throw archive.Unreadable(e);
        }
    }

    public override int Read(byte[] buffer, int offset, int count)
    {
        try
        {
            return data.Read(buffer, offset, count);
        }
        catch (Exception e) when (TarArchive.IsOfContent(e))
        {
            throw archive.Unreadable(e);
        }
    }

    protected override void Dispose(bool disposing)
    {
        if (disposing && ownsArchive)
            archive.Dispose();
        base.Dispose(disposing);
    }
}
