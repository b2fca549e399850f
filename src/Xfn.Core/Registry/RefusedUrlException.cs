namespace Xfn.Core.Registry;

/// <summary>A registry sent us where we do not go. Trying again changes nothing.</summary>
internal sealed class RefusedUrlException(string message) : Exception(message);
