namespace Xfn.Core;

/// <summary>How far the writing of an image's layer has come.</summary>
/// <param name="layer">What the layer holds: <c>libraries</c>, <c>runtime</c>, <c>files</c>, <c>package</c>, or the
/// base's and its digest.</param>
/// <param name="phase">What is being done with it.</param>
/// <param name="bytes">How many bytes have come so far.</param>
/// <param name="totalBytes">How many bytes will come.</param>
public sealed class WriteProgress(string layer, WritePhase phase, long bytes, long totalBytes)
{
    /// <summary>What the layer holds: <c>libraries</c>, <c>runtime</c>, <c>files</c>, <c>package</c>, or the base's and
    /// its digest.</summary>
    public string Layer => layer;

    /// <summary>What is being done with it.</summary>
    public WritePhase Phase => phase;

    /// <summary>How many bytes of <see cref="TotalBytes"/> have come so far.</summary>
    public long Bytes => bytes;

    /// <summary>How many bytes will come: of files while they are packed, afterwards of the layer.</summary>
    public long TotalBytes => totalBytes;
}

/// <summary>What is being done with a layer.</summary>
public enum WritePhase
{
    /// <summary>Its files are read and compressed.</summary>
    Packing,

    /// <summary>It is written or pushed.</summary>
    Writing,

    /// <summary>It is where the image goes, and was there before: nothing was sent.</summary>
    Present,

    /// <summary>It is where the image goes.</summary>
    Done,
}
