using Xfn.Core.Composition.Pipelines;

namespace Xfn.Core.Composition;

/// <summary>Functions one after the other: each sees what there is and what those before it desire, and answers with what
/// is desired then.</summary>
/// <remarks>A function may require resources and schemas that it was not given. It is called again with those, and with
/// the context that it answered, until it requires what it did before: at most <see cref="MaxCalls"/> times.</remarks>
public static class Pipeline
{
    /// <summary>How often the function of a step is called, at most.</summary>
    public const int MaxCalls = 6;

    /// <summary>Runs a pipeline.</summary>
    /// <param name="request">The steps, and what they see.</param>
    /// <param name="cancellationToken">Ends it.</param>
    /// <returns>What the functions desire. Where one of them answered with a result of severity fatal, what there is until
    /// then, and that result (<see cref="PipelineResult.Fatal"/>).</returns>
    /// <exception cref="InvalidRequestException">A step has a function that is missing. Nothing was called.</exception>
    /// <exception cref="PipelineException">A function gave no answer, or its requirements did not settle; or credentials
    /// are missing.</exception>
    /// <exception cref="OperationCanceledException"><paramref name="cancellationToken"/> was cancelled.</exception>
    public static Task<PipelineResult> RunAsync(PipelineRequest request, CancellationToken cancellationToken = default)
    {
        ArgumentNullException.ThrowIfNull(request);
        foreach (PipelineStep step in request.Steps)
        {
            if (!request.Functions.ContainsKey(step.FunctionName))
                throw new InvalidRequestException($"cannot run step '{step.Name}': there is no function '{step.FunctionName}'. Add it to the functions.");
        }

        return new PipelineRun(request).RunAsync(cancellationToken);
    }
}
