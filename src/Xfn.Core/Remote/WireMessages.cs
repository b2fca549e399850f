using Google.Protobuf;
using Xfn.Core.Options;
using WireDuration = Google.Protobuf.WellKnownTypes.Duration;

namespace Xfn.Core.Remote;

/// <summary>Requests and responses, to and from the messages of the wire.</summary>
/// <remarks>A value that is left out, 0 or empty is the record's default: null where the runner chooses.</remarks>
internal static class WireMessages
{
    private const int NanosecondsPerTick = 100;
    private const int NanosecondsPerSecond = 1_000_000_000;

    /// <summary>The longest that the well-known type Duration can say: about 10,000 years.</summary>
    private const long LongestSeconds = 315_576_000_000;

    /// <summary>A request, as it goes to a server.</summary>
    /// <param name="request">The request. Its input is not copied.</param>
    /// <exception cref="InvalidRequestException">It holds what the wire cannot say.</exception>
    public static Protocol.RunFunctionRequest ToMessage(RunFunctionRequest request)
    {
        ArgumentNullException.ThrowIfNull(request);
        ArgumentNullException.ThrowIfNull(request.Image, "request.Image");
        RunFunctionConfig config = request.RunFunctionConfig;
        var message = new Protocol.RunFunctionRequest
        {
            Image = request.Image,
            Input = UnsafeByteOperations.UnsafeWrap(request.Input),
            ImagePullConfig = new Protocol.ImagePullConfig
            {
                PullPolicy = (Protocol.ImagePullPolicy)(Defined(request.ImagePullConfig.PullPolicy, "pull policy") + 1),
                Auth = ToMessage(request.ImagePullConfig.Auth),
            },
            RunFunctionConfig = new Protocol.RunFunctionConfig
            {
                Resources = new Protocol.ResourceConfig
                {
                    Limits = new Protocol.ResourceLimits
                    {
                        Memory = config.Limits.MemoryBytes is { } memory ? $"{Quantity.CheckMemory(memory, "memory limit")}" : "",
                        Cpu = config.Limits.Cpus is { } cpus ? $"{Quantity.ToCpuMilli(cpus, "cpu limit")}m" : "",
                    },
                },
                Network = new Protocol.NetworkConfig { Policy = (Protocol.NetworkPolicy)(Defined(config.Network, "network policy") + 1) },
            },
        };
        if (config.Timeout is { } timeout)
        {
            // On the wire 0 means the default, so what is none must not get there.
            if (timeout <= TimeSpan.Zero)
                throw new InvalidRequestException($"cannot use timeout '{timeout}': expected more than 0.");
            message.RunFunctionConfig.Timeout = WireDuration.FromTimeSpan(timeout);
        }

        return message;
    }

    /// <summary>A request that came to a server.</summary>
    /// <param name="message">The message. Its input is not copied.</param>
    /// <exception cref="InvalidRequestException">It makes no sense.</exception>
    public static RunFunctionRequest FromMessage(Protocol.RunFunctionRequest message) => new()
    {
        Image = message.Image.Length > 0
            ? message.Image
            : throw new InvalidRequestException("cannot run a function without an image: the request names none. Set its field image."),
        Input = message.Input.Memory,
        ImagePullConfig = new ImagePullConfig
        {
            PullPolicy = FromWire<ImagePullPolicy>((int?)message.ImagePullConfig?.PullPolicy, "pull policy"),
            Auth = FromMessage(message.ImagePullConfig?.Auth),
        },
        RunFunctionConfig = new RunFunctionConfig
        {
            Limits = FromMessage(message.RunFunctionConfig?.Resources?.Limits),
            Network = FromWire<NetworkPolicy>((int?)message.RunFunctionConfig?.Network?.Policy, "network policy"),
            Timeout = FromMessage(message.RunFunctionConfig?.Timeout),
        },
    };

