using System.CommandLine;
using System.Globalization;
using System.Net;
using Xfn.Core;
using Xfn.Core.Options;

namespace Xfn.Cli;

/// <summary>The options of the commands that start a container, in docker's words where docker has some.</summary>
internal sealed class ContainerSettingsOptions
{
    private readonly Option<string> _entrypoint = new("--entrypoint") { Description = "The program, instead of the image's entrypoint and command; '' for no entrypoint.", HelpName = "PROGRAM" };
    private readonly Option<string[]> _environment = new("--env", "-e") { Description = "An environment variable; NAME alone passes on xfn's own. May be repeated.", HelpName = "NAME[=VALUE]" };
    private readonly Option<string[]> _environmentFile = new("--env-file") { Description = "A file of such lines; those that begin with '#' do not count. May be repeated.", HelpName = "FILE" };
    private readonly Option<string> _workingDirectory = new("--workdir", "-w") { Description = "The working directory, instead of the image's.", HelpName = "DIR" };
    private readonly Option<string> _user = new("--user", "-u") { Description = "The user, instead of the image's: by names of the image or by numbers.", HelpName = "USER[:GROUP]" };
    private readonly Option<string> _hostname = new("--hostname") { Description = "The host name.", HelpName = "NAME" };
    private readonly Option<string[]> _extraHosts = new("--add-host") { Description = "A name in the container's /etc/hosts, and its address. May be repeated.", HelpName = "NAME:ADDRESS" };
    private readonly Option<string[]> _egress = new("--egress")
    {
        Description = "A host outside that the program may reach by TCP all the same, through xfn: HOST:PORT, *.DOMAIN:PORT or ADDRESS:PORT. May be repeated.",
        HelpName = "HOST:PORT",
    };

    private readonly Option<string[]> _volumes = new("--volume", "-v")
    {
        Description = "Mount a file or directory of this machine; DST alone is a new directory on disk, which goes with the container. Writable, as docker's, unless ':ro' follows. May be repeated.",
        HelpName = "[SRC:]DST[:ro|rw]",
    };

    private readonly Option<string[]> _mounts = new("--mount")
    {
        Description = "The same in docker's other words: type=bind,source=SRC,target=DST[,readonly], type=tmpfs,target=DST,tmpfs-size=64m or type=volume,target=DST. May be repeated.",
        HelpName = "MOUNT",
    };

    private readonly Option<long?> _writableRoot = new("--writable-root")
    {
        Description = "How many bytes may be written over the image's files, in memory; 0 for none.",
        HelpName = "SIZE",
        CustomParser = OptionValue.Size(0),
    };

    private readonly Option<string> _stopSignal = new("--stop-signal") { Description = "The signal that asks the container to end, before it is killed. [default: the image's, or SIGTERM]", HelpName = "SIGNAL" };

    /// <summary>Docker's, which many type without a thought: here no container outlives its command.</summary>
    private readonly Option<bool> _remove = new("--rm") { Hidden = true };

    private Option[] All => [_entrypoint, _environment, _environmentFile, _workingDirectory, _user, _hostname, _extraHosts, _egress, _volumes, _mounts, _writableRoot, _stopSignal];

    public void AddTo(Command command)
    {
        foreach (Option option in All)
            command.Options.Add(option);
        command.Options.Add(_remove);
    }

    /// <summary>Whether the command line says anything of the container.</summary>
    public bool AreGiven(ParseResult parsed) => All.Any(option => parsed.GetResult(option) is { Implicit: false });

    /// <summary>What the command line says of the container.</summary>
    /// <param name="parsed">The command line.</param>
    /// <param name="image">The image.</param>
    /// <param name="arguments">What stands behind <c>--</c>; null where there is none.</param>
    /// <returns>The settings, of the image.</returns>
    /// <exception cref="ArgumentException">A value cannot be used; the message says why.</exception>
    public ContainerRequest Read(ParseResult parsed, string image, IReadOnlyList<string>? arguments) => new()
    {
        Image = image,
        Entrypoint = parsed.GetValue(_entrypoint) is { } program ? program.Length > 0 ? [program] : [] : null,
        Arguments = arguments,
        Environment = ReadEnvironment(parsed.GetValue(_environmentFile) ?? [], parsed.GetValue(_environment) ?? []),
        WorkingDirectory = parsed.GetValue(_workingDirectory),
        User = parsed.GetValue(_user),
        Hostname = parsed.GetValue(_hostname),
        ExtraHosts = ReadHosts(parsed.GetValue(_extraHosts) ?? []),
        Egress = parsed.GetValue(_egress) ?? [],
        Mounts = [.. (parsed.GetValue(_volumes) ?? []).Select(ReadVolume), .. (parsed.GetValue(_mounts) ?? []).Select(ReadMount)],
        WritableRootBytes = parsed.GetValue(_writableRoot),
        StopSignal = parsed.GetValue(_stopSignal),
    };

