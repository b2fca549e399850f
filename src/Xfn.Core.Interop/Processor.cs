using System.Runtime.InteropServices;

namespace Xfn.Core.Interop;

/// <summary>The processor that this process runs on, where one assembly serves all. xfn-spark is compiled for one, and
/// has that one's file by this name.</summary>
internal static class Processor
{
    public static int O_NOFOLLOW => RuntimeInformation.ProcessArchitecture == Architecture.Arm64 ? Arm64.O_NOFOLLOW : X64.O_NOFOLLOW;
}
