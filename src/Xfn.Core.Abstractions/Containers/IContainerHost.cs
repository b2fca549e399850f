namespace Xfn.Core;

/// <summary>Starts containers that live: servers, databases, programs that are asked again and again.</summary>
/// <remarks>Implementations are safe for concurrent use. What they started ends with them, and with the
/// process.</remarks>
public interface IContainerHost
{
    /// <summary>Pulls an image where the cache lacks it, starts a container of it, and waits until it is
    /// ready.</summary>
    /// <param name="request">The image, and how to run it.</param>
    /// <param name="cancellationToken">Ends the start; nothing is left of the container.</param>
    /// <returns>The container, which meets <see cref="ContainerRequest.Ready"/>. Disposal ends it.</returns>
    /// <exception cref="ContainerNotReadyException">It was not ready at the end of the time for that.</exception>
    /// <exception cref="ContainerEndedException">It ended before it was ready.</exception>
    /// <exception cref="InvalidRequestException">The request cannot be met as it stands; or the runner has an OCI
    /// runtime of its own (<c>WithRuntime</c>), which starts no containers that live.</exception>
    /// <exception cref="XfnException">The container could not be started; <see cref="XfnException.Stage"/> and the
    /// derived type say where and why.</exception>
    /// <exception cref="OperationCanceledException"><paramref name="cancellationToken"/> was cancelled.</exception>
    /// <exception cref="ArgumentNullException">The request, or its image, is null.</exception>
    /// <exception cref="ObjectDisposedException">The runner was disposed.</exception>
    Task<RunningContainer> StartAsync(ContainerRequest request, CancellationToken cancellationToken = default);
}
