using System.Buffers.Binary;
using System.Text.Json;

namespace Xfn.Core.Images.Programs;

/// <summary>A framework that a program of .NET needs, and the least version of it.</summary>
internal sealed record NeededFramework(string Name, string Version)
{
    public override string ToString() => $"{Name} {Version}";
}

/// <summary>What <c>PROGRAM.runtimeconfig.json</c> says.</summary>
/// <param name="Frameworks">The frameworks that it does not bring; none for a self-contained one.</param>
/// <param name="IsInvariant">Whether it does without the data of cultures.</param>
internal sealed record DotnetConfig(IReadOnlyList<NeededFramework> Frameworks, bool IsInvariant)
{
    /// <summary>What marks the place before which a program that is a single file keeps the offset of its
    /// bundle.</summary>
    /// <remarks><see href="https://github.com/dotnet/designs/blob/main/accepted/2020/single-file/bundler.md">
    /// Bundler</see>; the mark is the SHA-256 of ".net core bundle".</remarks>
    private static readonly byte[] BundleMark =
    [
        0x8b, 0x12, 0x02, 0xb9, 0x6a, 0x61, 0x20, 0x38, 0x72, 0x7b, 0x93, 0x02, 0x14, 0xd7, 0xa0, 0x32,
        0x13, 0xf5, 0xb9, 0xe6, 0xef, 0xae, 0x33, 0x18, 0xee, 0x3b, 0x2d, 0xce, 0x24, 0xb3, 0x6a, 0xae,
    ];

    /// <summary>Reads the file, or what a program that is a single file has of it; null for a program that is not of
    /// .NET, or that is native code.</summary>
    public static DotnetConfig? Of(string program)
    {
        string file = Path.ChangeExtension(program, null) + ".runtimeconfig.json";
        if (!program.EndsWith(".dll", StringComparison.Ordinal))
            file = program + ".runtimeconfig.json";
        try
        {
            return File.Exists(file) ? Parse(File.ReadAllBytes(file)) : InBundle(program) is { } bundled ? Parse(bundled) : null;
        }
        catch (JsonException e)
        {
            throw Fault.Of($"cannot read '{file}': {e.Message.TrimEnd('.')}. Publish the program again.", e);
        }
    }

    private static DotnetConfig Parse(byte[] json)
    {
        using JsonDocument document = JsonDocument.Parse(json, new JsonDocumentOptions { CommentHandling = JsonCommentHandling.Skip, AllowTrailingCommas = true });
        JsonElement options = document.RootElement.ValueKind == JsonValueKind.Object && document.RootElement.TryGetProperty("runtimeOptions", out JsonElement found) ? found : default;
        if (options.ValueKind != JsonValueKind.Object)
            return new DotnetConfig([], false);
        List<NeededFramework> frameworks = [];
        if (options.TryGetProperty("framework", out JsonElement one))
            frameworks.Add(Framework(one));
        if (options.TryGetProperty("frameworks", out JsonElement several))
            frameworks.AddRange(several.EnumerateArray().Select(Framework));
        bool isInvariant = options.TryGetProperty("configProperties", out JsonElement properties)
            && properties.TryGetProperty("System.Globalization.Invariant", out JsonElement invariant) && invariant.ValueKind == JsonValueKind.True;
        return new DotnetConfig(frameworks, isInvariant);
    }

    private static NeededFramework Framework(JsonElement element) =>
        new(element.GetProperty("name").GetString() ?? "", element.TryGetProperty("version", out JsonElement version) ? version.GetString() ?? "" : "");

    private static byte[]? InBundle(string program)
    {
        byte[] content = File.ReadAllBytes(program);
        int mark = content.AsSpan().IndexOf(BundleMark);
        long header = mark < 8 ? 0 : BinaryPrimitives.ReadInt64LittleEndian(content.AsSpan(mark - 8));
        if (header <= 0 || header >= content.Length - 64)
            return null;

        // Two numbers of the version, how many files there are, an identity with its length before it; then the places
        // and lengths of .deps.json and .runtimeconfig.json.
        ReadOnlySpan<byte> rest = content.AsSpan((int)header);
        uint major = BinaryPrimitives.ReadUInt32LittleEndian(rest);
        int identity = rest[12];
        if (major < 2 || identity > 127 || rest.Length < 13 + identity + 32)
            return null;
        ReadOnlySpan<byte> places = rest[(13 + identity)..];
        long offset = BinaryPrimitives.ReadInt64LittleEndian(places[16..]), length = BinaryPrimitives.ReadInt64LittleEndian(places[24..]);
        return offset > 0 && length > 0 && offset + length <= content.Length ? content.AsSpan((int)offset, (int)length).ToArray() : null;
    }
}
