using Xfn.Core.Composition.Functions;

namespace Xfn.Core.Composition;

/// <summary>A function of before there were servers: each call is a run of its image, which reads a <c>FunctionIO</c>
/// document on stdin, and writes one to stdout.</summary>
/// <remarks>
/// <para>It gets its input as <c>config</c>, and what is observed and desired. The context passes it by.</para>
/// <para>Lost are: credentials, requirements, conditions and the time that an answer may be used again, which the document
/// has no place for; readiness checks, and connection details from field paths, which Crossplane evaluated. What earlier
/// steps said of a resource's readiness stays.</para>
/// <para>It does not dispose the runner.</para>
/// </remarks>
public sealed class RunOnceFunction : ICompositionFunction
{
    private readonly IContainerRunner _runner;
    private readonly RunFunctionRequest _run;

    /// <summary>Makes a function of an image.</summary>
    /// <param name="runner">What runs it.</param>
    /// <param name="image">The image's reference.</param>
    public RunOnceFunction(IContainerRunner runner, string image)
        : this(runner, new RunFunctionRequest { Image = image })
    {
    }

    /// <summary>Makes a function of a run of one's own description.</summary>
    /// <param name="runner">What runs it.</param>
    /// <param name="run">What is run. Its input is the call's.</param>
    public RunOnceFunction(IContainerRunner runner, RunFunctionRequest run)
    {
        ArgumentNullException.ThrowIfNull(runner);
        ArgumentNullException.ThrowIfNull(run);
        (_runner, _run) = (runner, run);
    }

    /// <summary>Runs the function.</summary>
    /// <param name="request">What it is asked.</param>
    /// <param name="cancellationToken">Ends the run.</param>
    /// <returns>The answer.</returns>
    /// <exception cref="FunctionCallException">What it wrote is no <c>FunctionIO</c>.</exception>
    /// <exception cref="XfnException">The run failed.</exception>
    /// <exception cref="OperationCanceledException"><paramref name="cancellationToken"/> was cancelled.</exception>
    public async Task<Protocol.RunFunctionResponse> RunAsync(Protocol.RunFunctionRequest request, CancellationToken cancellationToken = default)
    {
        ArgumentNullException.ThrowIfNull(request);
        byte[] input = FunctionIO.Write(request);
        RunFunctionResponse output = await _runner.RunFunctionAsync(_run with { Input = input }, cancellationToken).ConfigureAwait(false);
        try
        {
            return FunctionIO.Read(output.Output, request);
        }
        catch (InvalidDataException ex)
        {
            throw new FunctionCallException(FunctionCallFailure.InvalidResponse, $"cannot call function '{_run.Image}': its output is no FunctionIO: {ex.Message}", ex)
            {
                Function = _run.Image,
                LogTail = output.StderrTail,
            };
        }
    }
}
