using System.Text;
using Microsoft.Extensions.Time.Testing;
using Xfn.Core.Services;

namespace Xfn.Core.Tests.Services;

/// <summary>A container's log: lines, their loss, and whom it holds up.</summary>
internal sealed class LogTests
{
    private static readonly DateTimeOffset _now = new(2026, 1, 2, 3, 4, 5, TimeSpan.Zero);

    [Test, CancelAfter(60_000)]
    public async Task Lines_are_split_however_they_come(CancellationToken token)
    {
        (LogRing ring, LogSink sink) = Make(1 << 16, 100);
        foreach (string piece in (string[])["one\ntw", "o\n\nthr", "", "ee", "\nfo"])
            await sink.WriteAsync(Encoding.UTF8.GetBytes(piece), token);
        Assert.That(Texts(await ReadAsync(ring, token)), Is.EqualTo((string[])["one", "two", "", "three"]));
        sink.Finish();
        List<LogLine> lines = await ReadAsync(ring, token);
        Assert.That(lines[^1], Is.EqualTo(new LogLine { Time = _now, Source = LogSource.Stderr, Text = "fo" }));
    }

    [Test, CancelAfter(60_000)]
    public async Task A_long_line_is_split_between_characters(CancellationToken token)
    {
        (LogRing ring, LogSink sink) = Make(1 << 16, 10);
        await sink.WriteAsync(Encoding.UTF8.GetBytes("123456789é123456789012345\nx\n0123456789\n"), token);
        List<LogLine> lines = await ReadAsync(ring, token);
        Assert.That(Texts(lines), Is.EqualTo((string[])["123456789", "é12345678", "9012345", "x", "0123456789"]));
        Assert.That(lines.Select(line => line.IsPartial), Is.EqualTo((bool[])[true, true, false, false, false]));
    }

    [Test, CancelAfter(60_000)]
    public async Task What_is_dropped_is_counted_for_each_reader(CancellationToken token)
    {
        (LogRing ring, LogSink sink) = Make(4096, 100);
        await using IAsyncEnumerator<LogLine> early = ring.ReadAsync(follow: true, token).GetAsyncEnumerator(token);
        await WriteAsync(sink, 0, 3, token);
        Assert.That(await early.MoveNextAsync(), Is.True);
        Assert.That((early.Current.Text, early.Current.LostBefore), Is.EqualTo(("line 0", 0L)));

        await WriteAsync(sink, 3, 1000, token);
        ring.Close();
        List<LogLine> late = await ReadAsync(ring, token);
        int first = int.Parse(late[0].Text[5..], System.Globalization.CultureInfo.InvariantCulture);
        Assert.That(late[0].LostBefore, Is.EqualTo(first));
        Assert.That(Texts(late), Is.EqualTo(Enumerable.Range(first, 1000 - first).Select(i => $"line {i}")));
        Assert.That(late.Count * (8 + LogRing.HeaderBytes), Is.InRange(3900, 4096), "the capacity is used, and no more");
        Assert.That(await early.MoveNextAsync(), Is.True);
        Assert.That((early.Current.Text, early.Current.LostBefore), Is.EqualTo(($"line {first}", first - 1L)));
    }

    [Test, CancelAfter(60_000)]
    public async Task A_reader_that_follows_waits_and_ends_with_the_log(CancellationToken token)
    {
        (LogRing ring, LogSink sink) = Make(4096, 100);
        Task<List<LogLine>> reading = ReadAsync(ring, token, follow: true);
        await WriteAsync(sink, 0, 2, token);
        Assert.That(reading.IsCompleted, Is.False);
        ring.Close();
        Assert.That(Texts(await reading), Is.EqualTo((string[])["line 0", "line 1"]));
    }

    [Test, CancelAfter(60_000)]
    public async Task A_log_grows_by_steps_and_keeps_what_it_has(CancellationToken token)
    {
        (LogRing ring, LogSink sink) = Make(100_000, 100);
        await WriteAsync(sink, 0, 3000, token);
        List<LogLine> lines = await ReadAsync(ring, token);
        Assert.That(Texts(lines), Is.EqualTo(Enumerable.Range(0, 3000).Select(i => $"line {i}")));
        Assert.That(ring.Tail(20), Is.EqualTo("line 2998\nline 2999\n"));
    }

    private static (LogRing Ring, LogSink Sink) Make(int capacity, int lineBytes)
    {
        var ring = new LogRing(capacity);
        return (ring, new LogSink(ring, LogSource.Stderr, lineBytes, new FakeTimeProvider(_now)));
    }

    private static async Task WriteAsync(LogSink sink, int from, int to, CancellationToken token)
    {
        for (int i = from; i < to; i++)
            await sink.WriteAsync(Encoding.UTF8.GetBytes($"line {i}\n"), token);
    }

    private static async Task<List<LogLine>> ReadAsync(LogRing ring, CancellationToken token, bool follow = false)
    {
        var lines = new List<LogLine>();
        await foreach (LogLine line in ring.ReadAsync(follow, token))
            lines.Add(line);
        return lines;
    }

    private static IEnumerable<string> Texts(IEnumerable<LogLine> lines) => lines.Select(line => line.Text);
}
