using System.CommandLine;
using System.CommandLine.Parsing;
using System.Globalization;
using Microsoft.Extensions.Logging;
using Xfn.Core;
using Xfn.Core.Options;

namespace Xfn.Cli;

/// <summary><c>xfn start</c>: serves runs by gRPC. Only <see cref="Serving"/> loads ASP.NET Core.</summary>
internal sealed class StartCommand : Command
{
    public const string Word = "start";

    /// <summary>What the names of the server's own options begin with.</summary>
    private const string ServerPrefix = "Server:";

    private readonly RunnerOptions _runner = new();
    private readonly GlobalOptions _globals;
    private readonly TextWriter _error;

    private readonly Option<string> _network = new Option<string>("--network")
    {
        Description = "The network to listen on.",
        DefaultValueFactory = _ => "unix",
    }.AcceptOnlyFromAmong("unix", "tcp");

    private readonly Option<string> _address = new("--address")
    {
        Description = "For unix a path, or '@' and a name in Linux's abstract namespace; for tcp HOST:PORT.",
        HelpName = "ADDRESS",
        DefaultValueFactory = _ => "@crossplane/fn/default.sock",
    };

    private readonly Option<string> _tlsCertificate = new("--tls-cert") { Description = "Serve tcp with TLS: the certificate, and those between it and its authority. PEM.", HelpName = "FILE" };
    private readonly Option<string> _tlsKey = new("--tls-key") { Description = "The certificate's private key. PEM.", HelpName = "FILE" };
    private readonly Option<string> _tlsClientAuthority = new("--tls-client-ca") { Description = "Ask callers for certificates, signed by one of these authorities. PEM.", HelpName = "FILE" };
    private readonly Option<bool> _allowUnauthenticated = new("--allow-unauthenticated") { Description = "Serve whoever can reach an address that other machines can reach." };
    private readonly Option<uint[]> _allowUid = new("--allow-uid") { Description = "A user, besides xfn's own and root, whose processes may call through a Unix socket. May be repeated.", HelpName = "UID", CustomParser = OptionValue.Ids };
    private readonly Option<bool> _allowOtherNamespaces = new("--allow-other-user-namespaces")
    {
        Description = "Serve processes of other user namespaces through a Unix socket, and those that run where xfn cannot see them.",
    };

    private readonly Option<string[]> _allowImage = new("--allow-image") { Description = "A registry, or repository and what is below it, whose images may be run. May be repeated. [default: all]", HelpName = "PREFIX" };
    private readonly Option<bool> _allowLocalImages = new("--allow-local-images") { Description = "Let callers name files of this machine: oci:PATH and the like." };
    private readonly Option<bool> _allowRunnerNetwork = new("--allow-runner-network") { Description = "Let callers give functions this machine's network." };
    private readonly Option<bool> _allowPrograms = new("--allow-programs") { Description = "With --allow-image: let callers choose entrypoint, arguments, variables and files all the same, and so what runs." };
    private readonly Option<bool> _allowUser = new("--allow-user") { Description = "Let callers choose the user of a function." };
    private readonly Option<bool> _allowWritableRoot = new("--allow-writable-root") { Description = "Let callers have a root that can be written to." };
    private readonly Option<bool> _allowExtraHosts = new("--allow-extra-hosts") { Description = "Let callers add names to a function's /etc/hosts." };
    private readonly Option<bool> _allowEgress = new("--allow-egress") { Description = "Let callers list hosts that a function reaches, by their names; with --allow-runner-network by addresses too." };
    private readonly Option<TimeSpan?> _maxTimeout = new("--max-timeout") { Description = "The longest timeout that callers may ask for.", HelpName = "DURATION", CustomParser = OptionValue.Time("timeout", TimeSpan.FromTicks(1)) };
    private readonly Option<string> _maxMemory = new("--max-memory") { Description = "The most memory that a function may have, and has when its caller does not say.", HelpName = "QUANTITY" };
    private readonly Option<string> _maxCpu = new("--max-cpu") { Description = "How much of the processors a function may have, likewise.", HelpName = "QUANTITY" };
    private readonly Option<string> _defaultMemory = new("--default-memory")
    {
        Description = "The memory of a function whose caller asks for no limit, where --max-memory is not given. [default: half of the machine's, divided by --max-concurrency, at least 128Mi]",
        HelpName = "QUANTITY",
    };

