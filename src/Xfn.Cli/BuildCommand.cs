using System.CommandLine;
using System.Globalization;
using System.Text.Json;
using Microsoft.Extensions.Logging;
using Xfn.Core;

namespace Xfn.Cli;

/// <summary><c>xfn build PROGRAM… -t TARGET [-- ARGUMENT…]</c>: makes an image.</summary>
internal sealed class BuildCommand : Command
{
    private const string NoDockerfile = "xfn executes none. Build it with 'buildah build' or 'docker build', and run it from a file: 'buildah push IMAGE oci:DIR:NAME', 'podman save' or 'docker save -o FILE' and docker-archive:FILE";

    private static readonly string[] Dockerfiles = ["Dockerfile", "Containerfile"];

    private readonly Argument<string[]> _programs = new("PROGRAM")
    {
        Description = "The directory that 'dotnet publish -o' wrote, or an executable. One for each platform.",
        Arity = ArgumentArity.ZeroOrMore,
    };

    private readonly Option<string[]> _targets = new("--tag", "-t", "--output", "-o")
    {
        Description = "Where the image goes: oci:DIR[:NAME], oci-archive:FILE[:NAME], docker-archive:FILE[:NAME], FILE.xpkg, or with --push a name in a registry. May be repeated.",
        HelpName = "TARGET",
    };

    private readonly Option<bool> _push = new("--push") { Description = "Push to the registries that are named." };
    private readonly Option<string> _from = new("--from") { Description = "The base: a name in a registry, oci:DIR[:NAME], or an archive. Without one, or with 'scratch', the libraries that programs need come from this machine.", HelpName = "IMAGE" };
    private readonly Option<string[]> _platforms = new("--platform") { Description = "The platforms, separated by commas, of the base and of the image. [default: the programs', or this machine's]", HelpName = "OS/ARCH" };
    private readonly Option<string[]> _copies = new("--copy") { Description = "Copy a file or directory of this machine into the image. May be repeated.", HelpName = "SRC:DST" };
    private readonly Option<bool> _runtime = new("--add-runtime") { Description = "Add this machine's runtime of .NET, for programs that were published without it." };
    private readonly Option<string> _package = new("--package") { Description = "Make it a Crossplane package, of package.yaml or of a directory with crossplane.yaml.", HelpName = "PATH" };
    private readonly Option<string[]> _entrypoint = new("--entrypoint") { Description = "The program that the image executes, or all its words as JSON: '[\"/app/fn\",\"-x\"]'. [default: PROGRAM]", HelpName = "WORD" };
    private readonly Option<string[]> _environment = new("--env", "-e") { Description = "An environment variable; NAME alone takes xfn's own. May be repeated.", HelpName = "NAME[=VALUE]" };
    private readonly Option<string> _user = new("--user", "-u") { Description = "The user that the program runs as. [default: the base's, or root]", HelpName = "USER[:GROUP]" };
    private readonly Option<string> _workingDirectory = new("--workdir", "-w") { Description = "The working directory. [default: the program's, else the base's, or /]", HelpName = "DIR" };
    private readonly Option<string[]> _labels = new("--label") { Description = "A label. May be repeated.", HelpName = "NAME=VALUE" };
    private readonly Option<string[]> _annotations = new("--annotation") { Description = "An annotation of the manifest. May be repeated.", HelpName = "NAME=VALUE" };
    private readonly Option<string[]> _ports = new("--expose") { Description = "A port that the program listens on. May be repeated.", HelpName = "PORT[/tcp|udp]" };
    private readonly Option<string[]> _volumes = new("--volume") { Description = "A directory that the program writes to. May be repeated.", HelpName = "DIR" };
    private readonly Option<string> _stopSignal = new("--stop-signal") { Description = "The signal that asks the program to end. [default: the base's, or SIGTERM]", HelpName = "SIGNAL" };
    private readonly Option<string[]> _healthCommand = new("--health-cmd") { Description = "The program that finds out whether all is well, or all its words as JSON.", HelpName = "WORD" };

