using Xfn.Core.Cgroups;
using Xfn.Core.Egress;
using Xfn.Core.Interop;

namespace Xfn.Core.Runs;

/// <summary>A request that can be run as it stands.</summary>
internal sealed record CheckedRequest(ImageReference Reference, RunFunctionRequest Request, TimeSpan Timeout, CgroupLimits Limits)
{
    private static readonly TimeSpan LongestTimeout = TimeSpan.FromDays(24);

    public ImagePullConfig Pull => Request.ImagePullConfig;

    public RunFunctionConfig Config => Request.RunFunctionConfig;

    /// <summary>What it sets of the container, checked and copied; null for nothing.</summary>
    public ContainerSettings? Container => Request.Container;

    /// <summary>What it may reach outside; null for nothing.</summary>
    public EgressPolicy? Egress { get; init; }

    /// <exception cref="InvalidRequestException">The request cannot be run as it stands.</exception>
    public static CheckedRequest From(RunFunctionRequest request, RunnerSettings settings)
    {
        ArgumentNullException.ThrowIfNull(request);
        ArgumentNullException.ThrowIfNull(request.Image, "request.Image");
        ImageReference reference = Parse(request.Image, settings);
        TimeSpan timeout = request.RunFunctionConfig.Timeout ?? RunFunctionConfig.DefaultTimeout;
        if (timeout <= TimeSpan.Zero || timeout > LongestTimeout)
            throw new InvalidRequestException($"cannot use timeout '{timeout}': expected more than 0 and at most {LongestTimeout.TotalDays} days.");
        CheckInput(request.Input, settings);
        Check(request.ImagePullConfig);
        CheckDefined(request.RunFunctionConfig.Network, "network policy");
        CgroupLimits limits = CgroupLimits.From(request.RunFunctionConfig.Limits, settings.ProcessLimit, settings.ProcessLimitTakesCgroup);
        if (limits.MemoryBytes is null)
            limits = limits with { MemoryBytes = settings.DefaultMemoryBytes, MemoryIsOptional = !settings.DefaultMemoryIsRequired };
        if (request.Container is not null)
            request = request with { Container = CheckedSettings.From(request.Container) };
        return new CheckedRequest(reference, request, timeout, limits) { Egress = request.Container is { Egress.Count: > 0 } container ? EgressOf(container, request.RunFunctionConfig.Network, settings) : null };
    }

    private static EgressPolicy EgressOf(ContainerSettings container, NetworkPolicy network, RunnerSettings settings)
    {
        if (network != NetworkPolicy.Isolated)
            throw new InvalidRequestException("cannot use egress in the runner's network: a container there reaches all that the runner does. Leave out the list of egress, or isolate the container.");
        if (settings.Options.Runtime is { } runtime)
            throw new InvalidRequestException($"cannot use egress with OCI runtime '{runtime}': only xfn-spark opens a way out of its containers. Leave out the list of egress, or name no runtime (option Runtime).");
        return EgressPolicy.Parse([.. container.Egress]);
    }

    /// <summary>One whose input and output are streams.</summary>
    /// <exception cref="InvalidRequestException">It has an input besides.</exception>
    public static CheckedRequest From(RunFunctionRequest request, FunctionStreams streams, RunnerSettings settings)
    {
        CheckedRequest run = From(request, settings);
        ArgumentNullException.ThrowIfNull(streams);
        return request.Input.IsEmpty ? run : throw new InvalidRequestException("cannot use an input beside a stream for stdin: pass the input as streams.Stdin.");
    }

    public static ImageReference Parse(string image, RunnerSettings settings) =>
        ImageReference.TryParse(image, settings.Options.DefaultRegistry, out ImageReference? reference, out string? error) ? reference : throw new InvalidRequestException(error);

    public static void Check(ImagePullConfig config) => CheckDefined(config.PullPolicy, "pull policy");

    /// <summary>The signal that asks its first process to end.</summary>
    public int StopSignalOf(ImageConfig image) => (Container?.StopSignal ?? image.Config?.StopSignal) is { } signal ? StopSignals.Find(signal) ?? Posix.SigTerm : Posix.SigTerm;

    /// <exception cref="InvalidRequestException">It is too large.</exception>
    public CheckedRequest With(ReadOnlyMemory<byte> input, RunnerSettings settings)
    {
        CheckInput(input, settings);
        return this with { Request = Request with { Input = input } };
    }

    private static void CheckInput(ReadOnlyMemory<byte> input, RunnerSettings settings)
    {
        if (input.Length > settings.Options.MaxStdioBytes)
        {
            throw new InvalidRequestException(
                $"cannot use an input of {input.Length} bytes: at most {settings.Options.MaxStdioBytes} are allowed (option MaxStdioBytes). Use the overload that streams.");
        }
    }

    private static void CheckDefined<T>(T value, string name)
        where T : struct, Enum
    {
        if (!Enum.IsDefined(value))
            throw new InvalidRequestException($"cannot use {name} '{value}': expected one of {string.Join(", ", Enum.GetNames<T>())}.");
    }
}
