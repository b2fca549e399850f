using System.Globalization;
using Microsoft.Win32.SafeHandles;
using Xfn.Core.Interop;

namespace Xfn.Core.Cgroups;

/// <summary>The kernel's word that a cgroup of version 1 is out of memory, which costs nothing until it
/// comes.</summary>
/// <remarks>https://docs.kernel.org/admin-guide/cgroup-v1/memory.html, 10. OOM Control</remarks>
internal sealed class OutOfMemoryEvents : IDisposable
{
    private readonly SafeFileHandle _counter;
    private readonly SafeFileHandle _control;

    private OutOfMemoryEvents(SafeFileHandle counter, SafeFileHandle control) => (_counter, _control) = (counter, control);

    /// <summary>Asks to be told; null where the kernel does not tell: events of version 1 can be left out of
    /// it.</summary>
    public static OutOfMemoryEvents? TryRegister(string directory)
    {
        SafeFileHandle? counter = null, control = null;
        try
        {
            counter = Posix.MakeEventCounter();
            control = Posix.TryOpen($"{directory}/memory.oom_control");
            if (control is not null)
            {
                CgroupFile.Write(directory, "cgroup.event_control", string.Create(CultureInfo.InvariantCulture, $"{counter.DangerousGetHandle()} {control.DangerousGetHandle()}"));
                return new OutOfMemoryEvents(counter, control);
            }
        }
        catch (Exception ex) when (CgroupFile.IsFileError(ex))
        {
            // What is not told is asked for.
        }

        counter?.Dispose();
        control?.Dispose();
        return null;
    }

    /// <summary>Ends when the cgroup is out of memory once more, or is removed.</summary>
    public async Task WaitAsync(CancellationToken cancellationToken)
    {
        await DescriptorEvents.WaitAsync(_counter, DescriptorEvents.Readable, cancellationToken).ConfigureAwait(false);
        _ = Posix.Read(_counter, new byte[sizeof(ulong)], out _);
    }

    public void Dispose()
    {
        _counter.Dispose();
        _control.Dispose();
    }
}
