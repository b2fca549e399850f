using System.Runtime.InteropServices;
using System.Runtime.Versioning;

namespace Xfn.Core.Interop;

/// <summary>The machines on which containers can be made: those that xfn-spark is built for.</summary>
internal static class HostPlatform
{
    /// <summary>A switch by which a test has Linux count as another system.</summary>
    private const string NotLinux = "Xfn.Core.NotLinux";

    public const string Wanted = "Linux on x64 or arm64";

    public static Architecture Processor => RuntimeInformation.ProcessArchitecture;

    /// <summary>Whether the calls of <see cref="Posix"/> can be made. What is reached through a runner asserts it: its
    /// constructor has asked.</summary>
    [SupportedOSPlatformGuard("linux")]
    public static bool IsLinux { get; } = OperatingSystem.IsLinux() && !(AppContext.TryGetSwitch(NotLinux, out bool isOn) && isOn);

    /// <summary>Whether this is one.</summary>
    [SupportedOSPlatformGuard("linux")]
    public static bool IsSupported => IsLinux && Processor is Architecture.X64 or Architecture.Arm64;

    /// <summary>What to do on another machine.</summary>
    public static string Remedy { get; } = "Run an xfn server "
        + (OperatingSystem.IsWindows() ? "in WSL 2, " : "") + (IsLinux ? "" : "in a virtual machine or container of Linux, or ")
        + "on another machine, and call it with RemoteContainerRunner.";

    /// <exception cref="ContainerEnvironmentException">It is another machine.</exception>
    public static void Require()
    {
        if (!IsSupported)
            throw new ContainerEnvironmentException(RunStage.Validate, $"cannot run containers on {RuntimeInformation.OSDescription} ({Processor}): expected {Wanted}. {Remedy}");
    }
}
