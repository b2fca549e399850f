namespace Xfn.Core;

/// <summary>The request cannot be run as it stands: its image reference, a limit, or its timeout is not one.</summary>
public sealed class InvalidRequestException : XfnException
{
    /// <summary>Makes an error of the stage <see cref="RunStage.Validate"/>.</summary>
    /// <inheritdoc/>
    public InvalidRequestException(string message, Exception? innerException = null)
        : base(RunStage.Validate, message, innerException)
    {
    }
}

/// <summary>Too many runs wait already. It is transient: try again later.</summary>
public sealed class RunnerBusyException : XfnException
{
    /// <summary>Makes an error of the stage <see cref="RunStage.Queue"/>.</summary>
    /// <inheritdoc/>
    public RunnerBusyException(string message, Exception? innerException = null)
        : base(RunStage.Queue, message, innerException) => IsTransient = true;
}

/// <summary>The source of images does not have the image, or not for this platform; or the cache does not, under
/// <see cref="ImagePullPolicy.Never"/>.</summary>
public sealed class ImageNotFoundException : XfnException
{
    /// <summary>Makes an error of the stage <see cref="RunStage.Resolve"/>.</summary>
    /// <inheritdoc/>
    public ImageNotFoundException(string message, Exception? innerException = null)
        : base(RunStage.Resolve, message, innerException)
    {
    }
}

/// <summary>The registry refused the credentials, or wants some.</summary>
public sealed class UnauthorizedException : XfnException
{
    /// <summary>Makes an error of the stage <see cref="RunStage.Pull"/>.</summary>
    /// <inheritdoc/>
    public UnauthorizedException(string message, Exception? innerException = null)
        : base(RunStage.Pull, message, innerException)
    {
    }
}

/// <summary>The image is damaged, does not match its digests, or cannot be run: no entrypoint, an unknown media type, a
/// malformed layer.</summary>
public sealed class InvalidImageException : XfnException
{
    /// <summary>Makes an error of the stage <see cref="RunStage.Bundle"/>, as an <see cref="IBundleBuilder"/> finds
    /// one.</summary>
    /// <inheritdoc/>
    public InvalidImageException(string message, Exception? innerException = null)
        : base(RunStage.Bundle, message, innerException)
    {
    }

    /// <inheritdoc/>
    public InvalidImageException(RunStage stage, string message, Exception? innerException = null)
        : base(stage, message, innerException)
    {
    }
}

/// <summary>This machine or user cannot run containers as it is set up. The message says what is missing and how to get
/// it.</summary>
public sealed class ContainerEnvironmentException : XfnException
{
    /// <summary>Makes an error of the stage <see cref="RunStage.Spawn"/>, as an <see cref="INamespaceSpawner"/> or an
    /// <see cref="IStdioPiper"/> finds one.</summary>
    /// <inheritdoc/>
    public ContainerEnvironmentException(string message, Exception? innerException = null)
        : base(RunStage.Spawn, message, innerException)
    {
    }

    /// <inheritdoc/>
    public ContainerEnvironmentException(RunStage stage, string message, Exception? innerException = null)
        : base(stage, message, innerException)
    {
    }
}
