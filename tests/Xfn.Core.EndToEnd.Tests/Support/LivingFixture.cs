namespace Xfn.Core.EndToEnd.Tests.Support;

/// <summary>Containers whose spark is asked for more.</summary>
internal abstract class LivingFixture : RunnerFixture
{
    protected Task<Living> StartAsync(string script, CancellationToken token) => StartAsync(TestImage.Shell(script), token);

    protected async Task<Living> StartAsync(TestImage image, CancellationToken token, Action<ContainerRunnerOptions>? configure = null, bool isOurs = true)
    {
        if (isOurs && Ways.Runtime is not null)
            Assert.Ignore("spark enters only containers that it made, and an OCI runtime makes them here");
        var tap = new SparkTap(NewSpawner());
        TestRunner runner = NewRunner(o =>
        {
            o.NamespaceSpawner = tap;
            configure?.Invoke(o);
        });
        var stop = CancellationTokenSource.CreateLinkedTokenSource(token);
        Task<RunFunctionResponse> run = runner.RunFunctionAsync(new RunFunctionRequest { Image = Write(image), RunFunctionConfig = new() { Timeout = TimeSpan.FromHours(1) } }, stop.Token);
        if (await Task.WhenAny(tap.Started, run) == run)
            await run;
        return new Living(await tap.Started, run, stop);
    }

    /// <summary>A container that lives until this is disposed.</summary>
    protected sealed class Living(TappedSpark spark, Task<RunFunctionResponse> run, CancellationTokenSource stop) : IAsyncDisposable
    {
        public TappedSpark Spark => spark;

        public Task<RunFunctionResponse> Run => run;

        public async ValueTask DisposeAsync()
        {
            await stop.CancelAsync();
            await run.ContinueWith(static _ => { }, TaskScheduler.Default);
            stop.Dispose();
        }
    }
}
