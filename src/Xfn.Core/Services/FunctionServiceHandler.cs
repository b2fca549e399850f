using System.Net.Http.Json;

namespace Xfn.Core.Services;

/// <summary>Sends each request to the instance of a service that has the fewest calls.</summary>
internal sealed class FunctionServiceHandler(FunctionService service) : HttpMessageHandler
{
    protected override async Task<HttpResponseMessage> SendAsync(HttpRequestMessage request, CancellationToken cancellationToken)
    {
        try
        {
            return await service.LeaseAsync(
                async lease =>
                {
                    HttpResponseMessage response = await lease.Instance.Http.SendAsync(request, lease.Token).ConfigureAwait(false);
                    if (request.Method == HttpMethod.Head)
                        lease.Dispose();
                    else
                        response.Content = new LeasedContent(response.Content, lease);
                    return response;
                },
                mayRepeat: request.Content is null or ByteArrayContent or ReadOnlyMemoryContent or JsonContent,
                cancellationToken).ConfigureAwait(false);
        }
        catch (Exception ex) when (ex is XfnException or ObjectDisposedException)
        {
            throw new HttpRequestException(HttpRequestError.ConnectionError, ex.Message, ex);
        }
    }
}

/// <summary>The body of an answer, whose end is the end of a call.</summary>
internal sealed class LeasedContent : HttpContent
{
    private readonly HttpContent _body;
    private readonly InstanceLease _lease;

    public LeasedContent(HttpContent body, InstanceLease lease)
    {
        (_body, _lease) = (body, lease);
        foreach ((string name, System.Net.Http.Headers.HeaderStringValues values) in body.Headers.NonValidated)
            Headers.TryAddWithoutValidation(name, values);
    }

    protected override async Task<Stream> CreateContentReadStreamAsync() => new LeasedStream(await _body.ReadAsStreamAsync().ConfigureAwait(false), _lease);

    protected override Stream CreateContentReadStream(CancellationToken cancellationToken) => new LeasedStream(_body.ReadAsStream(cancellationToken), _lease);

    protected override Task SerializeToStreamAsync(Stream stream, System.Net.TransportContext? context) => SerializeToStreamAsync(stream, context, CancellationToken.None);

    protected override async Task SerializeToStreamAsync(Stream stream, System.Net.TransportContext? context, CancellationToken cancellationToken)
    {
        Stream body = await CreateContentReadStreamAsync().ConfigureAwait(false);
        await using (body.ConfigureAwait(false))
            await body.CopyToAsync(stream, cancellationToken).ConfigureAwait(false);
    }

    protected override bool TryComputeLength(out long length)
    {
        length = 0;
        return false;
    }

    protected override void Dispose(bool disposing)
    {
        if (disposing)
        {
            _body.Dispose();
            _lease.Dispose();
        }

        base.Dispose(disposing);
    }
}
