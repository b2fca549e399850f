namespace Xfn.Image;

/// <summary>No image can be made; the message says of what and why.</summary>
internal sealed class ImageWriterException(string message) : Exception(message);
