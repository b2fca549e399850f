using System.Globalization;
using System.Net;
using System.Net.Http.Headers;

namespace Xfn.Core.Registry;

/// <summary>A blob that is pushed.</summary>
/// <param name="Descriptor">Its digest and size.</param>
/// <param name="OpenAsync">Opens it at a byte; called again when the upload broke off.</param>
/// <param name="MountFrom">A repository of the same registry that has it. Null for none.</param>
/// <param name="Report">Gets how many bytes were sent. Null for nobody.</param>
internal sealed record PushedBlob(Descriptor Descriptor, Func<long, CancellationToken, Task<Stream>> OpenAsync, string? MountFrom = null, Action<long>? Report = null);

/// <summary>Pushes images to registries that speak the distribution protocol.</summary>
/// <remarks><see href="https://github.com/opencontainers/distribution-spec/blob/v1.1.1/spec.md#push">distribution-spec,
/// Push</see>. Safe for concurrent use.</remarks>
internal sealed class RegistryImagePusher : IDisposable
{
    private static readonly TimeSpan LongestInterval = TimeSpan.FromSeconds(15);

    // A signature may be of the letters.
    private static readonly UriCreationOptions AsWritten = new() { DangerousDisablePathAndQueryCanonicalization = true };

    private readonly RegistryOptions _options;
    private readonly RegistryServers _servers;

    /// <exception cref="ArgumentException">An option makes no sense; the message says which.</exception>
    /// <exception cref="XfnException">The certificate authorities cannot be read.</exception>
    public RegistryImagePusher(RegistryOptions? options = null, Dialer? dialer = null)
    {
        _options = (options ?? new RegistryOptions()).CheckedCopy();
        _servers = new RegistryServers(_options, dialer);
    }

    /// <summary>Pushes a blob, unless the repository has it.</summary>
    /// <returns>Whether its bytes were sent.</returns>
    public async Task<bool> PushBlobAsync(ImageReference image, PushedBlob blob, CancellationToken cancellationToken)
    {
        RegistryTarget target = Target(image, blob.Descriptor.Digest);
        if (await HasAsync(target, cancellationToken).ConfigureAwait(false))
            return false;
        Upload? upload = await StartAsync(target, blob.MountFrom is { } from ? $"?mount={blob.Descriptor.Digest}&from={from}" : "", cancellationToken).ConfigureAwait(false);
        if (upload is null)
            return false;
        for (int failures = 0; ; )
        {
            try
            {
                await SendRestAsync(upload, blob, cancellationToken).ConfigureAwait(false);
                return true;
            }
            catch (XfnException e) when (MayGoOn(e, upload) && failures < _options.MaxRetries)
            {
                RegistryLog.UploadBrokeOff(_options.Logger, target.Endpoint.Authority, blob.Descriptor.Digest.ToString(), e.Message);
                await Task.Delay(Interval(failures++), _options.TimeProvider, cancellationToken).ConfigureAwait(false);
            }

            // The answer alone may have been lost.
            long before = upload.Offset;
            upload = await AskAsync(upload, cancellationToken).ConfigureAwait(false);
            if (upload is null && await HasAsync(target, cancellationToken).ConfigureAwait(false))
                return true;
            upload ??= await StartAsync(target, "", cancellationToken).ConfigureAwait(false);
            if (upload is null)
                return true;
            if (upload.Offset > before)
                failures = 0;
        }
    }

    /// <summary>Pushes a manifest or an index by the reference's tag or, without one, by its digest.</summary>
    public async Task PushManifestAsync(ImageReference image, string mediaType, ReadOnlyMemory<byte> content, CancellationToken cancellationToken)
    {
        using HttpRequestMessage request = Request(HttpMethod.Put, Target(image, default));
        request.Content = new ReadOnlyMemoryContent(content) { Headers = { ContentType = new MediaTypeHeaderValue(mediaType) } };
        using HttpResponseMessage response = await RegistryServers.SendAsync(_servers.Registries, request, cancellationToken).ConfigureAwait(false);
        if (!response.IsSuccessStatusCode)
            throw await RegistryErrors.StatusAsync(request, response, _options.TimeProvider, cancellationToken).ConfigureAwait(false);
    }