    // Of those who know 'docker build'.
    private readonly Option<string> _file = new("--file", "-f") { Hidden = true };
    private readonly RunnerOptions _runner = new();
    private readonly GlobalOptions _globals;
    private readonly TextWriter _output;
    private readonly TextWriter _error;

    public BuildCommand(GlobalOptions globals, TextWriter output, TextWriter error)
        : base("build", "Make an image of published programs and files, without docker. Says its reference. Arguments that it begins with follow '--'.")
    {
        (_globals, _output, _error) = (globals, output, error);
        Arguments.Add(_programs);
        foreach (Option option in new Option[]
        {
            _targets, _push, _from, _platforms, _copies, _runtime, _package, _entrypoint, _environment, _user, _workingDirectory, _labels, _annotations, _ports, _volumes, _stopSignal, _healthCommand, _file,
            _runner.Settings,
        })
        {
            Options.Add(option);
        }

        SetAction(ExecuteAsync);
    }

    private async Task<int> ExecuteAsync(ParseResult parsed, CancellationToken cancellationToken)
    {
        string[] programs = parsed.GetValue(_programs) ?? [];
        if (parsed.GetValue(_file) is { } file)
            throw new ArgumentException($"cannot build '{file}': {NoDockerfile}.");
        if (programs.Select(DockerfileIn).FirstOrDefault(found => found is not null) is { } dockerfile)
            throw new ArgumentException($"cannot build '{dockerfile}': {NoDockerfile}.");
        string[] targets = [.. (parsed.GetValue(_targets) ?? []).Select(TargetOf)];
        if (targets.Length == 0)
            throw new ArgumentException("cannot build an image that goes nowhere. Write where to: -t oci:images/fn:v1, or -t registry.example.org/fn:v1 --push.");
        var options = new ContainerRunnerOptions();
        _globals.Apply(parsed, options);
        options.Bind(_runner.SettingsOf(parsed));
        foreach (string target in targets)
        {
            ImageReference reference = ImageReference.Parse(target, options.DefaultRegistry);
            if (!reference.IsLocal && !parsed.GetValue(_push))
                throw new ArgumentException($"cannot write image '{reference}': it is a name in a registry. Add --push to push it, or write to a directory: -t oci:DIR:NAME.");
        }

        List<ImageBuilder> images = [.. Builders(parsed, programs, options)];
        foreach (string target in targets)
        {
            ImageReference written = await LayerProgress.ShowAsync(_error, progress => ImageBuilder.WriteIndexToAsync(images, target, progress, cancellationToken));
            _output.WriteLine(written);
        }

        return 0;
    }

    /// <summary>One builder for each platform: for each of the programs, or of the base's platforms.</summary>
    private IEnumerable<ImageBuilder> Builders(ParseResult parsed, string[] programs, ContainerRunnerOptions options)
    {
        string[] platforms = [.. (parsed.GetValue(_platforms) ?? []).SelectMany(text => text.Split(','))];
        if (programs.Length > 1 && platforms.Length > 0)
            throw new ArgumentException("cannot use --platform with several programs: each is for its own. Leave it out, or name one program.");
        int count = Math.Max(1, Math.Max(programs.Length, platforms.Length));
        for (int i = 0; i < count; i++)
        {
            ImageBuilder builder = Builder(parsed, options);
            if (platforms.Length > 0)
                builder.WithPlatform(platforms[i]);
            if (programs.Length > 0)
                builder.AddProgram(programs[programs.Length > 1 ? i : 0]);
            yield return builder;
        }
    }

