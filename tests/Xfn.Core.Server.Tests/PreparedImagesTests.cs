using Microsoft.Extensions.Logging.Abstractions;
using Xfn.Core.Server.Tests.Support;

namespace Xfn.Core.Server.Tests;

/// <summary>Functions that a server keeps prepared.</summary>
internal sealed class PreparedImagesTests : ServerFixture
{
    [Test, CancelAfter(60_000)]
    public async Task What_cannot_be_prepared_is_tried_again_whatever_the_reason(CancellationToken token)
    {
        var bundles = new FailingBundles(3);
        ContainerRunner runner = NewRunner(o => (o.BundleBuilder, o.TimeProvider) = (bundles, new HastyTime()));
        string image = Write(TestImage.Command("cat"));
        var policy = RequestPolicy.From(new ContainerRunnerServiceOptions { AllowLocalImages = true }, runner);
        var prepared = new PreparedImages(runner, [KeyValuePair.Create(image, 1)], policy, NullLogger.Instance);
        try
        {
            var request = policy.Apply(new RunFunctionRequest { Image = image, Input = "in"u8.ToArray() });
            while (bundles.Failures > 0)
                await Task.Delay(10, token);
            RunFunctionResponse response;
            do
            {
                response = await prepared.RunFunctionAsync(request, token);
                Assert.That(Text(response.Output), Is.EqualTo("in"));
            }
            while (!response.Statistics.Prepared);
        }
        finally
        {
            await prepared.DisposeAsync();
        }
    }

    [Test]
    public void With_a_runtime_nothing_is_prepared()
    {
        ContainerRunner runner = NewRunner(o => o.WithRuntime("crun"));
        var policy = RequestPolicy.From(new ContainerRunnerServiceOptions(), runner);
        Assert.That(() => new PreparedImages(runner, [KeyValuePair.Create("image", 1)], policy, NullLogger.Instance), Throws.ArgumentException.With.Message.Contains("(option Runtime)"));
    }

    /// <summary>A part of the host's own that is not ready yet, and says so by an exception of its own.</summary>
    private sealed class FailingBundles(int failures) : IBundleBuilder
    {
        private readonly RuntimeBundleBuilder _builder = new(new BundleOptions());
        private int _failures = failures;

        public int Failures => Volatile.Read(ref _failures);

        public ContainerSpecification Build(BundleContext context) =>
            Interlocked.Decrement(ref _failures) >= 0 ? throw new InvalidOperationException("not yet") : _builder.Build(context);
    }

    /// <summary>A clock by which half a minute is over at once.</summary>
    private sealed class HastyTime : TimeProvider
    {
        public override ITimer CreateTimer(TimerCallback callback, object? state, TimeSpan dueTime, TimeSpan period) =>
            base.CreateTimer(callback, state, dueTime == TimeSpan.FromSeconds(30) ? TimeSpan.FromMilliseconds(10) : dueTime, period);
    }
}
