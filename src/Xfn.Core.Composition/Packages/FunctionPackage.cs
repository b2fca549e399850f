using Google.Protobuf.WellKnownTypes;
using Xfn.Core.Composition.Packages;

namespace Xfn.Core.Composition;

/// <summary>What the package of a function says of it: the <c>package.yaml</c> in its image.</summary>
/// <remarks>It is looked for in the layer that is annotated or labelled <c>io.crossplane.xpkg: base</c>, and where there is
/// no such layer in all of them. Nothing is unpacked.</remarks>
public sealed class FunctionPackage
{
    private const string XpkgSuffix = ".xpkg";

    /// <summary>The function's name.</summary>
    public required string Name { get; init; }

    /// <summary>What the function is for, such as <c>composition</c> or <c>operation</c>. Empty where it does not say:
    /// compositions.</summary>
    public IReadOnlyList<string> Capabilities { get; init; } = [];

    /// <summary>The versions of Crossplane that it works with, such as <c>&gt;=v1.14.0</c>. Null where it does not
    /// say.</summary>
    public string? CrossplaneConstraint { get; init; }

    /// <summary>The packages that it depends on. None by default.</summary>
    public IReadOnlyList<PackageDependency> Dependencies { get; init; } = [];

    /// <summary>The kinds of its input, each version by itself. None where the package has no schema.</summary>
    public IReadOnlyList<FunctionInputSchema> Inputs { get; init; } = [];

    /// <summary>The annotations of the package, such as <c>meta.crossplane.io/description</c>.</summary>
    public IReadOnlyDictionary<string, string> Annotations { get; init; } = new Dictionary<string, string>();

    /// <summary>Reads the package in an image.</summary>
    /// <param name="image">The image's reference, or the name of a file that ends in <c>.xpkg</c>.</param>
    /// <param name="fetcher">Gets it. Null, the default, for a <see cref="DefaultImageFetcher"/>.</param>
    /// <param name="auth">Credentials for the registry. Null, the default, for those of this user.</param>
    /// <param name="cancellationToken">Ends it.</param>
    /// <returns>The package. Null where the image has none.</returns>
    /// <exception cref="InvalidImageException">The image is damaged; or its <c>package.yaml</c> is none of a function, or
    /// has more than 16 MiB.</exception>
    /// <exception cref="XfnException">The image could not be had.</exception>
    /// <exception cref="OperationCanceledException"><paramref name="cancellationToken"/> was cancelled.</exception>
    public static async Task<FunctionPackage?> ReadAsync(string image, IImageFetcher? fetcher = null, ImagePullAuth? auth = null, CancellationToken cancellationToken = default)
    {
        ArgumentException.ThrowIfNullOrWhiteSpace(image);
        ImageReference reference = ImageReference.Parse(image.EndsWith(XpkgSuffix, StringComparison.OrdinalIgnoreCase) ? $"docker-archive:{image}" : image);
        using DefaultImageFetcher? own = fetcher is null ? new DefaultImageFetcher() : null;
        var layers = new PackageLayers(fetcher ?? own!, reference, new FetchContext { Auth = auth });
        return await layers.ReadAsync(cancellationToken).ConfigureAwait(false) is { } yaml ? PackageDocument.Read(yaml, reference.ToString()) : null;
    }

    /// <summary>Compares an input with the schema of its kind.</summary>
    /// <param name="input">The input of a step. Null for none.</param>
    /// <returns>What is wrong with it, at most 20 things. Empty where nothing is, or where the package has no
    /// schema.</returns>
    /// <remarks>Looked at are <c>type</c>, <c>nullable</c>, <c>properties</c>, <c>required</c>, <c>additionalProperties</c>,
    /// <c>items</c>, <c>enum</c>, <c>pattern</c>, the least and the most of numbers, lengths and counts, <c>multipleOf</c>,
    /// <c>uniqueItems</c>, <c>oneOf</c>, <c>anyOf</c>, <c>allOf</c>, <c>not</c>, <c>x-kubernetes-int-or-string</c>,
    /// <c>x-kubernetes-preserve-unknown-fields</c> and <c>x-kubernetes-embedded-resource</c>. Not looked at are
    /// <c>format</c> and rules in CEL (<c>x-kubernetes-validations</c>).</remarks>
    public IReadOnlyList<InputProblem> CheckInput(Struct? input) => input is null || Inputs.Count == 0 ? [] : InputCheck.Check(this, input);
}

/// <summary>A package that a function depends on.</summary>
/// <param name="Kind">What it is: <c>Function</c>, <c>Provider</c>, <c>Configuration</c>.</param>
/// <param name="Package">Its image, without a tag.</param>
/// <param name="Version">Its versions, such as <c>&gt;=v0.1.0</c>. Empty where the package does not say.</param>
public sealed record PackageDependency(string Kind, string Package, string Version);

/// <summary>The schema of one version of a kind of input.</summary>
/// <param name="ApiVersion">Its group and version.</param>
/// <param name="Kind">Its kind.</param>
/// <param name="Schema">Its OpenAPI v3 schema, as resource definitions have it.</param>
public sealed record FunctionInputSchema(string ApiVersion, string Kind, Struct Schema);

/// <summary>Something that is wrong with an input.</summary>
/// <param name="Field">The field: <c>resources[0].name</c>. Empty for the input as a whole.</param>
/// <param name="Found">What was found, and what was expected.</param>
public sealed record InputProblem(string Field, string Found)
{
    /// <summary>The line of the field, or of the object that lacks it, from 1. Null where the input was not read from a
    /// file.</summary>
    public int? Line { get; init; }

    /// <summary>Writes <c>line 12: field 'resources[0].name': it is missing</c>.</summary>
    public override string ToString() => $"{(Line is { } line ? $"line {line}: " : "")}{(Field.Length > 0 ? $"field '{Field}': " : "")}{Found}";
}
