using System.Globalization;
using System.Net;
using System.Text;
using Xfn.Core.Registry;

namespace Xfn.Core.Fuzzing;

/// <summary>A registry that answers anything: the input is its answers in turn. Nothing is sent anywhere.</summary>
internal static class RegistryTarget
{
    /// <summary>What separates answers: ASCII's record separator.</summary>
    private const byte Separator = 0x1E;

    public static void Pull(byte[] input)
    {
        using var registry = new Answers(input);
        using var fetcher = new RegistryImageFetcher(new RegistryOptions { HttpHandler = registry, MaxRetries = 0, UseCredentialFiles = false, UseCertificateDirectories = false });
        ImageReference reference = ImageReference.Parse("registry.example.org/function:v1");
        FetchedManifest fetched = fetcher.FetchManifestAsync(reference, new FetchContext()).GetAwaiter().GetResult();
        var blob = new Descriptor { MediaType = MediaTypes.OciLayer, Digest = fetched.Digest, Size = 100 };
        using Stream stream = fetcher.OpenBlobAsync(reference, blob, 0, new FetchContext()).GetAwaiter().GetResult();
        stream.CopyToAsync(Stream.Null).GetAwaiter().GetResult();
    }

    private sealed class Answers(byte[] input) : HttpMessageHandler
    {
        private int _at;

        protected override Task<HttpResponseMessage> SendAsync(HttpRequestMessage request, CancellationToken cancellationToken)
        {
            ReadOnlySpan<byte> rest = input.AsSpan(_at);
            int end = rest.IndexOf(Separator);
            ReadOnlySpan<byte> answer = end < 0 ? rest : rest[..end];
            _at = end < 0 ? input.Length : _at + end + 1;
            return Task.FromResult(Parse(request, answer));
        }

        /// <summary>A status, headers as lines, an empty line, the body.</summary>
        private static HttpResponseMessage Parse(HttpRequestMessage request, ReadOnlySpan<byte> answer)
        {
            int split = answer.IndexOf("\n\n"u8);
            string[] lines = Encoding.Latin1.GetString(split < 0 ? answer : answer[..split]).Split('\n');
            int status = int.TryParse(lines[0], NumberStyles.None, CultureInfo.InvariantCulture, out int parsed) && parsed is >= 200 and <= 599 ? parsed : 404;
            var response = new HttpResponseMessage((HttpStatusCode)status)
            {
                RequestMessage = request,
                Content = new ByteArrayContent(split < 0 ? [] : answer[(split + 2)..].ToArray()),
            };
            foreach (string line in lines.Skip(1))
            {
                int colon = line.IndexOf(':');
                if (colon <= 0)
                    continue;
                string value = line[(colon + 1)..].Trim();
                if (!response.Headers.TryAddWithoutValidation(line[..colon], value))
                    response.Content.Headers.TryAddWithoutValidation(line[..colon], value);
            }

            return response;
        }
    }
}