    private readonly Option<long?> _cacheLimit = new("--cache-limit")
    {
        Description = "How many bytes the images in the cache may have; pulls beyond it prune. [default: a fifth of its disk]",
        HelpName = "SIZE",
        CustomParser = OptionValue.Size(1),
    };

    private readonly Option<bool> _noDefaultLimits = new("--no-default-limits") { Description = "Leave out both where they are not given." };
    private readonly Option<long?> _maxPendingInput = new("--max-pending-input")
    {
        Description = "How many bytes of inputs and answers all calls may hold together; further calls are told that xfn is busy. [default: 512Mi]",
        HelpName = "SIZE",
        CustomParser = OptionValue.Size(1),
    };

    private readonly Option<int?> _maxConcurrency = new("--max-concurrency") { Description = "How many functions run at once. [default: four a processor, at least 8]", HelpName = "COUNT", CustomParser = OptionValue.Count(1) };
    private readonly Option<int?> _maxQueue = new("--max-queue") { Description = "How many more may wait; callers beyond them are told that xfn is busy. [default: 10000]", HelpName = "COUNT", CustomParser = OptionValue.Count(0) };
    private readonly Option<TimeSpan?> _drainTime = new("--drain-time")
    {
        Description = "How long running functions may go on after SIGTERM. A second one does not wait. [default: 30s]",
        HelpName = "DURATION",
        CustomParser = OptionValue.Time("time", TimeSpan.Zero),
    };

    private readonly Option<KeyValuePair<string, int>[]> _prepare = new("--prepare")
    {
        Description = "Keep COUNT containers of an image ready, so that a run costs about as much as a process. May be repeated. [COUNT: 1]",
        HelpName = "IMAGE[=COUNT]",
        CustomParser = ParsePrepared,
    };

    private readonly Option<bool> _reflection = new("--reflection") { Description = "Serve gRPC's reflection." };
    private readonly Option<string> _logFormat = new Option<string>("--log-format") { Description = "How to log on stderr.", DefaultValueFactory = _ => "text" }.AcceptOnlyFromAmong("text", "json");
    private readonly Option<string> _logLevel = new Option<string>("--log-level")
    {
        Description = "The least that is logged. --debug is short for debug.",
        DefaultValueFactory = _ => "info",
    }.AcceptOnlyFromAmong("debug", "info", "warning", "error");

    public StartCommand(GlobalOptions globals, TextWriter error)
        : base(Word, "Serve runs by gRPC, until SIGTERM or SIGINT. This is what xfn does without a command, but for 'xfn' alone on a terminal, which shows the help.")
    {
        (_globals, _error) = (globals, error);
        _runner.AddTo(this);
        foreach (Option option in new Option[]
        {
            _network, _address, _tlsCertificate, _tlsKey, _tlsClientAuthority, _allowUnauthenticated, _allowUid, _allowOtherNamespaces, _allowImage, _allowLocalImages,
            _allowRunnerNetwork, _allowPrograms, _allowUser, _allowWritableRoot, _allowExtraHosts, _allowEgress, _maxTimeout, _maxMemory, _maxCpu, _defaultMemory, _cacheLimit, _noDefaultLimits, _maxPendingInput, _maxConcurrency, _maxQueue, _drainTime, _prepare, _reflection, _logFormat, _logLevel,
        })
        {
            Options.Add(option);
        }

        SetAction(StartAsync);
    }

    private async Task<int> StartAsync(ParseResult parsed, CancellationToken cancellationToken)
    {
        LogLevel level = parsed.GetValue(_globals.Debug) ? LogLevel.Debug : parsed.GetValue(_logLevel) switch
        {
            "debug" => LogLevel.Debug,
            "warning" => LogLevel.Warning,
            "error" => LogLevel.Error,
            _ => LogLevel.Information,
        };
        var logger = new LineLogger(_error, level, json: parsed.GetValue(_logFormat) == "json");
        ContainerRunnerOptions runner = ReadRunner(parsed).WithLogger(logger);
        ContainerRunnerServerOptions server = ReadServer(parsed);
        server.Logger = logger;
        await Serving.RunAsync(runner, server, parsed.GetValue(_network)!, parsed.GetValue(_address)!, cancellationToken);
        return 0;
    }

