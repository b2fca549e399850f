using System.Collections.Concurrent;
using Xfn.Core.Runs;

namespace Xfn.Core;

/// <content>Functions prepared ahead of their runs.</content>
public sealed partial class ContainerRunner
{
    private readonly ConcurrentDictionary<PreparedFunction, byte> _prepared = new();

    /// <summary>Pulls an image, and keeps containers of it ready for runs to come.</summary>
    /// <param name="request">The image, and how to run it. Its input must be empty: each run has its own. With the
    /// policy <see cref="ImagePullPolicy.Always"/> each run asks whether the reference has moved, and containers of an
    /// image that is not the newest any more are replaced.</param>
    /// <param name="options">How many containers wait, and for how long. Null, the default, for the defaults.</param>
    /// <param name="cancellationToken">Ends the preparation.</param>
    /// <returns>The function, when all its containers wait. It ends with the runner, or when it is disposed.</returns>
    /// <exception cref="ArgumentOutOfRangeException">An option is out of its range.</exception>
    /// <exception cref="InvalidRequestException">The runner has an OCI runtime of its own
    /// (<see cref="ContainerRunnerOptions.WithRuntime"/>): only xfn-spark prepares containers.</exception>
    /// <exception cref="XfnException">The function cannot be run so. The error is that of a run.</exception>
    /// <exception cref="ObjectDisposedException">The runner was disposed.</exception>
    public async Task<PreparedFunction> PrepareAsync(RunFunctionRequest request, PrepareOptions? options = null, CancellationToken cancellationToken = default)
    {
        CheckedRequest run = CheckedRequest.From(request, _settings);
        if (!request.Input.IsEmpty)
            throw new InvalidRequestException("cannot prepare a function with an input: each run has its own. Pass it to PreparedFunction.RunAsync.");
        if (_settings.Options.Runtime is { } runtime)
            throw new InvalidRequestException($"cannot prepare a function with OCI runtime '{runtime}': only xfn-spark prepares containers. Run the function unprepared, or name no runtime (option Runtime).");
        PrepareOptions wanted = (options ?? new PrepareOptions()).CheckedCopy();
        return await OperateAsync(
            async token =>
            {
                var containers = new PreparedContainers(run, wanted, _sandboxes, _images, _planner, _egresses, _settings.Options.TimeProvider);
                var function = new PreparedFunction(this, run, containers);
                _prepared.TryAdd(function, 0);
                try
                {
                    await containers.FillAsync(token).ConfigureAwait(false);
                    return function;
                }
                catch
                {
                    await function.DisposeAsync().ConfigureAwait(false);
                    throw;
                }
            },
            cancellationToken).ConfigureAwait(false);
    }

    internal void Forget(PreparedFunction function) => _prepared.TryRemove(function, out _);
}
