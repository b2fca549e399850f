using Xfn.Core.Cache;

namespace Xfn.Core.Tests.Cache;

internal sealed class DefaultCacheTests
{
    private string _scratch = "";

    [SetUp]
    public void MakeScratch() => _scratch = Directory.CreateTempSubdirectory("xfn-test-").FullName;

    [TearDown]
    public void Remove() => Directory.Delete(_scratch, recursive: true);

    [Test]
    public void It_is_below_what_the_environment_names()
    {
        Assert.That(Find(home: _scratch), Is.EqualTo(($"{_scratch}/.cache/xfn", false)));
        Assert.That(Find(home: _scratch, cache: "/somewhere"), Is.EqualTo(("/somewhere/xfn", false)));
        Assert.That(Find(home: "/nonexistent", cache: "/somewhere"), Is.EqualTo(("/somewhere/xfn", false)));
        Assert.That(Find(home: "/nonexistent", user: 0), Is.EqualTo(("/xfn", false)));
    }

    [TestCase("/nonexistent")]
    [TestCase("")]
    [TestCase("relative")]
    public void Without_a_home_it_is_a_private_directory_of_the_session_or_a_temporary_one_and_that_is_told(string home)
    {
        Assert.That(Find(home: home), Is.EqualTo(("/tmp/xfn-1234", true)));
        Assert.That(Find(home: home, runtime: "/nonexistent"), Is.EqualTo(("/tmp/xfn-1234", true)));
        Assert.That(Find(home: home, runtime: _scratch), Is.EqualTo(($"{_scratch}/xfn", true)));
    }

    [Test]
    public void A_relative_path_counts_for_nothing_and_that_is_told()
    {
        Assert.That(Find(home: _scratch, cache: "cache"), Is.EqualTo(($"{_scratch}/.cache/xfn", true)));
        Assert.That(Warning(_scratch, "cache"), Does.Contain("XDG_CACHE_HOME is 'cache'").And.Contain("absolute").And.Contain("option CacheDirectory"));
        Assert.That(Warning("/nonexistent", null), Does.Contain("HOME is '/nonexistent'").And.Contain("option CacheDirectory"));
        Assert.That(Find(home: _scratch, cache: ""), Is.EqualTo(($"{_scratch}/.cache/xfn", false)), "empty is as if it were not set");
    }

    private static string? Warning(string home, string? cache) => DefaultCache.Find(Variables(home, cache, null), 1234, home, "/tmp").Warning;

    private static (string Directory, bool IsOdd) Find(string home, string? cache = null, string? runtime = null, uint user = 1234)
    {
        DefaultCache found = DefaultCache.Find(Variables(home, cache, runtime), user, home, "/tmp");
        return (found.Directory, found.Warning is not null);
    }

    private static Func<string, string?> Variables(string home, string? cache, string? runtime) => name => name switch
    {
        "HOME" => home,
        "XDG_CACHE_HOME" => cache,
        "XDG_RUNTIME_DIR" => runtime,
        _ => null,
    };
}
