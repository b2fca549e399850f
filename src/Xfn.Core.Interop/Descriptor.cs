namespace Xfn.Core.Interop;

/// <summary>A file descriptor that is closed at the end of its scope; or, negative, an error number.</summary>
internal readonly struct Descriptor(int number) : IDisposable
{
    public static implicit operator Descriptor(int number) => new(number);

    public static implicit operator int(Descriptor descriptor) => descriptor.Number;

    private int Number { get; } = number;

    public void Dispose()
    {
        if (Number >= 0)
            _ = Libc.close(Number);
    }
}
