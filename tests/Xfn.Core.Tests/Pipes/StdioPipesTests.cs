using Microsoft.Win32.SafeHandles;
using Xfn.Core.Interop;

namespace Xfn.Core.Tests.Pipes;

/// <summary>What a process says of its pipes is looked at before it is used.</summary>
internal sealed class StdioPipesTests
{
    [Test]
    public void What_is_no_pipe_is_refused_and_keeps_its_owner()
    {
        string path = Path.GetTempFileName();
        try
        {
            using SafeFileHandle file = File.OpenHandle(path, FileMode.Open, FileAccess.ReadWrite);
            int descriptor = (int)file.DangerousGetHandle();
            Assert.That(
                () => new StdioPipes().Open(new StdioDescriptors { ProcessId = Environment.ProcessId, Stdin = descriptor, Stdout = descriptor, Stderr = descriptor, Uid = 12345, Gid = 12345 }),
                Throws.InstanceOf<ContainerEnvironmentException>().With.Message.Contains($"/proc/{Environment.ProcessId}/fd/{descriptor}': it is no pipe"));
            Assert.That(Posix.OwnerOf(path), Is.EqualTo(Posix.EffectiveUserId));
        }
        finally
        {
            File.Delete(path);
        }
    }
}
