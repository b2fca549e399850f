using System.Diagnostics;

namespace Xfn.Core.Services;

/// <summary>The telemetry of one call of a service: a span, and the meter. Nothing without listeners.</summary>
internal sealed class ServiceCallTelemetry(string image, TimeProvider time) : IDisposable
{
    private readonly long _begun = time.GetTimestamp();
    private readonly Activity? _activity = XfnTelemetry.Source.StartActivity("xfn.service.call")?.SetTag("container.image.name", image);

    /// <summary>How often it was made.</summary>
    public int Attempts { get; set; }

    public void Succeeded() => Report("succeeded", null);

    /// <summary>It failed. To be called as a filter, so that the error goes on as it was.</summary>
    /// <returns>False.</returns>
    public bool Failed(Exception exception)
    {
        Report(exception is OperationCanceledException or ObjectDisposedException ? "cancelled" : exception is ContainerEndedException { WasReady: true } ? "lost" : "failed", exception);
        return false;
    }

    public void Dispose() => _activity?.Dispose();

    private void Report(string outcome, Exception? error)
    {
        var tags = new TagList { { "xfn.service.outcome", outcome } };
        if (error is not null)
            tags.Add("error.type", error.GetType().FullName);
        XfnTelemetry.ServiceCallDuration.Record(time.GetElapsedTime(_begun).TotalSeconds, tags);
        if (_activity is not { IsAllDataRequested: true })
            return;
        _activity.SetTag("xfn.service.outcome", outcome).SetTag("xfn.service.attempts", Attempts);

        // Messages of containers' failures quote their output, which is their caller's; a caller's own are nobody else's.
        if (error is not null)
            _activity.SetTag("error.type", error.GetType().FullName).SetStatus(ActivityStatusCode.Error);
    }
}
