using Xfn.Core.Interop;
using Xfn.Core.Namespaces;
namespace Xfn.Core.Preflight.Checks;

/// <summary>Without overlayfs every image is kept flattened: it works, and takes more disk and a longer first run.</summary>
internal static class OverlayCheck
{
    private const string Name = "overlayfs";
    private const string Wanted = "overlayfs can be mounted in a user namespace, over directories of the cache";

    public static async Task<EnvironmentCheck> CheckAsync(EnvironmentCheckOptions options, CancellationToken cancellationToken)
    {
        if (IdMappings.FindUnmappable(options.Files, ProcessStatus.Read(options.Files)) is not null)
            return EnvironmentChecker.Warning(Name, new EnvironmentDiagnosis("it could not be tried: that takes CAP_SETFCAP", "Run a function, or 'xfn doctor' with that capability."), Wanted);

        // The file system matters, so it is tried where the layers will be, or as near as there is a place.
        string place = Directory.Exists(options.CacheDirectory) && Posix.CanWrite(options.CacheDirectory) ? options.CacheDirectory : Path.GetTempPath();
        string directory = Path.Combine(place, $".xfn-check-{Path.GetRandomFileName()}");
        try
        {
            Directory.CreateDirectory(Path.Combine(directory, "upper"));
            Directory.CreateDirectory(Path.Combine(directory, "lower"));
            // Relative names, since the directory's own may hold what separates options.
            ProgramResult result = await Programs.RunAsync(
                "unshare",
                ["--user", "--map-root-user", "--mount", "sh", "-c", "cd -- \"$1\" && exec mount -t overlay overlay -o ro,userxattr,lowerdir=upper:lower upper", "sh", directory],
                cancellationToken).ConfigureAwait(false);
            if (result.ExitCode == 0)
                return EnvironmentChecker.Ok(Name, "it can be mounted", Wanted);
            EnvironmentDiagnosis diagnosis = EnvironmentDiagnosis.OfOverlay(result.Error.ReplaceLineEndings(" ").TrimEnd(), options.Files);
            return EnvironmentChecker.Warning(
                Name, diagnosis with { Found = $"{diagnosis.Found}; so images are kept flattened besides, which works and takes more disk and a longer first run" }, Wanted);
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            return EnvironmentChecker.Warning(Name, new EnvironmentDiagnosis($"it could not be tried: {e.Message}", "Make the cache directory writable."), Wanted);
        }
        finally
        {
            if (Directory.Exists(directory))
                Directory.Delete(directory, recursive: true);
        }
    }
}
