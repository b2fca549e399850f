using System.Text;
using Xfn.Core.Pipes;

namespace Xfn.Core.Tests.Pipes;

/// <summary>The end of an output is kept, whatever pieces it comes in, and all of it is passed on.</summary>
[CancelAfter(60_000)]
internal sealed class TailSinkTests
{
    private const int Most = RunStatistics.StderrTailBytes;

    [TestCase(0, 1)]
    [TestCase(1, 1)]
    [TestCase(1000, 7)]
    [TestCase(Most, 1000)]
    [TestCase(Most + 1, 1000)]
    [TestCase(3 * Most, 1023)]
    [TestCase(3 * Most, Most)]
    [TestCase(3 * Most, 3 * Most)]
    public async Task The_last_bytes_are_kept_and_all_are_passed_on(int bytes, int piece, CancellationToken token)
    {
        byte[] output = [.. Enumerable.Range(0, bytes).Select(i => (byte)('!' + (i % 90)))];
        using var target = new MemoryStream();
        var sink = new TailSink(target, long.MaxValue);
        foreach (byte[] part in output.Chunk(piece))
            Assert.That(await sink.WriteAsync(part, token));
        Assert.That(sink.ToString(), Is.EqualTo(Encoding.ASCII.GetString(output[Math.Max(0, bytes - Most)..])));
        Assert.That(target.ToArray(), Is.EqualTo(output));
    }

    [TestCase("é")]
    [TestCase("漢")]
    [TestCase("😀")]
    public async Task A_character_that_the_cut_goes_through_is_left_out(string character, CancellationToken token)
    {
        // So that the cut falls upon each byte of a character once.
        int length = Encoding.UTF8.GetByteCount(character);
        for (int before = 0; before < length; before++)
        {
            byte[] output = Encoding.UTF8.GetBytes(string.Concat(Enumerable.Repeat(character, Most)) + new string('x', before));
            var sink = new TailSink(null, long.MaxValue);
            await sink.WriteAsync(output, token);
            int whole = (Most - before) / length;
            Assert.That(sink.ToString(), Is.EqualTo(string.Concat(Enumerable.Repeat(character, whole)) + new string('x', before)), $"{before} bytes behind");
        }
    }

    [Test]
    public async Task What_is_no_text_is_kept_as_far_as_it_was_not_cut(CancellationToken token)
    {
        var sink = new TailSink(null, long.MaxValue);
        await sink.WriteAsync(new byte[] { 0x80, 0xff, (byte)'a' }, token);
        Assert.That(sink.ToString(), Is.EqualTo("\uFFFD\uFFFDa"));
    }

    [Test]
    public async Task More_than_the_limit_is_told_and_as_much_is_not(CancellationToken token)
    {
        var sink = new TailSink(null, 10);
        Assert.That((await sink.WriteAsync(new byte[10], token), sink.IsExceeded), Is.EqualTo((true, false)));
        Assert.That((await sink.WriteAsync("x"u8.ToArray(), token), sink.IsExceeded), Is.EqualTo((false, true)));
        Assert.That(sink.ToString(), Does.EndWith("x"), "also what was too much is kept");
    }

    [Test]
    public async Task What_cannot_be_passed_on_is_kept(CancellationToken token)
    {
        await using var full = new MemoryStream(new byte[3], writable: true);
        var sink = new TailSink(full, long.MaxValue);
        await Assert.ThatAsync(async () => await sink.WriteAsync("oops"u8.ToArray(), token), Throws.TypeOf<NotSupportedException>());
        Assert.That(sink.ToString(), Is.EqualTo("oops"));
    }
}
