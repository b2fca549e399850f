using System.Runtime.InteropServices;
using Xfn.Core.Interop;
using Xfn.Core.Namespaces;

namespace Xfn.Core.Preflight.Checks;

/// <summary>xfn-spark is built for Linux, and for one architecture so far.</summary>
internal static class PlatformCheck
{
    private const string Wanted = "Linux on x64, 5.10 or newer, 5.11 for overlayfs";

    public static EnvironmentCheck Check(SystemFiles files)
    {
        Architecture architecture = RuntimeInformation.ProcessArchitecture;
        string found = OperatingSystem.IsLinux() ? $"Linux {files.KernelRelease} on {architecture}" : $"{RuntimeInformation.OSDescription} on {architecture}";
        return OperatingSystem.IsLinux() && architecture == Architecture.X64
            ? EnvironmentChecker.Ok("platform", found, Wanted)
            : EnvironmentChecker.Failed("platform", new EnvironmentDiagnosis(found, "Run functions through an xfn server on such a machine."), Wanted);
    }
}
