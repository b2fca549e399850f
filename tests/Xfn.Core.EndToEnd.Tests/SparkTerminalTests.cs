using System.Runtime.InteropServices;
using System.Text;
using Microsoft.Win32.SafeHandles;
using Xfn.Core.EndToEnd.Tests.Support;
using Xfn.Core.Spark;

namespace Xfn.Core.EndToEnd.Tests;

/// <summary>Terminals of a container that lives.</summary>
internal sealed partial class SparkTerminalTests : LivingFixture
{
    private const int Hangup = 1;

    [Test, CancelAfter(60_000)]
    public async Task A_process_with_a_terminal_has_it_as_its_own_in_the_size_that_was_asked_for(CancellationToken token)
    {
        await using Living living = await StartAsync("exec sleep 100", token);
        SparkExec exec = OnTerminal(living, "tty; busybox stty size; test -t 0 && test -t 1 && test -t 2 && echo all three; echo mine >/dev/tty; read line; busybox stty size; exit 3");
        await using FileStream terminal = await OpenAsync(living, exec, token);

        string first = await ReadUntilAsync(terminal, "mine\r\n", token);
        Assert.That(first, Is.EqualTo("/dev/pts/0\r\n24 80\r\nall three\r\nmine\r\n"));

        // struct winsize: rows, columns, and the same in pixels.
        ulong size = 50 | 132 << 16;
        const nuint setWindowSize = 0x5414;
        Assert.That(Control((int)terminal.SafeFileHandle.DangerousGetHandle(), setWindowSize, ref size), Is.Zero);
        await terminal.WriteAsync("go\n"u8.ToArray(), token);

        Assert.That(await ReadToEndAsync(terminal, token), Is.EqualTo("go\r\n50 132\r\n"));
        Assert.That((await living.Spark.AnswerAsync<SparkEnded>(exec.Id, token)).ExitCode, Is.EqualTo(3));
    }

    [Test, CancelAfter(60_000)]
    public async Task A_process_is_hung_up_on_when_the_terminal_is_closed(CancellationToken token)
    {
        await using Living living = await StartAsync("exec sleep 100", token);
        SparkExec exec = OnTerminal(living, "echo ready; exec sleep 100");
        FileStream terminal = await OpenAsync(living, exec, token);
        await ReadUntilAsync(terminal, "ready\r\n", token);

        terminal.Close();

        Assert.That((await living.Spark.AnswerAsync<SparkEnded>(exec.Id, token)).Signal, Is.EqualTo(Hangup));
    }

    [Test, CancelAfter(60_000)]
    public async Task A_terminal_ends_with_the_container(CancellationToken token)
    {
        await using Living living = await StartAsync("exec sleep 100", token);
        SparkExec exec = OnTerminal(living, "echo ready; exec sleep 100");
        await using FileStream terminal = await OpenAsync(living, exec, token);
        await ReadUntilAsync(terminal, "ready\r\n", token);

        await living.Spark.SendAsync(new SparkSignal(0, Signals.Kill), token);

        Assert.That(await ReadToEndAsync(terminal, token), Is.Empty);
        Assert.That((await living.Spark.AnswerAsync<SparkEnded>(exec.Id, token)).Signal, Is.EqualTo(Signals.Kill));
    }

    private static SparkExec OnTerminal(Living living, string script) =>
        living.Spark.Exec(["sh", "-c", script]) with { Terminal = true, Rows = 24, Columns = 80 };

    private static async Task<FileStream> OpenAsync(Living living, SparkExec exec, CancellationToken token)
    {
        SafeFileHandle[] taken = await living.Spark.TakeAsync(await living.Spark.AskAsync<SparkOpened>(exec.Id, exec, token), token);
        return TappedSpark.Open(taken.Single(), FileAccess.ReadWrite);
    }

    private static async Task<string> ReadUntilAsync(FileStream terminal, string end, CancellationToken token)
    {
        var said = new StringBuilder();
        var buffer = new byte[1024];
        while (!said.ToString().EndsWith(end, StringComparison.Ordinal))
            said.Append(Encoding.UTF8.GetString(buffer, 0, await terminal.ReadAsync(buffer, token)));
        return said.ToString();
    }

    private static async Task<string> ReadToEndAsync(FileStream terminal, CancellationToken token)
    {
        var said = new StringBuilder();
        var buffer = new byte[1024];
        try
        {
            while (await terminal.ReadAsync(buffer, token) is > 0 and var count)
                said.Append(Encoding.UTF8.GetString(buffer, 0, count));
        }
        catch (IOException)
        {
            // How a terminal ends.
        }

        return said.ToString();
    }

    [LibraryImport("libc", EntryPoint = "ioctl", SetLastError = true)]
    private static partial int Control(int fd, nuint request, ref ulong argument);
}
