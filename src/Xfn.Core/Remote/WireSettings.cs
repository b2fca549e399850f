using System.Net;
using Google.Protobuf;
using Xfn.Core.Runs;

namespace Xfn.Core.Remote;

/// <summary>Settings of a container, to and from the messages of the wire.</summary>
internal static class WireSettings
{
    private static readonly (string Name, Func<ContainerSettings, bool> IsSet)[] _known =
    [
        (nameof(ContainerSettings.Entrypoint), s => s.Entrypoint is not null),
        (nameof(ContainerSettings.Arguments), s => s.Arguments is not null),
        (nameof(ContainerSettings.Environment), s => s.Environment.Count > 0),
        (nameof(ContainerSettings.WorkingDirectory), s => s.WorkingDirectory is not null),
        (nameof(ContainerSettings.User), s => s.User is not null),
        (nameof(ContainerSettings.Hostname), s => s.Hostname is not null),
        (nameof(ContainerSettings.ExtraHosts), s => s.ExtraHosts.Count > 0),
        (nameof(ContainerSettings.Mounts), s => s.Mounts.Count > 0),
        (nameof(ContainerSettings.WritableRootBytes), s => s.WritableRootBytes is not null),
        (nameof(ContainerSettings.StopSignal), s => s.StopSignal is not null),
        (nameof(ContainerSettings.Egress), s => s.Egress.Count > 0),
    ];

    /// <summary>The names of the settings that are set.</summary>
    public static IEnumerable<string> NamesOf(ContainerSettings settings) => _known.Where(known => known.IsSet(settings)).Select(known => known.Name);

    /// <summary>A request with settings, as it goes to a server.</summary>
    /// <param name="request">The request.</param>
    /// <param name="plain">All of it but the settings.</param>
    /// <returns>The message; null where nothing is set, for the method that all servers know.</returns>
    /// <exception cref="InvalidRequestException">A setting makes no sense, or is not for servers.</exception>
    public static Protocol.RunRequest? ToMessage(RunFunctionRequest request, Protocol.RunFunctionRequest plain) => CheckedSettings.From(request.Container) is not { } settings ? null : new Protocol.RunRequest
    {
        Function = plain,
        Container = ToMessage(settings),
        Settings = { NamesOf(settings) },
    };

    /// <summary>A request with settings that came to a server.</summary>
    /// <exception cref="InvalidRequestException">It makes no sense, or sets what this server does not know.</exception>
    public static RunFunctionRequest FromMessage(Protocol.RunRequest message)
    {
        if (message.Settings.FirstOrDefault(name => !Array.Exists(_known, known => known.Name == name)) is { } unknown)
            throw new InvalidRequestException($"cannot use setting '{unknown}': this server does not know it. Leave it out, or have a newer xfn there.");
        return WireMessages.FromMessage(message.Function ?? new()) with { Container = message.Container is null ? null : CheckedSettings.From(FromMessage(message.Container)) };
    }

    private static Protocol.ContainerSettings ToMessage(ContainerSettings settings)
    {
        var message = new Protocol.ContainerSettings
        {
            Entrypoint = ToWords(settings.Entrypoint),
            Arguments = ToWords(settings.Arguments),
            Environment = { settings.Environment },
            WorkingDirectory = settings.WorkingDirectory ?? "",
            User = settings.User ?? "",
            Hostname = settings.Hostname ?? "",
            ExtraHosts = { settings.ExtraHosts.ToDictionary(host => host.Key, host => host.Value.ToString()) },
            Mounts = { settings.Mounts.Select(ToMessage) },
            StopSignal = settings.StopSignal ?? "",
            Egress = { settings.Egress },
        };
        if (settings.WritableRootBytes is { } bytes)
            message.WritableRootBytes = bytes;
        return message;
    }

    private static Protocol.Mount ToMessage(Mount mount) => mount switch
    {
        TmpfsMount tmpfs => new Protocol.Mount { Destination = mount.Destination, Tmpfs = new Protocol.Tmpfs { Bytes = tmpfs.Bytes } },
        FileMount file => new Protocol.Mount { Destination = mount.Destination, File = new Protocol.File { Content = UnsafeByteOperations.UnsafeWrap(file.Content), Mode = (uint)file.Mode } },
        BindMount bind => throw new InvalidRequestException(
            $"cannot mount '{bind.Source}' at '{bind.Destination}' on a server: it is a file or directory of this machine, or of the server's, which it gives nobody. Send it as Mount.File, or on stdin."),
        _ => throw new InvalidRequestException($"cannot make a volume at '{mount.Destination}' on a server: it would take the server's disk without a limit. Use Mount.Tmpfs."),
    };

    private static ContainerSettings FromMessage(Protocol.ContainerSettings message) => new()
    {
        Entrypoint = message.Entrypoint?.Words_.ToArray(),
        Arguments = message.Arguments?.Words_.ToArray(),
        Environment = message.Environment,
        WorkingDirectory = NullIfEmpty(message.WorkingDirectory),
        User = NullIfEmpty(message.User),
        Hostname = NullIfEmpty(message.Hostname),
        ExtraHosts = message.ExtraHosts.ToDictionary(host => host.Key, host => IPAddress.TryParse(host.Value, out IPAddress? address)
            ? address : throw new InvalidRequestException($"cannot use extra host '{host.Key}': '{host.Value}' is no address. Write one in numbers.")),
        Mounts = [.. message.Mounts.Select(FromMessage)],
        WritableRootBytes = message.HasWritableRootBytes ? message.WritableRootBytes : null,
        StopSignal = NullIfEmpty(message.StopSignal),
        Egress = message.Egress,
    };

    private static Mount FromMessage(Protocol.Mount message) => message.KindCase switch
    {
        Protocol.Mount.KindOneofCase.Tmpfs => Mount.Tmpfs(message.Destination, message.Tmpfs.Bytes),
        Protocol.Mount.KindOneofCase.File => Mount.File(message.Destination, message.File.Content.Memory, (UnixFileMode)message.File.Mode),
        _ => throw new InvalidRequestException($"cannot mount anything at '{message.Destination}': the request says no kind that this server knows. Write tmpfs or file."),
    };

    private static Protocol.Words? ToWords(IReadOnlyList<string>? words) => words is null ? null : new Protocol.Words { Words_ = { words } };

    private static string? NullIfEmpty(string text) => text.Length > 0 ? text : null;
}
