using System.Text.Json;

namespace Xfn.Core.Sources;

/// <summary>What a reference means in a layout: a manifest or index, with its media type unless only the digest is
/// known, and its content if it has no blob: index.json, or the entries of one name.</summary>
internal readonly record struct LayoutEntry(Digest Digest, string? MediaType, byte[]? Content = null);

/// <summary>Finds an image in the index.json of an OCI layout.</summary>
internal static class LayoutIndex
{
    private const string RefName = "org.opencontainers.image.ref.name";
    private const string ContainerdName = "io.containerd.image.name";

    public static LayoutEntry Find(ImageReference reference, byte[] indexJson)
    {
        ImageIndex index;
        try
        {
            index = OciJson.ParseIndex(indexJson);
        }
        catch (JsonException e)
        {
            throw new InvalidImageException(RunStage.Resolve, $"cannot read image '{reference}': index.json is no index: {e.Message}. Write the layout anew.", e);
        }

        if (!reference.Digest.IsEmpty)
            return new LayoutEntry(reference.Digest, index.Manifests.FirstOrDefault(d => d.Digest == reference.Digest)?.MediaType);

        IReadOnlyList<Descriptor> found = reference.Tag is { } wanted ? Named(index, wanted) : Unnamed(index);
        if (found.Count == 0)
        {
            throw new ImageNotFoundException(index.Manifests.Count == 0
                ? $"cannot find image '{reference}': the layout is empty. Copy an image into it."
                : $"cannot find image '{reference}': the layout has {Names(index.Manifests)}. {Remedy(reference, index.Manifests)}");
        }

        if (found.All(d => d.Digest == found[0].Digest))
            return new LayoutEntry(found[0].Digest, found[0].MediaType);
        if (found.Select(FullName).OfType<string>().Distinct(StringComparer.Ordinal).Count() > 1)
            throw new ImageNotFoundException($"cannot choose an image of '{reference}': the layout has {Names(found)}. {Remedy(reference, found)}");

        // One image for several platforms, written without an index of its own.
        byte[] content = found.Count == index.Manifests.Count ? indexJson : OciJson.Serialize(new ImageIndex { MediaType = MediaTypes.OciIndex, Manifests = found });
        return new LayoutEntry(Digest.Compute(content), MediaTypes.OciIndex, content);
    }

    /// <summary>Whether docker reads two names as one: <c>fn</c> is <c>docker.io/library/fn:latest</c>.</summary>
    public static bool IsSame(string? name, string wanted) => name is not null
        && (name == wanted
            || (ImageReference.TryParse(name, ImageReference.DefaultRegistry, out ImageReference? one, out _)
                && ImageReference.TryParse(wanted, ImageReference.DefaultRegistry, out ImageReference? other, out _) && one == other));

    /// <summary>A name's entries: by the specification's annotation, in which docker and BuildKit write only the tag,
    /// or by containerd's, in which they write the whole name.</summary>
    private static Descriptor[] Named(ImageIndex index, string wanted)
    {
        Descriptor[] Where(Func<Descriptor, bool> predicate) => [.. index.Manifests.Where(predicate)];
        Descriptor[] found = Where(d => Name(d, RefName) == wanted);
        if (found.Length == 0)
            found = Where(d => Name(d, ContainerdName) == wanted);
        return found.Length > 0 ? found : Where(d => IsSame(Name(d, ContainerdName), wanted) || IsSame(Name(d, RefName), wanted));
    }

    /// <summary>The entries meant without a name: those that have one, as signatures have none; else all.</summary>
    private static IReadOnlyList<Descriptor> Unnamed(ImageIndex index)
    {
        Descriptor[] named = [.. index.Manifests.Where(d => FullName(d) is not null)];
        return named.Length > 0 ? named : index.Manifests;
    }

    private static string? Name(Descriptor descriptor, string annotation) => descriptor.Annotations?.GetValueOrDefault(annotation) is { Length: > 0 } name ? name : null;

    private static string? FullName(Descriptor descriptor) => Name(descriptor, ContainerdName) ?? Name(descriptor, RefName);

    private static string Names(IEnumerable<Descriptor> manifests)
    {
        string[] names = [.. manifests.Select(FullName).OfType<string>().Distinct(StringComparer.Ordinal).Take(20)];
        return names.Length == 0 ? "no names" : "the names " + string.Join(", ", names.Select(n => $"'{n}'"));
    }

    private static string Remedy(ImageReference reference, IEnumerable<Descriptor> manifests) => manifests.Select(FullName).FirstOrDefault(n => n is not null) is { } name
        ? $"Name one of them: {reference.Transport}:{reference.Repository}:{name}."
        : $"Leave the name out: {reference.Transport}:{reference.Repository}.";
}
