using System.Text;
using Xfn.Core.Registry;

namespace Xfn.Core.Tests.Registry;

/// <summary>The configuration files of docker and podman, and the helpers they name.</summary>
[CancelAfter(60_000)]
public class CredentialFileTests
{
    private TemporaryDirectory _home = null!;
    private Dictionary<string, string> _environment = null!;

    [SetUp]
    public void Make_a_home()
    {
        _home = new TemporaryDirectory();
        _environment = new() { ["HOME"] = _home.Path, ["XDG_RUNTIME_DIR"] = _home["run"], ["PATH"] = $"bin:{_home["bin"]}:/usr/bin:/bin" };
    }

    [TearDown]
    public void Delete_it() => _home.Dispose();

    [Test]
    public async Task The_first_file_that_knows_the_registry_counts(CancellationToken token)
    {
        string[] files = ["docker/config.json", "run/containers/auth.json", "xdg/containers/auth.json", ".config/containers/auth.json", ".dockercfg"];
        _environment["DOCKER_CONFIG"] = _home["docker"];
        _environment["XDG_CONFIG_HOME"] = _home["xdg"];
        foreach (string file in files)
            Write(file, file == ".dockercfg" ? Entry("r.test", file) : $$$"""{"auths":{{{Entry("r.test", file)}}}}""");
        Write(".docker/config.json", $$$"""{"auths":{{{Entry("r.test", "DOCKER_CONFIG says otherwise")}}}}""");

        foreach (string file in files)
        {
            Assert.That((await FindAsync("r.test", "fn", token))?.Username, Is.EqualTo(file));
            File.Delete(_home[file]);
        }

        Assert.That(await FindAsync("r.test", "fn", token), Is.Null);
    }

    [Test]
    public async Task The_file_that_is_named_for_it_is_the_only_one(CancellationToken token)
    {
        Write(".docker/config.json", $$$"""{"auths":{{{Entry("r.test", "docker")}}}}""");
        Write("own.json", $$$"""{"auths":{{{Entry("other.test", "own")}}}}""");
        _environment["REGISTRY_AUTH_FILE"] = _home["own.json"];
        Assert.That(await FindAsync("r.test", "fn", token), Is.Null);
        Assert.That((await FindAsync("other.test", "fn", token))?.Username, Is.EqualTo("own"));
    }

    [TestCase("r.test", "r.test", "fn", true)]
    [TestCase("https://r.test/v1/", "r.test", "fn", true)]
    [TestCase("https://r.test", "r.test", "fn", true)]
    [TestCase("r.test:5000", "r.test", "fn", false)]
    [TestCase("r.test", "r.test:5000", "fn", false)]
    [TestCase("localhost:5000", "localhost:5000", "fn", true)]
    [TestCase("R.test", "r.test", "fn", true)]
    [TestCase("r.test.evil", "r.test", "fn", false)]
    [TestCase("r.test/team", "r.test", "team/fn", true)]
    [TestCase("r.test/team/fn", "r.test", "team/fn", true)]
    [TestCase("r.test/tea", "r.test", "team/fn", false)]
    [TestCase("r.test/other", "r.test", "team/fn", false)]
    [TestCase("https://index.docker.io/v1/", "index.docker.io", "library/busybox", true)]
    [TestCase("docker.io", "index.docker.io", "library/busybox", true)]
    [TestCase("docker.io/library", "index.docker.io", "library/busybox", true)]
    public async Task An_entry_is_for_the_registry_it_names(string key, string registry, string repository, bool found, CancellationToken token)
    {
        Write(".docker/config.json", $$$"""{"auths":{{{Entry(key, "user")}}}}""");
        Assert.That((await FindAsync(registry, repository, token))?.Username, Is.EqualTo(found ? "user" : null));
    }

    [Test]
    public async Task The_longest_name_counts(CancellationToken token)
    {
        Write("run/containers/auth.json", """{"auths":{"r.test":{"username":"all","password":"p"},"r.test/team":{"username":"team","password":"p"}}}""");
        Assert.That((await FindAsync("r.test", "team/fn", token))?.Username, Is.EqualTo("team"));
        Assert.That((await FindAsync("r.test", "else/fn", token))?.Username, Is.EqualTo("all"));
    }

    [Test]
    public async Task Tokens_are_read(CancellationToken token)
    {
        Write(".docker/config.json", """{"auths":{"i.test":{"auth":"dXNlcjo=","identitytoken":"it"},"r.test":{"registrytoken":"rt"},"e.test":{}}}""");
        Assert.That((await FindAsync("i.test", "fn", token))?.IdentityToken, Is.EqualTo("it"));
        Assert.That((await FindAsync("r.test", "fn", token))?.RegistryToken, Is.EqualTo("rt"));
        Assert.That(await FindAsync("e.test", "fn", token), Is.Null);
    }

