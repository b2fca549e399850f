using System.CommandLine;
using Microsoft.Extensions.Logging;
using Xfn.Core;

namespace Xfn.Cli;

/// <summary><c>xfn run IMAGE [FILE] [-- ARGUMENT…]</c>: runs a function once, or with a terminal.</summary>
internal sealed class RunCommand : Command
{
    /// <summary>Longer than <see cref="RunFunctionConfig.DefaultTimeout"/>: a person waits for it.</summary>
    private static readonly TimeSpan DefaultTimeout = TimeSpan.FromSeconds(30);

    /// <summary>The most that a run may have.</summary>
    private static readonly TimeSpan LongestTimeout = TimeSpan.FromDays(24);

    private readonly Argument<string> _image;
    private readonly Argument<string> _file = new("FILE")
    {
        Description = "What the function reads on stdin; '-' for xfn's own. [default: xfn's own, but for nothing of a terminal; nothing with arguments behind '--']",
        Arity = ArgumentArity.ZeroOrOne,
    };

    private readonly RunnerOptions _runner = new();
    private readonly ContainerSettingsOptions _container = new();
    private readonly ResourceOptions _resources = new();
    private readonly Option<TimeSpan?> _timeout = new("--timeout")
    {
        Description = "How long the function may run, such as 500ms, 30s or 1m30s. [default: 30s; with -i or -t no limit]",
        HelpName = "DURATION",
        CustomParser = OptionValue.Time("timeout", TimeSpan.FromTicks(1)),
    };

    private readonly Option<bool> _interactive = new("--interactive", "-i") { Description = "Pass stdin on: '-' for FILE, without the default timeout." };
    private readonly Option<bool> _tty = new("--tty", "-t")
    {
        Description = "Give the program a terminal, which shows on stdout. With -i it is xfn's own: what is typed, Ctrl-C too, goes to the program.",
    };

    private readonly Option<string> _server = new("--server")
    {
        Description = "Have it run by a server: unix-abstract:crossplane/fn/default.sock, unix:PATH, http://HOST:PORT, https://HOST:PORT, dns:///HOST:PORT, or several with commas between them."
            + " What is said of the cache and the mapping is then the server's.",
        HelpName = "ADDRESS",
    };

    private readonly Option<string> _tlsAuthority = new("--tls-ca") { Description = "With --server: trust also what these authorities signed, and speak TLS to dns:///. PEM.", HelpName = "FILE" };
    private readonly Option<string> _tlsCertificate = new("--tls-cert") { Description = "With --server: the certificate that tells it who calls. PEM.", HelpName = "FILE" };
    private readonly Option<string> _tlsKey = new("--tls-key") { Description = "The certificate's private key. PEM.", HelpName = "FILE" };

    private readonly GlobalOptions _globals;
    private readonly Func<ContainerRunnerOptions, IContainerRunner> _makeRunner;

    public RunCommand(GlobalOptions globals, Func<ContainerRunnerOptions, IContainerRunner> makeRunner)
        : base("run", "Run a function, or another program of an image. FILE, or stdin, goes to its stdin; its stdout and stderr come out here; what stands behind '--' are its arguments, instead of the image's command. Exits with the function's status; 124 when it timed out; 125 when xfn could not run it.")
    {
        (_globals, _makeRunner) = (globals, makeRunner);
        Arguments.Add(_image = CachedImages.Argument(globals, _runner));
        Arguments.Add(_file);
        Validators.Add(result =>
        {
            string? flag = (result.GetValue(_interactive), result.GetValue(_tty)) switch
            {
                (true, true) => "-it",
                (true, false) => "-i",
                (false, true) => "-t",
                _ => null,
            };
            if (result.GetValue(_file) is { } file && flag is not null)
                result.AddError($"cannot use {flag} with '{file}' as input: leave one of them out. What the program is told stands behind '--': xfn run {flag} {result.GetValue(_image)} -- {file} …");
            if (result.GetValue(_server) is not null && flag is not null)
                result.AddError($"cannot use {flag} with {_server.Name}: a server runs functions, whose input it has from the start. Leave one of them out.");
        });
        _runner.AddTo(this);
        _container.AddTo(this);
        _resources.AddTo(this);
        foreach (Option option in new Option[] { _interactive, _tty, _timeout, _server, _tlsAuthority, _tlsCertificate, _tlsKey })
            Options.Add(option);
        SetAction(RunAsync);
    }

    private async Task<int> RunAsync(ParseResult parsed, CancellationToken cancellationToken)
    {
        var options = new ContainerRunnerOptions();
        string? server = parsed.GetValue(_server);
        _globals.Apply(parsed, options);
        if (server is null)
            _runner.Apply(parsed, options);
        if (server is not null && _runner.Given(parsed) is { } local)
            throw new ArgumentException($"cannot use {local} with --server: it is the server's own matter.");
        if (server is null && new[] { _tlsAuthority, _tlsCertificate, _tlsKey }.FirstOrDefault(o => parsed.GetValue(o) is not null) is { } tls)
            throw new ArgumentException($"cannot use {tls.Name} without --server: there is nobody to speak to.");

        if (parsed.GetValue(_tty))
            return await RunWithTerminalAsync(parsed, options, cancellationToken);

        RunFunctionRequest request = Request(parsed, server is null ? null : _globals.RegistryOf(parsed));
        await using Stream stdin = OpenInput(parsed);
        await using var stdout = StandardOutput.Output(cancellationToken);
        await using var stderr = StandardOutput.Error(cancellationToken);
        await using IContainerRunner runner = server is null ? _makeRunner(options) : Remote(parsed, server, options.Logger);
        RunFunctionResponse response = await runner.RunFunctionAsync(request, new FunctionStreams { Stdin = stdin, Stdout = stdout, Stderr = stderr }, cancellationToken);

        _globals.Report(parsed, response.Statistics);
        return 0;
    }

