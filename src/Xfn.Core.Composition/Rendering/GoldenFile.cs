namespace Xfn.Core.Composition.Rendering;

/// <summary>The output of a render as it must be.</summary>
internal static class GoldenFile
{
    /// <summary>Compares, or writes the file.</summary>
    /// <exception cref="RenderException">They differ.</exception>
    public static async Task CompareAsync(string path, RenderResult result, CancellationToken cancellationToken)
    {
        string output = result.ToString();
        bool isWritten = Environment.GetEnvironmentVariable("XFN_UPDATE_GOLDEN") is "1" or "true";
        if (!isWritten && !File.Exists(path) && Environment.GetEnvironmentVariable("CI") is { Length: > 0 } and not "false")
            throw new RenderException(RenderFailure.Golden, $"cannot compare the output with '{path}': there is no such file, and CI is set, so it is not written. Run this once elsewhere, and add the file.") { Partial = result };
        if (isWritten || !File.Exists(path))
        {
            if (Path.GetDirectoryName(Path.GetFullPath(path)) is { } directory)
                Directory.CreateDirectory(directory);
            await File.WriteAllTextAsync(path, output, cancellationToken).ConfigureAwait(false);
            return;
        }

        string golden = await File.ReadAllTextAsync(path, cancellationToken).ConfigureAwait(false);
        if (golden != output)
            throw new RenderException(RenderFailure.Golden, $"the output differs from '{path}' ('-' is there, '+' was rendered). If the new output is right, set XFN_UPDATE_GOLDEN=1 and render again.\n{TextDifference.Of(golden, output)}") { Partial = result };
    }
}