    internal ContainerRunnerOptions ReadRunner(ParseResult parsed)
    {
        var options = new ContainerRunnerOptions();
        _globals.Apply(parsed, options);
        _runner.Apply(parsed, options, isOther: name => name.StartsWith(ServerPrefix, StringComparison.OrdinalIgnoreCase));
        options.MaxConcurrency = parsed.GetValue(_maxConcurrency) ?? options.MaxConcurrency;
        options.MaxQueuedRuns = parsed.GetValue(_maxQueue) ?? options.MaxQueuedRuns;
        options.DefaultMemoryBytes = parsed.GetValue(_defaultMemory) is { } memory ? Quantity.ParseMemory(memory, "memory limit") : options.DefaultMemoryBytes;
        options.CacheLimit = parsed.GetValue(_cacheLimit) ?? options.CacheLimit;
        return options;
    }

    internal ContainerRunnerServerOptions ReadServer(ParseResult parsed)
    {
        (string? certificate, string? key) = (parsed.GetValue(_tlsCertificate), parsed.GetValue(_tlsKey));
        if ((certificate is null) != (key is null))
            throw new ArgumentException("cannot serve with TLS: only one of certificate and key is given. Give both --tls-cert and --tls-key.");
        var options = new ContainerRunnerServerOptions();
        options.Bind(_runner.SettingsBelow(parsed, ServerPrefix));
        (options.CertificateFile, options.CertificateKeyFile) = (certificate ?? options.CertificateFile, key ?? options.CertificateKeyFile);
        options.ClientCertificateAuthoritiesFile = parsed.GetValue(_tlsClientAuthority) ?? options.ClientCertificateAuthoritiesFile;
        options.AllowUnauthenticatedClients |= parsed.GetValue(_allowUnauthenticated);
        options.RequireOwnUserNamespace &= !parsed.GetValue(_allowOtherNamespaces);
        options.AllowLocalImages |= parsed.GetValue(_allowLocalImages);
        options.AllowRunnerNetwork |= parsed.GetValue(_allowRunnerNetwork);
        options.AllowPrograms |= parsed.GetValue(_allowPrograms);
        options.AllowUser |= parsed.GetValue(_allowUser);
        options.AllowWritableRoot |= parsed.GetValue(_allowWritableRoot);
        options.AllowExtraHosts |= parsed.GetValue(_allowExtraHosts);
        options.AllowEgress |= parsed.GetValue(_allowEgress);
        options.MaxTimeout = parsed.GetValue(_maxTimeout) ?? options.MaxTimeout;
        options.MaxMemoryBytes = parsed.GetValue(_maxMemory) is { } memory ? Quantity.ParseMemory(memory, "memory limit") : options.MaxMemoryBytes;
        options.MaxCpus = parsed.GetValue(_maxCpu) is { } cpu ? Quantity.ParseCpus(cpu, "cpu limit") : options.MaxCpus;
        options.UseDefaultLimits &= !parsed.GetValue(_noDefaultLimits);
        options.MaxPendingInputBytes = parsed.GetValue(_maxPendingInput) ?? options.MaxPendingInputBytes;
        options.DrainTime = parsed.GetValue(_drainTime) ?? options.DrainTime;
        options.Reflection |= parsed.GetValue(_reflection);
        options.AllowedUids.UnionWith(parsed.GetValue(_allowUid) ?? []);
        foreach (string image in parsed.GetValue(_allowImage) ?? [])
            options.AllowedImages.Add(image);
        foreach ((string image, int count) in parsed.GetValue(_prepare) ?? [])
            options.PreparedImages[image] = count;
        return options;
    }

    private static KeyValuePair<string, int>[] ParsePrepared(ArgumentResult result)
    {
        var images = new Dictionary<string, int>();
        foreach (string text in result.Tokens.Select(token => token.Value))
        {
            int equals = text.LastIndexOf('=');
            int count = 1;
            if (equals >= 0 && !int.TryParse(text[(equals + 1)..], NumberStyles.None, CultureInfo.InvariantCulture, out count) || count is < 1 or > PrepareOptions.MaxCount)
                result.AddError($"cannot prepare '{text}': expected a count from 1 to {PrepareOptions.MaxCount} behind the '='. Write it like functions/resize:v2=4.");
            images[equals < 0 ? text : text[..equals]] = count;
        }

        return [.. images];
    }
}
