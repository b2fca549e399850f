using System.CommandLine;
using System.CommandLine.Completions;
using Xfn.Core;

namespace Xfn.Cli;

/// <summary>The images of the cache, by what a person calls them.</summary>
internal static class CachedImages
{
    /// <summary>How many digits of a digest are shown, as docker shows them.</summary>
    public const int ShortHex = 12;

    /// <summary>The fewest digits by which an image is found.</summary>
    private const int FewestHex = 4;

    /// <summary>An argument IMAGE, of which shells complete what the cache has.</summary>
    public static Argument<string> Argument(GlobalOptions globals, RunnerOptions runner)
    {
        var argument = new Argument<string>("IMAGE") { Description = "The image, as docker names it, or oci:PATH[:TAG] for an OCI layout directory." };
        argument.CompletionSources.Add(context => Complete(context, globals, runner));
        return argument;
    }

    /// <summary>The names of the cache's images.</summary>
    public static IEnumerable<CompletionItem> Complete(CompletionContext context, GlobalOptions globals, RunnerOptions options)
    {
        // The help asks so for the few values that something takes, and has no command line. It would show the images in
        // the place of the argument's name.
        if (context.ParseResult.Tokens.Count == 0)
            return [];

        // A shell waits for this anyway.
        return Task.Run(ListAsync).GetAwaiter().GetResult().Where(image => image.Reference.Length > 0).Select(image => new CompletionItem(NameOf(image)));

        async Task<IReadOnlyList<CachedImage>> ListAsync()
        {
            await using ContainerRunner? runner = options.FindForCache(context.ParseResult, globals);
            return runner is null ? [] : await runner.GetImagesAsync();
        }
    }

    /// <summary>How an image is called: as short as it can be typed.</summary>
    public static string NameOf(CachedImage image)
    {
        const string registry = ImageReference.DefaultRegistry + "/", library = "library/";
        string name = image.Reference.StartsWith(registry, StringComparison.Ordinal) ? image.Reference[registry.Length..] : image.Reference;
        bool isOfficial = name.Length < image.Reference.Length && name.StartsWith(library, StringComparison.Ordinal) && name.IndexOf('/', library.Length) < 0;
        return isOfficial ? name[library.Length..] : name;
    }

    /// <summary>Finds images by a reference, a digest, or the first digits of one.</summary>
    /// <exception cref="ImageNotFoundException">There is none, or the digits are those of several.</exception>
    public static IReadOnlyList<CachedImage> Find(IReadOnlyList<CachedImage> images, string name, string? registry)
    {
        CachedImage[] found = ImageReference.TryParse(name, registry ?? ImageReference.DefaultRegistry, out ImageReference? reference, out _)
            ? [.. images.Where(image => image.Reference == reference.ToString())]
            : [];
        if (found.Length > 0)
            return found;

        string digits = name[(name.IndexOf(':') + 1)..];
        if (digits.Length >= FewestHex && digits.All(char.IsAsciiHexDigitLower) && name.Length - digits.Length is 0 or 7)
            found = [.. images.Where(image => name == digits ? image.Digest.Hex.StartsWith(digits, StringComparison.Ordinal) : $"{image.Digest}".StartsWith(name, StringComparison.Ordinal))];
        return found.DistinctBy(image => image.Digest).Count() switch
        {
            1 => found,
            0 => throw new ImageNotFoundException($"cannot find image '{name}' in the cache. 'xfn images' lists what is there."),
            _ => throw new ImageNotFoundException($"cannot tell which image '{name}' is: several begin so. Write more digits."),
        };
    }
}
