using System.Diagnostics;
using Xfn.Core.Images;

namespace Xfn.Core.Services;

/// <summary>The telemetry of one container's start: a span, and the meter. Nothing without listeners.</summary>
internal sealed class StartTelemetry(ImageReference reference, TimeProvider time) : IDisposable
{
    private readonly long _begun = time.GetTimestamp();
    private readonly Activity? _activity = XfnTelemetry.Source.StartActivity("xfn.container.start")?.SetTag("container.image.name", reference.ToString());

    public void Found(LeasedImage image) =>
        _activity?.SetTag("oci.manifest.digest", image.Image.ManifestDigest.ToString()).SetTag("xfn.cache.result", image.FromCache ? "hit" : "miss");

    /// <summary>The container is ready.</summary>
    public void Succeeded() => Report("succeeded", null);

    /// <summary>It is not. To be called as a filter, so that the error goes on as it was.</summary>
    /// <returns>False.</returns>
    public bool Failed(Exception exception)
    {
        Report(exception is OperationCanceledException or ObjectDisposedException ? "cancelled" : exception is ContainerException ? "failed" : "error", exception);
        return false;
    }

    public void Dispose() => _activity?.Dispose();

    private void Report(string outcome, Exception? error)
    {
        var tags = new TagList { { "xfn.container.outcome", outcome } };
        if (error is not null)
            tags.Add("error.type", error.GetType().FullName);
        XfnTelemetry.ContainerStartDuration.Record(time.GetElapsedTime(_begun).TotalSeconds, tags);
        if (_activity is not { IsAllDataRequested: true })
            return;
        _activity.SetTag("xfn.container.outcome", outcome);

        // A container's output is its caller's. Messages of its failures quote it; those of the runner's own do not.
        if (error is not null)
            _activity.SetTag("error.type", error.GetType().FullName).SetStatus(ActivityStatusCode.Error, error is ContainerException ? null : error.Message);
    }
}