    public void Dispose() => _servers.Dispose();

    private static RegistryTarget Target(ImageReference image, Digest blob) =>
        new(new RegistryEndpoint(image.Registry, "", false), image, blob, null) { IsPushed = true };

    /// <summary>What may succeed the next time, or where another upload may: one that the registry does not know any
    /// more, or of which it has other bytes than it said.</summary>
    private static bool MayGoOn(XfnException failure, Upload upload) => failure.IsTransient
        || (upload.Offset > 0 && failure.InnerException is RegistryException { StatusCode: HttpStatusCode.NotFound or HttpStatusCode.BadRequest or HttpStatusCode.RequestedRangeNotSatisfiable });

    private TimeSpan Interval(int failures)
    {
        double most = Math.Min(LongestInterval.TotalSeconds, _options.RetryDelay.TotalSeconds * Math.Pow(2, failures));
        return TimeSpan.FromSeconds(most * (0.5 + (Random.Shared.NextDouble() / 2)));
    }

    private async Task<bool> HasAsync(RegistryTarget target, CancellationToken cancellationToken)
    {
        using HttpRequestMessage request = Request(HttpMethod.Head, target);
        using HttpResponseMessage response = await RegistryServers.SendAsync(_servers.Registries, request, cancellationToken).ConfigureAwait(false);

        // One that refuses to say may take it all the same, and says there why not.
        return response.StatusCode == HttpStatusCode.OK;
    }

    /// <summary>Starts an upload.</summary>
    /// <returns>Null where none is needed: the registry has taken the blob from the repository that was named.</returns>
    private async Task<Upload?> StartAsync(RegistryTarget target, string query, CancellationToken cancellationToken)
    {
        for (int failures = 0; ; failures++)
        {
            using HttpRequestMessage request = Request(HttpMethod.Post, target with { Upload = query });
            try
            {
                using HttpResponseMessage response = await RegistryServers.SendAsync(_servers.RegistriesOnce, request, cancellationToken).ConfigureAwait(false);
                return response.StatusCode switch
                {
                    HttpStatusCode.Created when query.Length > 0 => null,
                    HttpStatusCode.Accepted => new Upload(target, RedirectFollower.AskedOf(request), LocationOf(request, response), 0),
                    _ => throw await RegistryErrors.StatusAsync(request, response, _options.TimeProvider, cancellationToken).ConfigureAwait(false),
                };
            }
            catch (XfnException e) when (e.IsTransient && failures < _options.MaxRetries)
            {
                RegistryLog.UploadBrokeOff(_options.Logger, target.Endpoint.Authority, target.Blob.ToString(), e.Message);
                await Task.Delay(Interval(failures), _options.TimeProvider, cancellationToken).ConfigureAwait(false);
            }
        }
    }

    /// <summary>Asks how much of an upload that broke off the registry has.</summary>
    /// <returns>The upload from there on; null where it must be started again.</returns>
    private async Task<Upload?> AskAsync(Upload upload, CancellationToken cancellationToken)
    {
        using HttpRequestMessage request = Request(HttpMethod.Get, upload, upload.Location);
        try
        {
            using HttpResponseMessage response = await SendAsync(request, upload, HttpStatusCode.NoContent, cancellationToken).ConfigureAwait(false);

            // Both ends count, so 0-0 is one byte, and of some registries none.
            string range = response.Headers.NonValidated.TryGetValues("Range", out HeaderStringValues values) ? values.ToString() : "";
            string[] ends = range[(range.IndexOf('=') + 1)..].Split('-');
            return ends is ["0", var last] && long.TryParse(last, NumberStyles.None, CultureInfo.InvariantCulture, out long end) && end > 0
                ? upload with { Offset = end + 1, Location = response.Headers.Contains("Location") ? LocationOf(request, response) : upload.Location }
                : null;
        }
        catch (XfnException)
        {
            // Not all registries say so; then another upload does.
            return null;
        }
    }

