namespace Xfn.Core;

/// <summary>The registry, or the cache under <see cref="ImagePullPolicy.Never"/>, does not have the image, or not for this platform.</summary>
public sealed class ImageNotFoundException : XfnException
{
    /// <summary>Makes the error.</summary>
    /// <param name="message">What failed and what to do about it.</param>
    /// <param name="innerException">The cause, if another error was.</param>
    public ImageNotFoundException(string message, Exception? innerException = null)
        : base(RunStage.Resolve, message, innerException)
    {
    }
}
