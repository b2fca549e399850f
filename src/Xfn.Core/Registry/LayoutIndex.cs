using System.Text.Json;

namespace Xfn.Core.Registry;

/// <summary>What a reference means in a layout.</summary>
/// <param name="Digest">Of the manifest or index.</param>
/// <param name="MediaType">As index.json has it; null when only the digest is known.</param>
/// <param name="IsIndexItself">Whether index.json is what was asked for.</param>
internal readonly record struct LayoutEntry(Digest Digest, string? MediaType, bool IsIndexItself);

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
            throw new InvalidImageException(RunStage.Resolve, $"cannot read image '{reference}': its index.json is no index ({e.Message}). Write the layout anew.", e);
        }

        if (!reference.Digest.IsEmpty)
            return new LayoutEntry(reference.Digest, index.Manifests.FirstOrDefault(d => d.Digest == reference.Digest)?.MediaType, false);

        if (reference.Tag is { } tag)
        {
            Descriptor? tagged = index.Manifests.FirstOrDefault(d => Name(d, RefName) == tag) ?? index.Manifests.FirstOrDefault(d => Name(d, ContainerdName) == tag);
            return tagged is not null
                ? new LayoutEntry(tagged.Digest, tagged.MediaType, false)
                : throw new ImageNotFoundException($"cannot find image '{reference}': the layout has {Names(index)}. Name one of them.");
        }

        return index.Manifests switch
        {
            [] => throw new ImageNotFoundException($"cannot find image '{reference}': the layout is empty. Copy an image into it."),
            [var only] => new LayoutEntry(only.Digest, only.MediaType, false),

            // One image for several platforms, written without an index of its own.
            var all when all.All(d => Name(d, RefName) is null) => new LayoutEntry(Digest.Compute(indexJson), MediaTypes.OciIndex, true),
            _ => throw new ImageNotFoundException($"cannot choose an image of '{reference}': the layout has {Names(index)}. Append one of them after a colon."),
        };
    }

    private static string? Name(Descriptor descriptor, string annotation) => descriptor.Annotations?.GetValueOrDefault(annotation);

    private static string Names(ImageIndex index)
    {
        string[] names = [.. index.Manifests.Select(d => Name(d, RefName)).OfType<string>().Take(20)];
        return names.Length == 0 ? "no names" : "the names " + string.Join(", ", names.Select(n => $"'{n}'"));
    }
}
