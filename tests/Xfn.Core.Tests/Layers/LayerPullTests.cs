using Moq;
using Xfn.Core.Layers;

namespace Xfn.Core.Tests.Layers;

/// <summary>What those who wait for a layer make of its lock file.</summary>
internal sealed class LayerPullTests
{
    private static readonly LayerSource Source = new(
        Mock.Of<IImageFetcher>(), ImageReference.Parse("fn"), new Descriptor { MediaType = "", Digest = Digest.Compute([]), Size = 1000 }, Digest.Compute([]), new FetchContext(), new UnpackLimits());

    private string _file = "";

    [SetUp]
    public void MakeFile() => _file = Path.GetTempFileName();

    [TearDown]
    public void DeleteFile() => File.Delete(_file);

    [Test]
    public void It_says_how_far_the_pull_is()
    {
        WriteFrame(300);
        Assert.That(Observe(), Is.EqualTo(new LayerPosition(300, 1000)));
    }

    [Test]
    public void What_is_no_whole_frame_is_not_believed()
    {
        byte[] one = WriteFrame(300), other = WriteFrame(0x1234_5678);
        byte[][] bad = [[], new byte[24], one[..23], [.. other[..3], .. one[3..]], [.. one[..8], .. other[8..]], [.. one[..16], .. new byte[8]]];
        foreach (byte[] frame in bad)
        {
            File.WriteAllBytes(_file, frame);
            Assert.That(Observe(), Is.EqualTo(new LayerPosition(0, 1000)), Convert.ToHexString(frame));
        }

        File.Delete(_file);
        Assert.That(Observe(), Is.EqualTo(new LayerPosition(0, 1000)));
    }

    [Test]
    public void Who_takes_it_over_resets_it()
    {
        WriteFrame(300);
        using var held = new FileStream(_file, FileMode.Open, FileAccess.ReadWrite, FileShare.None);
        NewPull().Begin(held);
        Assert.That(Observe(), Is.EqualTo(new LayerPosition(0, 1000)));
    }

    private static LayerPull NewPull() => new(Source, _ => throw new InvalidOperationException(), TimeProvider.System);

    private LayerPosition Observe()
    {
        LayerPosition? told = null;
        NewPull().Observe(_file, ref told);
        return told!;
    }

    private byte[] WriteFrame(long bytes)
    {
        using (var held = new FileStream(_file, FileMode.Create, FileAccess.ReadWrite, FileShare.None))
        {
            LayerPull pull = NewPull();
            pull.Begin(held);
            pull.Report(new PullProgress(Source.Blob.Digest, PullPhase.Downloading, bytes, 1000));
        }

        return File.ReadAllBytes(_file);
    }
}
