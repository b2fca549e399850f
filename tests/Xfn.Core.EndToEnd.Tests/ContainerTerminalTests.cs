using System.Text;
using Xfn.Core.EndToEnd.Tests.Support;

namespace Xfn.Core.EndToEnd.Tests;

/// <summary>The terminal of a container's first process.</summary>
internal sealed class ContainerTerminalTests : ContainerFixture
{
    private readonly StringBuilder _screen = new();

    [TestCase(null, false)]
    [TestCase("1000:1000", false)]
    [TestCase(null, true)]
    [CancelAfter(60_000)]
    public async Task A_program_has_a_terminal_and_what_is_typed_reaches_it(string? user, bool hasEgress, CancellationToken token)
    {
        if (user is not null && !Ways.HasManyIds)
            Assert.Ignore("only one id is mapped here: there is no other user");
        _screen.Clear();
        const string script = """
            trap 'echo interrupted; exit 5' INT
            stty size; test -t 0 && test -t 1 && test -t 2 && echo all; echo mine >/dev/tty
            read word; echo "read <$word>"
            until [ "$(stty size)" = "40 120" ]; do sleep 0.05; done; echo resized
            while :; do sleep 0.05; done
            """;
        await using RunningContainer container = await StartAsync(
            new ContainerRequest
            {
                Image = Write(TestImage.Shell(script).With("stty", "test"), $"{Guid.NewGuid():N}"),
                User = user,
                Terminal = new TerminalSize(30, 100),
                Egress = hasEgress ? ["192.0.2.1:443"] : [],
            },
            token);
        await UntilAsync(container, "30 100\r\nall\r\nmine\r\n", token);
        await container.Stdin.WriteAsync("hello\r"u8.ToArray(), token);
        await UntilAsync(container, "read <hello>\r\n", token);
        container.Resize(new TerminalSize(40, 120));
        await UntilAsync(container, "resized\r\n", token);
        await container.Stdin.WriteAsync("\u0003"u8.ToArray(), token);
        await UntilAsync(container, "interrupted\r\n", token);
        Assert.That((await container.Exited.WaitAsync(token)).ExitCode, Is.EqualTo(5));
        Assert.That(await LinesAsync(container, token), Is.Empty);
        Assert.That(() => container.Resize(new TerminalSize(0, 80)), Throws.InstanceOf<ArgumentOutOfRangeException>());
    }

    [Test, CancelAfter(60_000)]
    public async Task What_a_short_program_shows_is_there_after_its_end(CancellationToken token)
    {
        await using RunningContainer container = await StartAsync(
            new ContainerRequest { Image = Write(TestImage.Shell("echo shown; exit 3"), $"{Guid.NewGuid():N}"), Terminal = new TerminalSize(24, 80) }, token);
        Assert.That((await container.Exited.WaitAsync(token)).ExitCode, Is.EqualTo(3));
        using var reader = new StreamReader(container.Stdout);
        Assert.That(await reader.ReadToEndAsync(token), Is.EqualTo("shown\r\n"));
    }

    [Test, CancelAfter(60_000)]
    public async Task A_container_without_one_has_none(CancellationToken token)
    {
        await using RunningContainer container = await StartAsync("while :; do sleep 0.05; done", Ready.Started, token);
        Assert.That(() => container.Resize(new TerminalSize(24, 80)), Throws.InvalidOperationException);
        Assert.That(async () => await StartAsync(new ContainerRequest { Image = "none", Terminal = new TerminalSize(0, 80) }, token), Throws.InstanceOf<InvalidRequestException>());
    }

    private async Task UntilAsync(RunningContainer container, string text, CancellationToken token)
    {
        var buffer = new byte[1024];
        while (!_screen.ToString().Contains(text))
        {
            int count = await container.Stdout.ReadAsync(buffer, token);
            Assert.That(count, Is.Positive, $"There is no '{text}' in: {_screen}");
            _screen.Append(Encoding.UTF8.GetString(buffer, 0, count));
        }
    }
}
