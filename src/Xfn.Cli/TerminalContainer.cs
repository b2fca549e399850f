using System.Runtime.InteropServices;
using Xfn.Core;

namespace Xfn.Cli;

/// <summary>A container whose program has a terminal.</summary>
/// <param name="request">The container.</param>
/// <param name="isInteractive">Whether what is typed is passed on to it.</param>
/// <param name="timeout">How long it may live; null for no limit.</param>
internal sealed class TerminalContainer(ContainerRequest request, bool isInteractive, TimeSpan? timeout)
{
    /// <summary>Shows it until its end.</summary>
    /// <param name="host">Starts it.</param>
    /// <param name="cancellationToken">Stops it.</param>
    /// <returns>How it ended.</returns>
    /// <exception cref="FunctionTimedOutException">It lived too long.</exception>
    public async Task<ContainerExit> RunAsync(IContainerHost host, CancellationToken cancellationToken)
    {
        if (isInteractive && !CallersTerminal.IsInput)
            throw new IOException("cannot give a program the terminal: stdin is none. Run xfn in a terminal, or leave out -t (--tty).");
        await using var output = new ContainerOutput(cancellationToken);
        await using RunningContainer container = await host.StartAsync(request with { Terminal = CallersTerminal.Size }, output.Stop);
        using CallersTerminal? terminal = isInteractive ? new CallersTerminal() : null;
        using var resized = PosixSignalRegistration.Create(PosixSignal.SIGWINCH, _ => container.Resize(CallersTerminal.Size));

        // It may have been resized meanwhile.
        container.Resize(CallersTerminal.Size);
        output.Show((stdout, _) => container.Stdout.CopyToAsync(stdout));
        if (isInteractive)
            _ = TypeAsync(container, output.Stop);

        using var late = CancellationTokenSource.CreateLinkedTokenSource(output.Stop);
        late.CancelAfter(timeout ?? Timeout.InfiniteTimeSpan);
        await Task.WhenAny(container.Exited, Task.Delay(Timeout.Infinite, late.Token));
        bool timedOut = !container.Exited.IsCompleted && !output.Stop.IsCancellationRequested;
        ContainerExit exit = await container.StopAsync(timedOut ? TimeSpan.Zero : null, CancellationToken.None);
        await output.FinishAsync();
        return timedOut ? throw new FunctionTimedOutException($"cannot run '{request.Image}': it ran longer than {timeout!.Value.TotalSeconds:0.###} s. Give it more time (--timeout).") : exit;
    }

    /// <summary>Passes on what is typed, until xfn ends or the container reads no more.</summary>
    private static async Task TypeAsync(RunningContainer container, CancellationToken stop)
    {
        try
        {
            await using var typed = new StandardInput();
            await typed.CopyToAsync(container.Stdin, stop);
        }
        catch (Exception e) when (e is OperationCanceledException or IOException or ObjectDisposedException)
        {
            // Its end is told otherwise.
        }
    }
}
