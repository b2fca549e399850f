using Xfn.Core.Diagnostics;

namespace Xfn.Core.Tests.Diagnostics;

public class RemedyWordsTests
{
    private static readonly Dictionary<string, string> Words = new() { ["WithCacheDir"] = "--cache-dir" };

    [TestCase("Choose another (WithCacheDir).", "Choose another (--cache-dir).", "Choose another (on the server).")]
    [TestCase("Raise the limit (UnpackLimits.MaxDepth).", "Raise the limit.", "Raise the limit (on the server).")]
    [TestCase("Free space (xfn prune, PruneAsync), or go (WithCacheDir).", "Free space (xfn prune), or go (--cache-dir).", "Free space (xfn prune), or go (on the server).")]
    [TestCase("Run fewer (ContainerRunnerOptions.MaxConcurrency, PrepareOptions.Count), or raise it (sysctl).", "Run fewer, or raise it (sysctl).", "Run fewer (on the server), or raise it (sysctl).")]
    [TestCase("Install crun (apt-get install crun, dnf install crun).", "Install crun (apt-get install crun, dnf install crun).", "Install crun (apt-get install crun, dnf install crun).")]
    public void A_message_is_said_in_a_front_ends_words(string message, string onTheCommandLine, string byTheServer)
    {
        Assert.That(RemedyWords.Of(message, Words.GetValueOrDefault), Is.EqualTo(onTheCommandLine));
        Assert.That(RemedyWords.Of(message, _ => null, "on the server"), Is.EqualTo(byTheServer));
    }
}