    [Test]
    public async Task A_helper_of_the_registry_comes_before_the_helper_of_all_and_that_before_the_file(CancellationToken token)
    {
        Helper("own", """echo '{"ServerURL":"x","Username":"own","Secret":"s1"}'""");
        Helper("all", """read -r url; [ "$url" = all.test ] && echo '{"Username":"all","Secret":"s2"}' || { echo 'credentials not found in native keychain'; exit 1; }""");
        Write(".docker/config.json", """
            {"credsStore":"all","credHelpers":{"own.test":"own"},
             "auths":{"own.test":{"username":"file","password":"p"},"all.test":{},"file.test":{"username":"file","password":"p"}}}
            """);
        Assert.That((await FindAsync("own.test", "fn", token))?.Password, Is.EqualTo("s1"));
        Assert.That((await FindAsync("all.test", "fn", token))?.Password, Is.EqualTo("s2"));
        Assert.That((await FindAsync("file.test", "fn", token))?.Password, Is.EqualTo("p"));
    }

    [Test]
    public async Task A_helper_is_told_what_docker_tells_it(CancellationToken token)
    {
        Helper("all", $$"""cat > {{_home["told"]}}; echo "$@" >> {{_home["told"]}}; echo '{"Username":"<token>","Secret":"t"}'""");
        Write(".docker/config.json", """{"credsStore":"all"}""");
        Assert.That((await FindAsync("index.docker.io", "library/x", token))?.IdentityToken, Is.EqualTo("t"));
        Assert.That(File.ReadAllLines(_home["told"]).Take(2), Is.EqualTo(["https://index.docker.io/v1/", "get"]).AsCollection);
    }

    [TestCase("exit 3", "exited with status 3")]
    [TestCase("echo secret-hunter2", "no JSON")]
    [TestCase("echo secret-hunter2; exit 1", "exited with status 1")]
    [TestCase("yes secret-hunter2", "more than 65536 bytes")]
    [TestCase("echo secret-hunter2 >&2; exit 1", "exited with status 1")]
    [TestCase(null, "no such program in PATH")]
    public void A_helper_that_fails_is_named_and_not_quoted(string? script, string why, CancellationToken token)
    {
        if (script is not null)
            Helper("bad", script);
        Write(".docker/config.json", """{"credsStore":"bad"}""");
        Assert.That(
            () => FindAsync("r.test", "fn", token),
            Throws.TypeOf<XfnException>().With.Message.Contains("'docker-credential-bad'").And.Message.Contains(why).And.Not.Message.Contains("hunter2"));
    }

    [TestCase("../../tmp/evil")]
    [TestCase("a b")]
    [TestCase("x;id")]
    public void A_helper_has_a_name_and_no_path(string name, CancellationToken token)
    {
        Write(".docker/config.json", $$"""{"credsStore":"{{name}}"}""");
        Assert.That(() => FindAsync("r.test", "fn", token), Throws.TypeOf<XfnException>().With.Message.Contains("its name is no program's"));
    }

    [TestCase("{\"auths\":{\"r.test\":{\"password\":\"hunter2\"")]
    [TestCase("hunter2")]
    [TestCase("{\"auths\":{\"r.test\":\"hunter2\"}}")]
    [TestCase("")]
    public void A_malformed_file_is_named_and_not_quoted(string content, CancellationToken token)
    {
        Write(".docker/config.json", content);
        XfnException e = Assert.ThrowsAsync<XfnException>(() => FindAsync("r.test", "fn", token)).GetAwaiter().GetResult()!;
        Assert.That(e.ToString(), Does.Contain(_home[".docker/config.json"]).And.Not.Contain("hunter2"));
    }

    [TestCase("not base64!")]
    [TestCase("bm9jb2xvbg==")]
    public void What_is_no_user_and_password_is_refused(string auth) =>
        Assert.That(() => RegistryCredentials.From(new ImagePullAuth { Auth = auth }), Throws.TypeOf<UnauthorizedException>().With.Message.Not.Contains(auth));

    [Test]
    public void A_password_may_hold_colons()
    {
        RegistryCredentials credentials = RegistryCredentials.From(new ImagePullAuth { Auth = Convert.ToBase64String(Encoding.UTF8.GetBytes("user:a:b:c")) })!;
        Assert.That((credentials.Username, credentials.Password), Is.EqualTo(("user", "a:b:c")));
    }

    private async Task<ImagePullAuth?> FindAsync(string registry, string repository, CancellationToken token) => (await new CredentialFiles(
        FaultyRegistry.Options with { GetEnvironmentVariable = _environment.GetValueOrDefault }).FindAsync(registry, repository, CancellationToken.None)).Auth;

    private static string Entry(string key, string user) => $$$"""{"{{{key}}}":{"username":"{{{user}}}","password":"p"}}""";

    private void Write(string file, string content)
    {
        Directory.CreateDirectory(Path.GetDirectoryName(_home[file])!);
        File.WriteAllText(_home[file], content);
    }

    private void Helper(string name, string script)
    {
        Write($"bin/docker-credential-{name}", $"#!/bin/sh\n{script}\n");
        Tool.Run("chmod", "+x", _home[$"bin/docker-credential-{name}"]);
    }
}