    private ImageBuilder Builder(ParseResult parsed, ContainerRunnerOptions options)
    {
        var logger = new LineLogger(_error, parsed.GetValue(_globals.Debug) ? LogLevel.Debug : LogLevel.Warning);
        var builder = new ImageBuilder(options.Registry, logger: logger) { DefaultRegistry = options.DefaultRegistry };
        if (parsed.GetValue(_from) is { } from)
            builder.From(from);
        foreach (string copy in parsed.GetValue(_copies) ?? [])
            Copy(builder, copy);
        if (parsed.GetValue(_runtime))
            builder.AddDotnetRuntime();
        if (parsed.GetValue(_package) is { } package)
            builder.WithPackage(package);
        if (WordsOf(parsed, _entrypoint) is { } entrypoint)
            builder.WithEntrypoint(entrypoint);
        if (_globals.ProgramArguments is { } arguments)
            builder.WithArguments(arguments);
        foreach ((string name, string? value) in Pairs(parsed, _environment))
        {
            if ((value ?? Environment.GetEnvironmentVariable(name)) is { } set)
                builder.WithEnvironment(name, set);
        }

        if (parsed.GetValue(_user) is { } user)
            builder.WithUser(user);
        if (parsed.GetValue(_workingDirectory) is { } directory)
            builder.WithWorkingDirectory(directory);
        foreach ((string name, string? value) in Pairs(parsed, _labels))
            builder.WithLabel(name, value ?? throw NoValue(_labels, name));
        foreach ((string name, string? value) in Pairs(parsed, _annotations))
            builder.WithAnnotation(name, value ?? throw NoValue(_annotations, name));
        foreach (string port in parsed.GetValue(_ports) ?? [])
            Expose(builder, port);
        foreach (string volume in parsed.GetValue(_volumes) ?? [])
            builder.WithVolume(volume);
        if (parsed.GetValue(_stopSignal) is { } signal)
            builder.WithStopSignal(signal);
        if (WordsOf(parsed, _healthCommand) is { } check)
            builder.WithHealthcheck(check);
        return builder;
    }

    private static string? DockerfileIn(string path) =>
        Dockerfiles.Contains(Path.GetFileName(path)) ? path
        : Dockerfiles.Select(name => Path.Combine(path, name)).FirstOrDefault(File.Exists);

    /// <summary>A target in the library's words: a package's file is one of docker's archives.</summary>
    private static string TargetOf(string text) => text.EndsWith(".xpkg", StringComparison.Ordinal) && !text.Contains(':') ? $"docker-archive:{text}" : text;

    private static void Copy(ImageBuilder builder, string copy)
    {
        int colon = copy.LastIndexOf(':');
        if (colon <= 0 || colon == copy.Length - 1)
            throw new ArgumentException($"cannot use --copy '{copy}': expected SRC:DST. Write it like ./files:/srv.");
        (string source, string path) = (copy[..colon], copy[(colon + 1)..]);
        if (Directory.Exists(source))
            builder.AddDirectory(source, path);
        else
            builder.AddFile(source, path.EndsWith('/') ? path + Path.GetFileName(source) : path);
    }

    private static void Expose(ImageBuilder builder, string text)
    {
        string[] parts = text.Split('/');
        if (parts.Length > 2 || !int.TryParse(parts[0], NumberStyles.None, CultureInfo.InvariantCulture, out int port))
            throw new ArgumentException($"cannot use --expose '{text}': expected PORT or PORT/udp. Write it like 8080.");
        builder.WithPort(port, parts.ElementAtOrDefault(1) ?? "tcp");
    }

    /// <summary>The words of an option that may be repeated, or is one JSON array; null where it is not given.</summary>
    private static string[]? WordsOf(ParseResult parsed, Option<string[]> option)
    {
        if (parsed.GetValue(option) is not { Length: > 0 } words)
            return null;
        if (words is not [['[', ..] json])
            return words is [""] ? [] : words;
        try
        {
            using JsonDocument document = JsonDocument.Parse(json);
            return [.. document.RootElement.EnumerateArray().Select(word => word.ValueKind == JsonValueKind.String ? word.GetString()! : throw new JsonException("it holds something else than texts"))];
        }
        catch (JsonException e)
        {
            throw new ArgumentException($"cannot use {option.Name} '{json}': {e.Message.TrimEnd('.')}. Write it like [\"/app/fn\",\"-x\"].", e);
        }
    }

    private static IEnumerable<(string Name, string? Value)> Pairs(ParseResult parsed, Option<string[]> option) =>
        (parsed.GetValue(option) ?? []).Select(text => text.Split('=', 2)).Select(pair => (pair[0], pair.ElementAtOrDefault(1)));

    private static ArgumentException NoValue(Option option, string name) => new($"cannot use {option.Name} '{name}': it has no value. Write {name}=VALUE.");
}
