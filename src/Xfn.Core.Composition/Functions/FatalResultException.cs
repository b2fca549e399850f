namespace Xfn.Core.Composition;

/// <summary>What a function throws to answer with a result of severity FATAL: the pipeline ends, and its user reads the
/// message.</summary>
/// <remarks>For what the user can put right: an input, a resource that is not there. Any other exception is a fault of the
/// function's own; a gRPC server answers it with the status <c>Unknown</c>.</remarks>
/// <param name="message">What is wrong, in words for users.</param>
/// <param name="innerException">Its cause.</param>
public sealed class FatalResultException(string message, Exception? innerException = null) : Exception(message, innerException);
