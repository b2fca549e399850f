using Xfn.Core.Images;
using Xfn.Core.Spark;

namespace Xfn.Core.Runs;

/// <summary>A container in which everything has been done but the execution of its function. For one run.</summary>
internal sealed class PreparedContainer : IReady
{
    private readonly LeasedImage _image;

    private PreparedContainer(RunSandbox spark, LeasedImage image) => (Spark, _image) = (spark, image);

    public RunSandbox Spark { get; }

    public StoredImage Image => _image.Image;

    /// <summary>What the reference led to when it was made.</summary>
    public ResolvedReference Resolved => _image.Resolved;

    public bool IsAlive => Spark.IsAlive;

    /// <summary>Makes one.</summary>
    /// <param name="plan">What it is to run.</param>
    /// <param name="start">Makes its spark, in mode <c>prepare</c>.</param>
    /// <param name="images">Gives its image.</param>
    /// <param name="planner">Says how it is to be started.</param>
    /// <param name="cancellationToken">Ends the making.</param>
    /// <exception cref="RunNotBegunException">The image lacks a layer by now; it is pulled at the next attempt.</exception>
    public static async Task<PreparedContainer> StartAsync(
        RunPlan plan, Func<CancellationToken, Task<RunSandbox>> start, ImageProvider images, ContainerPlanner planner, CancellationToken cancellationToken)
    {
        LeasedImage image = await images.GetAsync(plan.Reference, plan.Request.ImagePullConfig, null, cancellationToken).ConfigureAwait(false);
        RunSandbox? spark = null;
        try
        {
            SparkRun message = await planner.PlanAsync(plan, image.Image, cancellationToken).ConfigureAwait(false) with { HasGate = true };
            spark = await start(cancellationToken).ConfigureAwait(false);
            spark.Cgroup.Apply(plan.Limits);
            await spark.StartAsync(message, cancellationToken).ConfigureAwait(false);
            spark.CountFromNow();
            return new PreparedContainer(spark, image);
        }
        catch (Exception ex)
        {
            if (spark is not null)
                await spark.DisposeAsync().ConfigureAwait(false);
            image.Dispose();
            if (ex is SparkFailedException failure)
                throw planner.NotStarted(failure, plan, image.Image, "");
            throw;
        }
    }

    public async ValueTask DisposeAsync()
    {
        await Spark.DisposeAsync().ConfigureAwait(false);
        _image.Dispose();
    }
}
