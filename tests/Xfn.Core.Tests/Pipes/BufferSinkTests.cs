using System.Text;
using Xfn.Core.Pipes;

namespace Xfn.Core.Tests.Pipes;

/// <summary>The beginning of an output is kept, also of one that is longer than it may be.</summary>
[CancelAfter(60_000)]
internal sealed class BufferSinkTests
{
    [TestCase("abc", 1, "abc", false)]
    [TestCase("abcde", 1, "abcd", true)]
    [TestCase("abcde", 3, "abcd", true)]
    [TestCase("abcde", 5, "abcd", true)]
    public async Task The_first_bytes_are_kept(string output, int piece, string kept, bool exceeded, CancellationToken token)
    {
        var sink = new BufferSink(4);
        foreach (byte[] part in Encoding.ASCII.GetBytes(output).Chunk(piece))
            Assert.That(await sink.WriteAsync(part, token), Is.EqualTo(!sink.IsExceeded));
        Assert.That((Encoding.ASCII.GetString(sink.Content.Span), sink.IsExceeded), Is.EqualTo((kept, exceeded)));
    }
}
