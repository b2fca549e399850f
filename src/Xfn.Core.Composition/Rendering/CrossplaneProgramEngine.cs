using System.ComponentModel;
using System.Diagnostics;
using System.Text;

namespace Xfn.Core.Composition.Rendering;

/// <summary>Crossplane from its program on this machine, which reaches functions through ports of the machine's
/// loopback.</summary>
internal sealed class CrossplaneProgramEngine(string program) : CrossplaneEngine
{
    public override string ToString() => $"engine '{program}'";

    protected override async Task<(int Status, byte[] Stdout, string Stderr)> RunAsync(RenderRequest request, CancellationToken cancellationToken)
    {
        var addresses = new Dictionary<string, string>();
        foreach (string name in CompositionFunctions.NamesOf(request.Composition))
        {
            CompositionFunctions set = request.Started.First(set => set.ByName.ContainsKey(name));
            addresses.Add(name, set.Targets.GetValueOrDefault(name) ?? (await set.ForwardAsync(name, cancellationToken).ConfigureAwait(false)).ToString());
        }

        using Process process = Start();
        using CancellationTokenRegistration kill = cancellationToken.Register(() => process.Kill(entireProcessTree: true));
        Task<byte[]> stdout = ReadAsync(process.StandardOutput.BaseStream, cancellationToken), stderr = ReadAsync(process.StandardError.BaseStream, cancellationToken);
        try
        {
            await process.StandardInput.BaseStream.WriteAsync(Message(request, addresses), cancellationToken).ConfigureAwait(false);
            process.StandardInput.Close();
        }
        catch (IOException)
        {
            // It ended without reading all, and says why by its status and on stderr.
        }

        await Task.WhenAll(stdout, stderr).ConfigureAwait(false);
        await process.WaitForExitAsync(cancellationToken).ConfigureAwait(false);
        return (process.ExitCode, await stdout.ConfigureAwait(false), Encoding.UTF8.GetString(await stderr.ConfigureAwait(false)));
    }

    private Process Start()
    {
        try
        {
            return Process.Start(new ProcessStartInfo(program, Arguments) { RedirectStandardInput = true, RedirectStandardOutput = true, RedirectStandardError = true })!;
        }
        catch (Win32Exception e)
        {
            throw new RenderException(RenderFailure.Engine, $"cannot start {this}: {e.Message}. It is to be the program of Crossplane's core, which has the command 'internal render' since version 2.3.", e);
        }
    }
}