    /// <summary>A response for a client, without what the trailers hold (<see cref="WireTrailers"/>).</summary>
    /// <param name="response">The response. Its output is not copied.</param>
    public static Protocol.RunFunctionResponse ToMessage(RunFunctionResponse response) => new() { Output = UnsafeByteOperations.UnsafeWrap(response.Output) };

    /// <summary>A response that came to a client.</summary>
    /// <param name="message">The message. Its output is not copied.</param>
    /// <param name="trailers">The metadata that came behind it.</param>
    public static RunFunctionResponse FromMessage(Protocol.RunFunctionResponse message, Grpc.Core.Metadata trailers) => new()
    {
        Output = message.Output.Memory,
        StderrTail = WireTrailers.ReadStderrTail(trailers),
        Statistics = WireTrailers.ReadStatistics(trailers),
    };

    private static Protocol.ImagePullAuth? ToMessage(ImagePullAuth? auth) => auth is null ? null : new Protocol.ImagePullAuth
    {
        Username = auth.Username ?? "",
        Password = auth.Password ?? "",
        Auth = auth.Auth ?? "",
        IdentityToken = auth.IdentityToken ?? "",
        RegistryToken = auth.RegistryToken ?? "",
    };

    /// <summary>Credentials; null for a message without any, as some clients always send one.</summary>
    private static ImagePullAuth? FromMessage(Protocol.ImagePullAuth? auth) => auth is null or { Username: "", Password: "", Auth: "", IdentityToken: "", RegistryToken: "" } ? null : new ImagePullAuth
    {
        Username = NullIfEmpty(auth.Username),
        Password = NullIfEmpty(auth.Password),
        Auth = NullIfEmpty(auth.Auth),
        IdentityToken = NullIfEmpty(auth.IdentityToken),
        RegistryToken = NullIfEmpty(auth.RegistryToken),
    };

    private static TimeSpan? FromMessage(WireDuration? duration)
    {
        // 0 is what a client sends that has no timeout to send.
        if (duration is null or { Seconds: 0, Nanos: 0 })
            return null;
        (long seconds, int nanos) = (duration.Seconds, duration.Nanos);
        if (seconds is < 0 or > LongestSeconds || nanos is < 0 or >= NanosecondsPerSecond)
            throw new InvalidRequestException($"cannot use a timeout of {seconds} s and {nanos} ns: expected more than 0, and 0 to 999999999 ns.");

        // Upwards: a nanosecond is not nothing.
        long ticks = (nanos + NanosecondsPerTick - 1) / NanosecondsPerTick;
        return TimeSpan.FromTicks((seconds * TimeSpan.TicksPerSecond) + ticks);
    }

    private static T Defined<T>(T value, string name)
        where T : struct, System.Enum => System.Enum.IsDefined(value) ? value : throw Undefined<T>(value, name);

    /// <summary>The wire has one value more, the first, for the default: unspecified.</summary>
    private static T FromWire<T>(int? number, string name)
        where T : struct, System.Enum
    {
        int index = number is null or 0 ? 0 : number.Value - 1;
        var value = (T)System.Enum.ToObject(typeof(T), index);
        return System.Enum.IsDefined(value) ? value : throw Undefined<T>(number, name);
    }

    private static InvalidRequestException Undefined<T>(object? value, string name)
        where T : struct, System.Enum => new InvalidRequestException($"cannot use {name} '{value}': expected one of {string.Join(", ", System.Enum.GetNames<T>())}.");

    private static ResourceLimits FromMessage(Protocol.ResourceLimits? limits) => new()
    {
        MemoryBytes = limits is { Memory.Length: > 0 } ? Quantity.ParseMemory(limits.Memory, "memory limit") : null,
        Cpus = limits is { Cpu.Length: > 0 } ? Quantity.ParseCpus(limits.Cpu, "cpu limit") : null,
    };

    private static string? NullIfEmpty(string? text) => string.IsNullOrEmpty(text) ? null : text;
}
