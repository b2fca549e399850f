namespace Xfn.Core.Composition;

/// <summary>Calls a function as its server does.</summary>
public static class CompositionFunctionExtensions
{
    /// <summary>Calls a function. A <see cref="FatalResultException"/> becomes an answer that desires what the request
    /// did, with a result of severity FATAL.</summary>
    /// <param name="function">The function.</param>
    /// <param name="request">What it is asked.</param>
    /// <param name="cancellationToken">Ends the call.</param>
    /// <returns>The function's answer.</returns>
    /// <exception cref="Exception">The function threw it.</exception>
    public static async Task<Protocol.RunFunctionResponse> AnswerAsync(this ICompositionFunction function, Protocol.RunFunctionRequest request, CancellationToken cancellationToken = default)
    {
        ArgumentNullException.ThrowIfNull(function);
        try
        {
            return await function.RunAsync(request, cancellationToken).ConfigureAwait(false);
        }
        catch (FatalResultException ex)
        {
            return request.ToResponse().Fatal(ex.Message);
        }
    }
}