    private static Dictionary<string, string> ReadEnvironment(string[] files, string[] variables)
    {
        var environment = new Dictionary<string, string>();
        foreach (string variable in files.SelectMany(ReadLines).Concat(variables))
        {
            int equals = variable.IndexOf('=');
            if (equals == 0)
                throw new ArgumentException($"cannot use variable '{variable}': it has no name. Write NAME=VALUE, or NAME for xfn's own.");
            string name = equals < 0 ? variable : variable[..equals];

            // One that xfn lacks is none, as for docker.
            if ((equals < 0 ? Environment.GetEnvironmentVariable(name) : variable[(equals + 1)..]) is { } value)
                environment[name] = value;
        }

        return environment;
    }

    private static IEnumerable<string> ReadLines(string file)
    {
        try
        {
            return [.. File.ReadLines(file).Select(line => line.TrimStart()).Where(line => line.Length > 0 && line[0] != '#')];
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            throw new ArgumentException($"cannot read --env-file '{file}': {e.Message}", e);
        }
    }

    private static Dictionary<string, IPAddress> ReadHosts(string[] hosts)
    {
        var found = new Dictionary<string, IPAddress>();
        foreach (string host in hosts)
        {
            int separator = host.AsSpan().IndexOfAny('=', ':');
            string address = host[(separator + 1)..];
            if (separator <= 0 || !IPAddress.TryParse(address is ['[', .., ']'] ? address[1..^1] : address, out IPAddress? parsed))
                throw new ArgumentException($"cannot use --add-host '{host}': expected NAME:ADDRESS, with an address in numbers. Write it like db:192.0.2.7.");
            found[host[..separator]] = parsed;
        }

        return found;
    }

    private static Mount ReadVolume(string text)
    {
        string[] parts = text.Split(':');
        if (parts.Length == 1)
            return Mount.Volume(text);
        bool? writable = parts.Length == 2 ? true : parts.Length > 3 ? null : parts[2] switch
        {
            "rw" => true,
            "ro" => false,
            _ => null,
        };
        return writable is { } found
            ? Mount.Bind(SourceOf(parts[0], text), parts[1], readOnly: !found)
            : throw new ArgumentException($"cannot use --volume '{text}': expected [SRC:]DST[:ro|rw]. Where a path has a colon, use --mount.");
    }

    private static Mount ReadMount(string text)
    {
        var fields = new Dictionary<string, string>();
        foreach (string field in text.Split(','))
        {
            string[] pair = field.Split('=', 2);
            string key = pair[0] switch
            {
                "src" => "source",
                "dst" or "destination" => "target",
                "ro" => "readonly",
                var other => other,
            };
            if (key is not ("type" or "source" or "target" or "readonly" or "tmpfs-size"))
                throw Refuse($"there is no key '{pair[0]}' here. Write type, source, target, readonly and tmpfs-size only");
            if (!fields.TryAdd(key, pair.Length > 1 ? pair[1] : key == "readonly" ? "true" : throw Refuse($"'{key}' has no value. Write {key}=VALUE")))
                throw Refuse($"it has '{key}' twice. Leave one out");
        }

        string type = fields.GetValueOrDefault("type", "volume");
        string target = fields.GetValueOrDefault("target") ?? throw Refuse("it has no target. Write target=PATH");
        string[] known = type switch
        {
            "bind" => ["source", "readonly"],
            "tmpfs" => ["tmpfs-size"],
            "volume" => [],
            _ => throw Refuse($"there is no type '{type}'. Write bind, tmpfs or volume"),
        };
        if (fields.Keys.FirstOrDefault(key => key is not ("type" or "target") && !known.Contains(key)) is { } odd)
            throw Refuse(odd == "source" ? $"a {type} has no source here: it is new, and goes with the container. Leave it out" : $"a {type} has no '{odd}'. Leave it out");
        return type switch
        {
            "bind" => Mount.Bind(SourceOf(fields.GetValueOrDefault("source") ?? throw Refuse("it has no source. Write source=PATH"), text), target, ReadFlag(fields.GetValueOrDefault("readonly", "false"))),
            "tmpfs" => Mount.Tmpfs(target, ReadSize(fields.GetValueOrDefault("tmpfs-size") ?? throw Refuse("it has no size. Write tmpfs-size=64m"))),
            _ => Mount.Volume(target),
        };

        bool ReadFlag(string value) => value switch
        {
            "true" or "1" => true,
            "false" or "0" => false,
            _ => throw Refuse($"readonly is '{value}'. Write true or false"),
        };

        // Docker's units are small letters and powers of 1,024.
        long ReadSize(string value)
        {
            int shift = value is [.., var unit] ? 10 * "bkmgt".IndexOf(unit) : -1;
            return shift >= 0 && long.TryParse(value[..^1], NumberStyles.None, CultureInfo.InvariantCulture, out long number) && number <= long.MaxValue >> shift ? number << shift
                : Quantity.TryParse(value, out long bytes) ? bytes
                : throw Refuse($"'{value}' is no size. Write it like 64m or 64Mi");
        }

        ArgumentException Refuse(string found) => new($"cannot use --mount '{text}': {found}.");
    }

    /// <summary>A path of this machine, from the working directory on.</summary>
    private static string SourceOf(string source, string text) => source is ['/' or '.', ..] || source.Contains('/')
        ? Path.GetFullPath(source)
        : throw new ArgumentException($"cannot mount '{text}': '{source}' is a name, and volumes have none here. Write a path, such as ./{source}.");
}
