using System.Net;

namespace Xfn.Core.Remote;

/// <summary>One offer of a run to a server.</summary>
internal sealed class Attempt
{
    private static readonly AsyncLocal<Attempt?> Local = new();

    /// <summary>The one that the calling code is about.</summary>
    public static Attempt? Current => Local.Value;

    /// <summary>Whether any of the message may have left. A server starts nothing before it has all of it.</summary>
    public bool Sent { get; set; }

    /// <summary>Begins one, for the calling method and what it calls.</summary>
    public static Attempt Begin() => Local.Value = new Attempt();
}

/// <summary>Notes whether a request's message was sent: one that was not can always be offered again.</summary>
internal sealed class SendWatch(HttpMessageHandler inner) : DelegatingHandler(inner)
{
    protected override Task<HttpResponseMessage> SendAsync(HttpRequestMessage request, CancellationToken cancellationToken)
    {
        if (Attempt.Current is { } attempt && request.Content is { } content)
            request.Content = new WatchedContent(content, attempt);
        return base.SendAsync(request, cancellationToken);
    }

    private sealed class WatchedContent : HttpContent
    {
        private readonly HttpContent _content;
        private readonly Attempt _attempt;

        public WatchedContent(HttpContent content, Attempt attempt)
        {
            (_content, _attempt) = (content, attempt);
            foreach (KeyValuePair<string, IEnumerable<string>> header in content.Headers)
                Headers.TryAddWithoutValidation(header.Key, header.Value);
        }

        protected override Task SerializeToStreamAsync(Stream stream, TransportContext? context) => SerializeToStreamAsync(stream, context, CancellationToken.None);

        protected override Task SerializeToStreamAsync(Stream stream, TransportContext? context, CancellationToken cancellationToken)
        {
            _attempt.Sent = true;
            return _content.CopyToAsync(stream, context, cancellationToken);
        }

        protected override bool TryComputeLength(out long length)
        {
            length = -1;
            return false;
        }

        protected override void Dispose(bool disposing)
        {
            if (disposing)
                _content.Dispose();
            base.Dispose(disposing);
        }
    }
}
