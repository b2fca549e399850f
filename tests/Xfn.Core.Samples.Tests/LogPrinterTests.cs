using System.Text;
using Moq;
using Xfn.Cli;

namespace Xfn.Core.Samples.Tests;

public class LogPrinterTests
{
    [Test, CancelAfter(60_000)]
    public async Task Lines_go_where_they_were_written_and_lost_ones_are_told(CancellationToken token)
    {
        using MemoryStream stdout = new(), stderr = new();
        using var error = new StringWriter();
        var container = new Mock<RunningContainer>();
        container.Setup(c => c.ReadLogsAsync(true, It.IsAny<CancellationToken>())).Returns(Lines());
        await new LogPrinter(stdout, stderr, new GlobalOptions(error)).PrintAsync(container.Object).WaitAsync(token);
        Assert.That((Encoding.UTF8.GetString(stdout.ToArray()), Encoding.UTF8.GetString(stderr.ToArray())), Is.EqualTo(("one\ntwo and its rest\nfive\n", "err\u00f6r\n")));
        Assert.That(error.ToString(), Is.EqualTo("xfn: warning: 2 lines of the logs are missing here: they came faster than they could be written.\n"));
    }

    private static async IAsyncEnumerable<LogLine> Lines()
    {
        yield return new LogLine { Time = default, Source = LogSource.Stdout, Text = "one" };
        yield return new LogLine { Time = default, Source = LogSource.Stdout, Text = "two", IsPartial = true };
        yield return new LogLine { Time = default, Source = LogSource.Stderr, Text = "err\u00f6r" };
        await Task.Yield();
        yield return new LogLine { Time = default, Source = LogSource.Stdout, Text = " and its rest" };
        yield return new LogLine { Time = default, Source = LogSource.Stdout, Text = "five", LostBefore = 2 };
    }
}
