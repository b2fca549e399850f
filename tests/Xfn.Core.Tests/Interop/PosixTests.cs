using System.Diagnostics;
using System.Globalization;
using Microsoft.Win32.SafeHandles;
using Xfn.Core.Interop;

namespace Xfn.Core.Tests.Interop;

internal sealed class PosixTests
{
    [Test]
    public void Failures_have_the_systems_error_number()
    {
        const int noSuchFile = 2;
        Assert.That(() => Posix.OpenNonBlocking("/no/such", FileAccess.Read), Throws.InstanceOf<IOException>().With.Property("HResult").EqualTo(noSuchFile).And.Message.Contains("'/no/such'"));
        Assert.That(() => Posix.SyncFileSystem("/no/such"), Throws.InstanceOf<IOException>().With.Property("HResult").EqualTo(noSuchFile));
        Assert.That(() => Posix.OwnerOf("/no/such"), Throws.InstanceOf<IOException>().With.Property("HResult").EqualTo(noSuchFile));
    }

    [Test]
    public void What_is_at_a_path_is_told_and_nothing_is_no_error()
    {
        Assert.That(Posix.LookAt("/no/such"), Is.Null);
        Assert.That(Posix.LookAt("/tmp")!.Value.Kind, Is.EqualTo(UnixFileKind.Directory));
        Assert.That(Posix.LookAt("/proc/self")!.Value.Kind, Is.EqualTo(UnixFileKind.Link));
        Assert.That(Posix.LookAt("/dev/full")!.Value, Is.EqualTo((0u, UnixFileKind.Other, 0x1b6u)));
        Assert.That(() => Posix.LookAt("/etc/passwd/x"), Throws.InstanceOf<IOException>());
    }

    /// <summary>The kernel is told which id comes next, until another process gets the id of an ended one.</summary>
    [Test, CancelAfter(60_000)]
    public async Task A_signal_for_a_process_that_has_ended_does_not_reach_the_next_one_of_its_id(CancellationToken token)
    {
        for (int attempt = 0; attempt < 1000; attempt++)
        {
            int id;
            SafeFileHandle held;
            using (Process first = Process.Start("sleep", "60"))
            {
                id = first.Id;
                held = Posix.TryOpenProcess(id)!;
                first.Kill();
                await first.WaitForExitAsync(token);
            }

            using (held)
            {
                try
                {
                    await File.WriteAllTextAsync("/proc/sys/kernel/ns_last_pid", (id - 1).ToString(CultureInfo.InvariantCulture), token);
                }
                catch (Exception ex) when (ex is IOException or UnauthorizedAccessException)
                {
                    Assert.Ignore("This user may not choose process ids.");
                }

                using Process second = Process.Start("sleep", "60");
                try
                {
                    if (second.Id != id)
                        continue;
                    Posix.Signal(held, Posix.SigKill);
                    Assert.That(second.WaitForExit(TimeSpan.FromMilliseconds(200)), Is.False, "the other process was killed");
                    return;
                }
                finally
                {
                    second.Kill();
                    await second.WaitForExitAsync(token);
                }
            }
        }

        Assert.Ignore("On this machine others took the process id each time.");
    }
}
