using System.Security.Cryptography;
using System.Security.Cryptography.X509Certificates;
using System.Text;

namespace Xfn.Core.Tests.Registry;

/// <summary>Issues the signed tokens that docker-registry accepts, to one user.</summary>
internal sealed class TokenServer : IDisposable
{
    public const string User = "user";
    public const string Password = "pass:word/hunter2";
    public const string IdentityToken = "identity-token-hunter2";
    private const string Service = "test-registry";
    private const string Issuer = "test-issuer";

    private readonly TestCertificates _certificates = new();
    private readonly X509Certificate2 _signer;
    private readonly FaultyServer _server;

    public TokenServer()
    {
        _signer = _certificates.Server("token.test");
        _server = new FaultyServer(AnswerAsync);
    }

    public IReadOnlyCollection<ServedRequest> Requests => _server.Requests;

    /// <summary>Whether POST is understood.</summary>
    public bool KnowsOAuth { get; set; } = true;

    public TimeSpan Lifetime { get; set; } = TimeSpan.FromMinutes(5);

    /// <summary>The registry's configuration: tokens of this server and of no other.</summary>
    public (string Http, string Other) Configure(TemporaryDirectory directory)
    {
        File.WriteAllText(directory["root.pem"], _certificates.Authority.ExportCertificatePem());
        return ("", $"auth: {{ token: {{ realm: \"http://{_server.Host}/token\", service: {Service}, issuer: {Issuer}, rootcertbundle: \"{directory["root.pem"]}\" }} }}");
    }

    public void Dispose()
    {
        _server.Dispose();
        _certificates.Dispose();
    }

    private Task AnswerAsync(ServedRequest request, ServedResponse response)
    {
        if (request.Method == "POST")
        {
            return !KnowsOAuth ? response.SendAsync(404)
                : request.Body.Contains($"refresh_token={IdentityToken}&", StringComparison.Ordinal) && request.Body.Contains("grant_type=refresh_token", StringComparison.Ordinal)
                    ? response.SendAsync(200, $"{{\"access_token\":\"{Token("pull")}\",\"expires_in\":{(int)Lifetime.TotalSeconds}}}")
                    : response.SendAsync(401);
        }

        string basic = "Basic " + Convert.ToBase64String(Encoding.UTF8.GetBytes($"{User}:{Password}"));
        return request["Authorization"] == basic && request.Target.Contains($"service={Service}", StringComparison.Ordinal)
            ? response.SendAsync(200, $"{{\"token\":\"{Token("pull,push")}\",\"expires_in\":{(int)Lifetime.TotalSeconds}}}")
            : response.SendAsync(401, "{\"errors\":[]}");
    }

    private string Token(string actions)
    {
        DateTimeOffset now = DateTimeOffset.UtcNow;
        string access = string.Join(',', actions.Split(',').Select(a => $"\"{a}\""));
        string header = $$"""{"typ":"JWT","alg":"RS256","x5c":["{{Convert.ToBase64String(_signer.RawData)}}"]}""";
        string claims = $$"""
            {"iss":"{{Issuer}}","sub":"{{User}}","aud":"{{Service}}","exp":{{now.ToUnixTimeSeconds() + 300}},"nbf":{{now.ToUnixTimeSeconds() - 10}},"iat":{{now.ToUnixTimeSeconds()}},
            "jti":"{{Guid.NewGuid()}}","access":[{"type":"repository","name":"team/fn","actions":[{{access}}]}]}
            """;
        string content = Base64Url(Encoding.UTF8.GetBytes(header)) + "." + Base64Url(Encoding.UTF8.GetBytes(claims));
        using RSA key = _signer.GetRSAPrivateKey()!;
        return content + "." + Base64Url(key.SignData(Encoding.ASCII.GetBytes(content), HashAlgorithmName.SHA256, RSASignaturePadding.Pkcs1));
    }

    private static string Base64Url(byte[] bytes) => Convert.ToBase64String(bytes).TrimEnd('=').Replace('+', '-').Replace('/', '_');
}
