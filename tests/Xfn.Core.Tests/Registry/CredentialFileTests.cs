using System.Text;
using Xfn.Core.Registry;

namespace Xfn.Core.Tests.Registry;

/// <summary>The configuration files of docker and podman, and the helpers they name.</summary>
[CancelAfter(60_000)]
public class CredentialFileTests
{
    private TemporaryDirectory _home = null!;
    private Dictionary<string, string> _environment = null!;
    private LogCollector _log = null!;

    [SetUp]
    public void Make_a_home()
    {
        _home = new TemporaryDirectory();
        _log = new LogCollector();
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
    [TestCase("https://index.docker.io/v1", "index.docker.io", "library/busybox", true)]
    [TestCase("index.docker.io/v1/", "index.docker.io", "library/busybox", true)]
    [TestCase("https://registry-1.docker.io/v2/", "index.docker.io", "library/busybox", true)]
    [TestCase("docker.io", "registry-1.docker.io", "library/busybox", true)]
    [TestCase("hub.docker.com", "index.docker.io", "library/busybox", false)]
    [TestCase("r.test/v1/", "r.test", "fn", true)]
    [TestCase("r.test/v2", "r.test", "fn", true)]
    [TestCase("r.test/", "r.test", "fn", true)]
    [TestCase("https://r.test:5000/v2/", "r.test:5000", "fn", true)]
    [TestCase("https://r.test:443/", "r.test:443", "fn", true)]
    [TestCase("https://r.test:443/", "r.test", "fn", false)]
    [TestCase("https://user@r.test/v1/", "r.test", "fn", true)]
    [TestCase("https://evil.test/@r.test/v1/", "r.test", "fn", false)]
    [TestCase("http://[::1]:5000/v1/", "[::1]:5000", "fn", true)]
    [TestCase("[::1]:5000", "[::1]:5000", "fn", true)]
    [TestCase("HTTPS://R.TEST/v1/", "r.test", "fn", true)]
    [TestCase("*.test", "r.test", "fn", false)]
    [TestCase("sub.r.test", "r.test", "fn", false)]
    [TestCase("r.test", "sub.r.test", "fn", false)]
    [TestCase("", "r.test", "fn", false)]
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
    public async Task A_name_as_it_is_looked_for_comes_before_one_that_means_the_same(CancellationToken token)
    {
        Write(".docker/config.json", """{"auths":{"https://r.test/v1/":{"username":"old","password":"p"},"r.test":{"username":"new","password":"p"}}}""");
        Assert.That((await FindAsync("r.test", "fn", token))?.Username, Is.EqualTo("new"));
    }

    // base64 of user:pa?ss>, which both alphabets write differently.
    [TestCase("dXNlcjpwYT9zcz4=", "user", "pa?ss>")]
    [TestCase("dXNlcjpwYT9zcz4", "user", "pa?ss>")]
    [TestCase("dXNlcjpwYT9z\\ncz4=\\r\\n", "user", "pa?ss>")]
    [TestCase(" dXNlcjpwYT9zcz4= ", "user", "pa?ss>")]
    [TestCase("dXNlcjr7_w==", "user", "\ufffd\ufffd")]
    [TestCase("dXNlcjpzZWNyZXQAAA==", "user", "secret")]
    [TestCase("dXNlcjphOmI=", "user", "a:b")]
    [TestCase("dXNlcjo=", "user", "")]
    public async Task An_encoded_password_is_read_in_all_the_forms_in_which_it_is_written(string auth, string user, string password, CancellationToken token)
    {
        Write(".docker/config.json", """{"auths":{"r.test":{"auth":"AUTH"}}}""".Replace("AUTH", auth, StringComparison.Ordinal));
        ImagePullAuth? found = await FindAsync("r.test", "fn", token);
        Assert.That((found?.Username, found?.Password), Is.EqualTo((user, password)));
    }

    [Test]
    public async Task Of_two_ways_to_write_a_password_in_a_file_the_encoded_one_counts(CancellationToken token)
    {
        Write(".docker/config.json", """{"auths":{"r.test":{"auth":"dXNlcjpzZWNyZXQ=","username":"other","password":"p"}}}""");
        Assert.That((await FindAsync("r.test", "fn", token))?.Username, Is.EqualTo("user"));
    }

    [TestCase("")]
    [TestCase(" \r\n\t")]
    [TestCase("\ufeff")]
    [TestCase("null")]
    [TestCase("{}")]
    [TestCase("{\"auths\":null,\"credsStore\":null,\"credHelpers\":null}")]
    [TestCase("{\"auths\":{\"r.test\":null}}")]
    [TestCase("{\"auths\":{\"r.test\":{}}}")]
    [TestCase("{\"auths\":{\"r.test\":{\"auth\":\"\",\"email\":\"x@r.test\"}}}")]
    [TestCase("{\"credsStore\":\"\",\"credHelpers\":{\"r.test\":\"\"}}")]
    public async Task A_file_without_credentials_is_no_fault(string content, CancellationToken token)
    {
        Write(".docker/config.json", content);
        Assert.That(await FindAsync("r.test", "fn", token), Is.Null);
        Assert.That(_log.Text, Does.Not.Contain("Warning"));
    }

    [Test]
    public async Task An_empty_device_is_an_empty_file(CancellationToken token)
    {
        _environment["REGISTRY_AUTH_FILE"] = "/dev/null";
        Assert.That(await FindAsync("r.test", "fn", token), Is.Null);
        Assert.That(_log.Text, Does.Not.Contain("Warning"));
    }

    [TestCase("\ufeff{0}")]
    [TestCase("{0} trailing")]
    [TestCase("{0}{0}")]
    public async Task A_byte_order_mark_and_what_follows_the_first_value_do_not_matter(string form, CancellationToken token)
    {
        Write(".docker/config.json", form.Replace("{0}", $$$"""{"auths":{{{Entry("r.test", "user")}}}}""", StringComparison.Ordinal));
        Assert.That((await FindAsync("r.test", "fn", token))?.Username, Is.EqualTo("user"));
    }

    [Test]
    public async Task Names_of_settings_may_have_any_case(CancellationToken token)
    {
        Write(".docker/config.json", """{"Auths":{"r.test":{"Username":"user","PASSWORD":"p","identityToken":"it"}}}""");
        Assert.That((await FindAsync("r.test", "fn", token))?.IdentityToken, Is.EqualTo("it"));
    }

    [Test]
    public async Task A_variable_may_hold_what_a_file_holds_and_comes_before_the_files(CancellationToken token)
    {
        Helper("own", """echo '{"Username":"helped","Secret":"s"}'""");
        _environment["DOCKER_AUTH_CONFIG"] = """{"auths":{"r.test":{"auth":"dXNlcjpzZWNyZXQ="}},"credHelpers":{"h.test":"own"},"HttpHeaders":{}}""";
        Write(".docker/config.json", """{"auths":{"r.test":{"username":"file","password":"p"},"other.test":{"username":"file","password":"p"}}}""");
        Assert.That((await FindAsync("r.test", "fn", token))?.Username, Is.EqualTo("user"));
        Assert.That((await FindAsync("h.test", "fn", token))?.Username, Is.EqualTo("helped"));
        Assert.That((await FindAsync("other.test", "fn", token))?.Username, Is.EqualTo("file"));
    }

    [TestCase("")]
    [TestCase("not JSON with hunter2")]
    [TestCase("{\"auths\":[]}")]
    public async Task A_variable_that_is_broken_leaves_the_files(string content, CancellationToken token)
    {
        _environment["DOCKER_AUTH_CONFIG"] = content;
        Write(".docker/config.json", $$$"""{"auths":{{{Entry("r.test", "file")}}}}""");
        Assert.That((await FindAsync("r.test", "fn", token))?.Username, Is.EqualTo("file"));
        Assert.That(_log.Text, content.Length == 0 ? Does.Not.Contain("Warning") : Does.Contain("Warning: credentials in DOCKER_AUTH_CONFIG are passed over: it is no JSON of the expected form"));
        Assert.That(_log.Text, Does.Not.Contain("hunter2"));
    }

    [Test]
    public async Task The_search_says_where_it_looked_and_what_was_there(CancellationToken token)
    {
        _environment["DOCKER_CONFIG"] = _home["docker"];
        Write("docker/config.json", """{"credsStore":"missing","auths":{"r.test":{}}}""");
        Write("run/containers/auth.json", "hunter2");
        Write(".config/containers/auth.json", """{"auths":{"r.test":{"auth":"hunter2!"},"other.test":{}}}""");
        Write(".dockercfg", Entry("r.test", "user"));
        CredentialSearch search = await SearchAsync("r.test", "fn", token);
        Assert.That(search.Describe(), Is.EqualTo(
            "; credentials were looked for in DOCKER_AUTH_CONFIG (not set), "
            + $"'{_home["docker/config.json"]}' (helper 'docker-credential-missing' failed: there is no such program in PATH; an entry without credentials), "
            + $"'{_home["run/containers/auth.json"]}' (it is no JSON of the expected form, at line 1), "
            + $"'{_home[".config/containers/auth.json"]}' (their 'auth' is no base64 of USER:PASSWORD), '{_home[".dockercfg"]}' (found)"));
        Assert.That(_log.Text.Split("Warning: ").Length - 1, Is.EqualTo(3), _log.Text);
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

    [Test]
    public async Task A_registry_whose_helper_has_no_name_has_none(CancellationToken token)
    {
        Helper("all", """echo '{"Username":"all","Secret":"s"}'""");
        Write(".docker/config.json", $$$"""{"credsStore":"all","credHelpers":{"r.test":""},"auths":{{{Entry("r.test", "file")}}}}""");
        Assert.That((await FindAsync("r.test", "fn", token))?.Username, Is.EqualTo("file"));
        Assert.That((await FindAsync("other.test", "fn", token))?.Username, Is.EqualTo("all"));
    }

    [TestCase("r.test", "r.test", true)]
    [TestCase("R.test", "r.test", true)]
    [TestCase("https://r.test", "r.test", true)]
    [TestCase("r.test", "sub.r.test", false)]
    [TestCase("sub.r.test", "r.test", false)]
    [TestCase("r.test:5000", "r.test", false)]
    [TestCase("docker.io", "index.docker.io", true)]
    public async Task A_helper_is_for_the_registry_it_is_named_for(string key, string registry, bool asked, CancellationToken token)
    {
        Helper("own", """echo '{"Username":"own","Secret":"s"}'""");
        Write(".docker/config.json", $$$"""{"credHelpers":{"{{{key}}}":"own"}}""");
        Assert.That((await FindAsync(registry, "fn", token))?.Username, Is.EqualTo(asked ? "own" : null));
    }

    [TestCase("{\"auths\":{\"r.test\":{\"password\":\"hunter2\"")]
    [TestCase("hunter2")]
    [TestCase("{\"auths\":{\"r.test\":\"hunter2\"}}")]
    public async Task A_malformed_file_is_passed_over_named_and_not_quoted(string content, CancellationToken token)
    {
        Write(".config/containers/auth.json", content);
        Write(".docker/config.json", $$$"""{"auths":{{{Entry("r.test", "docker")}}}}""");
        Assert.That((await FindAsync("r.test", "fn", token))?.Username, Is.EqualTo("docker"));
        Assert.That(_log.Text, Does.Contain($"Warning: credentials in '{_home[".config/containers/auth.json"]}' are passed over: it is no JSON of the expected form, at line 1").And.Not.Contain("hunter2"));
    }

    [Test]
    public async Task A_file_that_is_a_directory_or_too_large_is_passed_over(CancellationToken token)
    {
        Directory.CreateDirectory(_home[".config/containers/auth.json"]);
        Write(".docker/config.json", new string(' ', (1 << 20) + 1));
        Assert.That(await FindAsync("r.test", "fn", token), Is.Null);
        Assert.That(_log.Text, Does.Contain("it is a directory").And.Contain("more than 1048576 bytes"));
    }

    [TestCase("not base64!")]
    [TestCase("bm9jb2xvbg==")]
    public void What_is_no_user_and_password_is_refused(string auth) =>
        Assert.That(() => RegistryCredentials.From(new ImagePullAuth { Auth = auth }), Throws.TypeOf<UnauthorizedException>().With.Message.Not.Contains(auth));

    [Test]
    public void A_password_may_hold_colons()
    {
        ImagePullAuth credentials = RegistryCredentials.From(new ImagePullAuth { Auth = Convert.ToBase64String(Encoding.UTF8.GetBytes("user:a:b:c")) })!;
        Assert.That((credentials.Username, credentials.Password), Is.EqualTo(("user", "a:b:c")));
    }

    private async Task<ImagePullAuth?> FindAsync(string registry, string repository, CancellationToken token) =>
        await SearchAsync(registry, repository, token) is { HasFound: true } search ? search.Credentials : null;

    private async Task<CredentialSearch> SearchAsync(string registry, string repository, CancellationToken token)
    {
        var search = new CredentialSearch();
        await new CredentialFiles(FaultyRegistry.Options.With(o => { o.Logger = _log; o.GetEnvironmentVariable = _environment.GetValueOrDefault; }))
            .SearchAsync(search, registry, repository, token);
        return search;
    }

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