    private async Task<int> RunWithTerminalAsync(ParseResult parsed, ContainerRunnerOptions options, CancellationToken cancellationToken)
    {
        const string kind = "TERM";
        ContainerRequest request = _container.Read(parsed, parsed.GetValue(_image)!, _globals.ProgramArguments) with
        {
            ImagePullConfig = _resources.Pull(parsed),
            Limits = _resources.Limits(parsed),
            Network = _resources.Network(parsed),
        };

        // As docker does: few images know of others.
        request.Environment.TryAdd(kind, "xterm");
        await using IContainerRunner runner = _makeRunner(options);
        var container = new TerminalContainer(request, parsed.GetValue(_interactive), parsed.GetValue(_timeout));
        ContainerExit exit = await container.RunAsync((IContainerHost)runner, cancellationToken);
        if (exit.OutOfMemory || exit.EndedBy == ContainerEnd.Outside)
            _globals.Note($"'{request.Image}' {exit}.");
        return exit.ExitCode;
    }

    private RemoteContainerRunner Remote(ParseResult parsed, string server, ILogger logger)
    {
        var options = new RemoteContainerRunnerOptions { Logger = logger };
        Apply(parsed, server, options);
        return new RemoteContainerRunner(options);
    }

    /// <summary>How the command line wants the servers to be reached.</summary>
    internal void Apply(ParseResult parsed, string server, RemoteContainerRunnerOptions options)
    {
        (string? authority, string? certificate, string? key) = (parsed.GetValue(_tlsAuthority), parsed.GetValue(_tlsCertificate), parsed.GetValue(_tlsKey));
        if ((certificate is null) != (key is null))
            throw new ArgumentException("cannot tell the server who calls: only one of certificate and key is given. Give both --tls-cert and --tls-key.");
        bool tls = authority is not null || certificate is not null;
        if (tls && !server.StartsWith("https:", StringComparison.OrdinalIgnoreCase) && !server.StartsWith("dns:", StringComparison.OrdinalIgnoreCase))
            throw new ArgumentException($"cannot use certificates with '{server}': it does not speak TLS. Write https://HOST:PORT or dns:///HOST:PORT, or leave them out.");
        options.Bind(_runner.SettingsOf(parsed));
        options.Addresses = server.Split(',', StringSplitOptions.TrimEntries);
        options.UseTls |= tls;
        options.CertificateAuthoritiesFile = authority ?? options.CertificateAuthoritiesFile;
        (options.ClientCertificateFile, options.ClientCertificateKeyFile) = (certificate ?? options.ClientCertificateFile, key ?? options.ClientCertificateKeyFile);
    }

    /// <param name="parsed">The command line.</param>
    /// <param name="registry">The registry of an image that names none; null to leave that to whoever runs it.</param>
    private RunFunctionRequest Request(ParseResult parsed, string? registry)
    {
        string image = parsed.GetValue(_image)!;
        return new RunFunctionRequest
        {
            Image = registry is null ? image : ImageReference.Parse(image, registry).ToString(),
            ImagePullConfig = _resources.Pull(parsed),
            RunFunctionConfig = new RunFunctionConfig
            {
                Timeout = parsed.GetValue(_timeout) ?? (parsed.GetValue(_interactive) ? LongestTimeout : DefaultTimeout),
                Network = _resources.Network(parsed),
                Limits = _resources.Limits(parsed),
            },
            Container = _globals.ProgramArguments is not null || _container.AreGiven(parsed) ? _container.Read(parsed, image, _globals.ProgramArguments) : null,
        };
    }

    private Stream OpenInput(ParseResult parsed)
    {
        string? file = parsed.GetValue(_file);
        if (file == "-" || parsed.GetValue(_interactive) || (file is null && _globals.ProgramArguments is null && !CallersTerminal.IsInput))
            return new StandardInput();
        if (file is null)
            return Stream.Null;
        try
        {
            return new FileStream(file, FileMode.Open, FileAccess.Read, FileShare.ReadWrite, bufferSize: 0);
        }
        catch (UnauthorizedAccessException e) when (Directory.Exists(file))
        {
            throw new IOException($"cannot read file '{file}': it is a directory.", e);
        }
        catch (FileNotFoundException e) when (!file.Contains('/'))
        {
            throw new IOException($"cannot read file '{file}': there is none. If the program is to be told that, write it behind '--': xfn run {parsed.GetValue(_image)} -- {file} …", e);
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            throw new IOException($"cannot read file '{file}': {e.Message}", e);
        }
    }
}
