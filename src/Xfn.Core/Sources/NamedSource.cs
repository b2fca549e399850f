namespace Xfn.Core.Sources;

/// <summary>Names of sources, as <see cref="IImageFetcher.SourceOf"/> gives them.</summary>
internal static class NamedSource
{
    /// <summary>The source that the reference names: a registry by its host, a file or directory by path.</summary>
    public const string Itself = "itself";
}
