using System.Text;
using Xfn.Core.Registry;

namespace Xfn.Core.Tests.Registry;

/// <summary>Debian's docker-registry with passwords, with tokens, and with TLS.</summary>
[CancelAfter(120_000)]
public class RealRegistryAuthTests
{
    private static readonly ImagePullAuth Password = new() { Username = TokenServer.User, Password = TokenServer.Password };

    private static readonly ImagePullAuth[] Working =
    [
        Password,
        new() { Auth = Convert.ToBase64String(Encoding.UTF8.GetBytes($"{TokenServer.User}:{TokenServer.Password}")) },
        new() { IdentityToken = TokenServer.IdentityToken },
    ];

    private TokenServer _tokens = null!;
    private DockerRegistry _tokenRegistry = null!;
    private DockerRegistry _passwordRegistry = null!;

    [OneTimeSetUp]
    public void Start()
    {
        _tokens = new TokenServer();
        _tokenRegistry = new DockerRegistry(_tokens.Configure);
        _passwordRegistry = new DockerRegistry(directory =>
        {
            File.WriteAllText(directory["htpasswd"], Tool.Run("htpasswd", "-Bbn", TokenServer.User, TokenServer.Password));
            return ("", $"auth: {{ htpasswd: {{ realm: x, path: \"{directory["htpasswd"]}\" }} }}");
        });
        foreach (DockerRegistry registry in new[] { _tokenRegistry, _passwordRegistry })
            registry.Push($"oci:{TestImages.Layout}:v1", "team/fn:v1", "--dest-creds", $"{TokenServer.User}:{TokenServer.Password}");
    }

    [OneTimeTearDown]
    public void Stop()
    {
        _tokenRegistry.Dispose();
        _passwordRegistry.Dispose();
        _tokens.Dispose();
    }

    [TestCaseSource(nameof(Working))]
    public async Task An_image_is_fetched_with_a_token(ImagePullAuth auth, CancellationToken token)
    {
        using var fetcher = new RegistryImageFetcher(FaultyRegistry.Options);
        int before = _tokens.Requests.Count;
        await fetcher.WholeImageAsync($"{_tokenRegistry.Host}/team/fn:v1", new FetchContext { Auth = auth }, token);
        Assert.That(_tokens.Requests.Count - before, Is.EqualTo(1), "one token serves all of an image");
    }

    [Test]
    public async Task An_unchanged_image_is_found_so_with_a_token(CancellationToken token)
    {
        using var fetcher = new RegistryImageFetcher(FaultyRegistry.Options);
        string image = $"{_tokenRegistry.Host}/team/fn:v1";
        FetchedManifest first = await fetcher.ManifestAsync(image, new FetchContext { Auth = Password }, token);
        Assert.That((await fetcher.ManifestAsync(image, new FetchContext { Auth = Password, KnownDigest = first.Digest }, token)).IsNotModified, Is.True);
    }

    [Test]
    public async Task A_token_server_that_knows_no_oauth_is_asked_the_older_way(CancellationToken token)
    {
        using var fetcher = new RegistryImageFetcher(FaultyRegistry.Options);
        _tokens.KnowsOAuth = false;
        int before = _tokens.Requests.Count;
        try
        {
            ImageManifest manifest = await fetcher.WholeImageAsync($"{_tokenRegistry.Host}/team/fn:v1", new FetchContext { Auth = Password with { IdentityToken = "unused" } }, token);
            Assert.That(manifest.Layers, Is.Not.Empty);
            Assert.That(_tokens.Requests.Skip(before).Select(r => r.Method), Is.EqualTo((string[])["POST", "GET"]));
        }
        finally
        {
            _tokens.KnowsOAuth = true;
        }
    }

    [TestCase(0)]
    [TestCase(1)]
    public async Task An_image_is_fetched_with_a_password(int which, CancellationToken token)
    {
        using var fetcher = new RegistryImageFetcher(FaultyRegistry.Options);
        await fetcher.WholeImageAsync($"{_passwordRegistry.Host}/team/fn:v1", new FetchContext { Auth = Working[which] }, token);
    }

    [TestCase("wrong")]
    [TestCase(null)]
    public void Without_the_right_credentials_there_is_no_image(string? password, CancellationToken token)
    {
        using var fetcher = new RegistryImageFetcher(FaultyRegistry.Options);
        var context = new FetchContext { Auth = password is null ? null : Password with { Password = password } };
        foreach (DockerRegistry registry in new[] { _tokenRegistry, _passwordRegistry })
        {
            Assert.That(
                () => fetcher.ManifestAsync($"{registry.Host}/team/fn:v1", context, token),
                Throws.TypeOf<UnauthorizedException>().With.Message.Contains(registry.Host).And.Message.Contains("credentials"));
        }
    }

