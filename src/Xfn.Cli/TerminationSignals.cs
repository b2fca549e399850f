using System.Runtime.InteropServices;

namespace Xfn.Cli;

/// <summary>Turns termination signals into a cancellation, so that a run is ended and cleaned up after.</summary>
internal sealed class TerminationSignals : IDisposable
{
    private const int Hangup = 1, Interrupt = 2, Terminate = 15;

    private readonly CancellationTokenSource _cancellation = new();
    private readonly PosixSignalRegistration[] _registrations;
    private int _received;

    public TerminationSignals() => _registrations =
    [
        PosixSignalRegistration.Create(PosixSignal.SIGHUP, context => Handle(context, Hangup)),
        PosixSignalRegistration.Create(PosixSignal.SIGINT, context => Handle(context, Interrupt)),
        PosixSignalRegistration.Create(PosixSignal.SIGTERM, context => Handle(context, Terminate)),
    ];

    public CancellationToken Token => _cancellation.Token;

    /// <summary>The number of the signal that came first; null when none did.</summary>
    public int? Received => _received == 0 ? null : _received;

    public void Dispose()
    {
        foreach (PosixSignalRegistration registration in _registrations)
            registration.Dispose();
        _cancellation.Dispose();
    }

    // The second signal takes its usual course: whoever asks twice does not want to wait.
    private void Handle(PosixSignalContext context, int signal)
    {
        if (Interlocked.CompareExchange(ref _received, signal, 0) != 0)
            return;
        context.Cancel = true;
        _cancellation.Cancel();
    }
}
