namespace HelloFunction;

/// <summary>The input is no FunctionIO document, or not one this function can work with.</summary>
internal sealed class FunctionIOException(string message, Exception? innerException = null) : Exception(message, innerException);