    [Test]
    public async Task The_host_program_is_asked_for_credentials_once(CancellationToken token)
    {
        var asked = new List<string>();
        using var fetcher = new RegistryImageFetcher(FaultyRegistry.Options.With(o =>
        {
            o.Credentials = (registry, _) =>
            {
                asked.Add(registry);
                return ValueTask.FromResult<ImagePullAuth?>(Password);
            };
        }));
        await fetcher.WholeImageAsync($"{_passwordRegistry.Host}/team/fn:v1", token: token);
        await fetcher.WholeImageAsync($"{_passwordRegistry.Host}/team/fn:v1", token: token);
        Assert.That(asked, Is.EqualTo([_passwordRegistry.Host]).AsCollection);
    }

    [TestCase("DOCKER_CONFIG", "", "config.json")]
    [TestCase("REGISTRY_AUTH_FILE", "own.json", "own.json")]
    [TestCase("XDG_RUNTIME_DIR", "", "containers/auth.json")]
    [TestCase("HOME", "", ".docker/config.json")]
    public async Task Who_logged_in_with_the_usual_program_may_pull(string variable, string value, string file, CancellationToken token)
    {
        using TemporaryDirectory directory = new();
        Tool.Run("skopeo", "login", "--tls-verify=false", "--authfile", directory[file], "-u", TokenServer.User, "-p", TokenServer.Password, _passwordRegistry.Host);
        using var fetcher = new RegistryImageFetcher(FaultyRegistry.Options.With(o => o.GetEnvironmentVariable = name => name == variable ? directory[value] : null));
        await fetcher.WholeImageAsync($"{_passwordRegistry.Host}/team/fn:v1", token: token);
    }

    [Test]
    public async Task What_the_usual_program_wrote_may_stand_in_a_variable(CancellationToken token)
    {
        using TemporaryDirectory directory = new();
        Tool.Run("skopeo", "login", "--tls-verify=false", "--authfile", directory["auth.json"], "-u", TokenServer.User, "-p", TokenServer.Password, _tokenRegistry.Host);
        string content = await File.ReadAllTextAsync(directory["auth.json"], token);
        using var fetcher = new RegistryImageFetcher(FaultyRegistry.Options.With(o => o.GetEnvironmentVariable = name => name == "DOCKER_AUTH_CONFIG" ? content : null));
        await fetcher.WholeImageAsync($"{_tokenRegistry.Host}/team/fn:v1", token: token);
    }

    [Test]
    public async Task A_registry_with_a_certificate_of_its_own_authority_is_trusted_when_told(CancellationToken token)
    {
        using TestCertificates certificates = new();
        using var registry = new DockerRegistry(directory =>
        {
            using var server = certificates.Server("127.0.0.1");
            File.WriteAllText(directory["cert.pem"], server.ExportCertificatePem());
            using System.Security.Cryptography.RSA key = System.Security.Cryptography.X509Certificates.RSACertificateExtensions.GetRSAPrivateKey(server)!;
            File.WriteAllText(directory["key.pem"], key.ExportPkcs8PrivateKeyPem());
            return ($"  tls: {{ certificate: \"{directory["cert.pem"]}\", key: \"{directory["key.pem"]}\" }}", "");
        });
        registry.Push($"oci:{TestImages.Layout}:v1", "team/fn:v1");
        using TemporaryDirectory bundles = new();
        File.WriteAllText(bundles["ca.pem"], certificates.Authority.ExportCertificatePem());
        string image = $"{registry.Host}/team/fn:v1";

        using var trusting = new RegistryImageFetcher(FaultyRegistry.Options.With(o => o.CertificateAuthorities = [certificates.Authority]));
        using var byEnvironment = new RegistryImageFetcher(FaultyRegistry.Options.With(o => o.GetEnvironmentVariable = n => n == "CA_BUNDLE_PATH" ? bundles["ca.pem"] : null));
        using var distrusting = new RegistryImageFetcher(FaultyRegistry.Options);

        await trusting.WholeImageAsync(image, token: token);
        await byEnvironment.WholeImageAsync(image, token: token);
        Assert.That(() => distrusting.ManifestAsync(image, token: token), Throws.TypeOf<XfnException>().With.Message.Contains("certificate is not trusted"));
    }
}