    /// <summary>Sends what the registry does not have, and ends the upload: in one request, as containerd does, since
    /// some registries take no more; in two for one that is taken up again.</summary>
    private async Task SendRestAsync(Upload upload, PushedBlob blob, CancellationToken cancellationToken)
    {
        (long offset, Uri location, long size) = (upload.Offset, upload.Location, blob.Descriptor.Size);
        if (offset > 0 && offset < size)
        {
            using HttpRequestMessage patch = Request(HttpMethod.Patch, upload, location);
            patch.Content = Content(blob, offset);
            patch.Content.Headers.TryAddWithoutValidation("Content-Range", $"{offset}-{size - 1}");
            using HttpResponseMessage taken = await SendAsync(patch, upload, HttpStatusCode.Accepted, cancellationToken).ConfigureAwait(false);
            (offset, location) = (size, LocationOf(patch, taken));
        }

        string query = $"{(location.Query.Length > 1 ? "&" : "?")}digest={blob.Descriptor.Digest}";
        using HttpRequestMessage put = Request(HttpMethod.Put, upload, new Uri(location.AbsoluteUri.TrimEnd('?') + query, in AsWritten));
        put.Content = Content(blob, offset);
        using HttpResponseMessage stored = await SendAsync(put, upload, HttpStatusCode.Created, cancellationToken).ConfigureAwait(false);
    }

    private static UploadContent Content(PushedBlob blob, long offset) =>
        new(blob.OpenAsync, offset, blob.Descriptor.Size - offset, blob.Report) { Headers = { ContentType = new MediaTypeHeaderValue("application/octet-stream") } };

    /// <summary>Sends a request to where the registry wants an upload. Another server gets no authorization, and must be
    /// one that this registry may lead to.</summary>
    private async Task<HttpResponseMessage> SendAsync(HttpRequestMessage request, Upload upload, HttpStatusCode expected, CancellationToken cancellationToken)
    {
        Uri uri = request.RequestUri!;
        bool isRegistry = RedirectFollower.SameAuthority(uri, upload.Registry) || RedirectFollower.IsUpgrade(upload.Registry, uri);
        HttpResponseMessage response = await RegistryServers.SendAsync(isRegistry ? _servers.LocationsOnce : _servers.OthersOnce, request, cancellationToken).ConfigureAwait(false);
        if (response.StatusCode == expected || (response.IsSuccessStatusCode && request.Method != HttpMethod.Get))
            return response;
        using (response)
            throw await RegistryErrors.StatusAsync(request, response, _options.TimeProvider, cancellationToken).ConfigureAwait(false);
    }

    private static Uri LocationOf(HttpRequestMessage request, HttpResponseMessage response)
    {
        try
        {
            return RedirectFollower.Target(RedirectFollower.AskedOf(request), response);
        }
        catch (RefusedUrlException e)
        {
            throw RegistryErrors.Failure(request, e);
        }
    }

    private static HttpRequestMessage Request(HttpMethod method, RegistryTarget target)
    {
        var request = new HttpRequestMessage(method, target.Url(Uri.UriSchemeHttps));
        request.Options.Set(RegistryTarget.Key, target);
        return request;
    }

    private static HttpRequestMessage Request(HttpMethod method, Upload upload, Uri location)
    {
        var request = new HttpRequestMessage(method, location);
        request.Options.Set(RegistryTarget.Key, upload.Target with { Location = location });
        request.Options.Set(RedirectFollower.Origin, upload.Registry);
        return request;
    }

    /// <summary>An upload that was started: the registry that was asked, where it wants the bytes, and how many of them
    /// it has.</summary>
    private sealed record Upload(RegistryTarget Target, Uri Registry, Uri Location, long Offset);
}
