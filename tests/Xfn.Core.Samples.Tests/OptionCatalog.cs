using System.Collections;
using System.CommandLine;
using System.Reflection;
using Xfn.Cli;

namespace Xfn.Core.Samples.Tests;

/// <summary>One option, found by reflection.</summary>
/// <param name="Root">The class whose <c>Bind</c> takes it, or that is an argument of one call.</param>
/// <param name="Key">Its name in a configuration.</param>
/// <param name="Property">The property.</param>
internal sealed record OptionEntry(Type Root, string Key, PropertyInfo Property)
{
    public override string ToString() => $"{Root.Name} {Key}";
}

/// <summary>All classes of options, and all flags of the command line, as the assemblies have them.</summary>
internal static class OptionCatalog
{
    /// <summary>The options that text cannot say, and why. They are set in code.</summary>
    public static readonly IReadOnlyDictionary<string, string> CodeOnly = new Dictionary<string, string>
    {
        ["Logger"] = "an object; a host gives its own",
        ["TimeProvider"] = "an object; a host gives its own",
        ["ImageFetcher"] = "an object; a host gives its own",
        ["BundleBuilder"] = "an object",
        ["NamespaceSpawner"] = "an object",
        ["StdioPiper"] = "an object",
        ["Registry:HttpHandler"] = "an object",
        ["Registry:Credentials"] = "a delegate",
        ["Registry:CertificateAuthorities"] = "objects; CertificateAuthoritiesFile names a file",
        ["CertificateAuthorities"] = "objects; CertificateAuthoritiesFile names a file",
        ["ClientCertificates"] = "objects; ClientCertificateFile names a file",
        ["Certificate"] = "an object; CertificateFile names a file",
        ["CertificateChain"] = "objects; CertificateFile names a file",
        ["ClientCertificateAuthorities"] = "objects; ClientCertificateAuthoritiesFile names a file",
        ["Bundle:SeccompFilter"] = "bytes; SeccompFilterFile names a file",
        ["Bundle:SeccompProfile"] = "bytes; SeccompProfileFile names a file",
    };

    /// <summary>Classes whose <c>Bind</c> sets them from text, and those that are arguments of one call.</summary>
    public static Type[] Roots { get; } =
    [
        .. from assembly in new[] { typeof(ContainerRunner).Assembly, typeof(ContainerRunnerServer).Assembly }
           from type in assembly.GetExportedTypes()
           where type.Name.EndsWith("Options", StringComparison.Ordinal) && type is { IsClass: true } && !IsNested(type) && type != typeof(ContainerRunnerServiceOptions)
           orderby type.Name
           select type,
    ];

    /// <summary>All options.</summary>
    public static IEnumerable<OptionEntry> All => Roots.SelectMany(root => Of(root, root, ""));

    /// <summary>The commands of xfn, each with what it makes options of.</summary>
    public static (RootCommand Root, StartCommand Start, RunCommand Run) Commands()
    {
        var globals = new GlobalOptions(TextWriter.Null);
        var (start, run) = (new StartCommand(globals, TextWriter.Null), new RunCommand(globals, _ => null!));
        return (new RootCommand { globals.Debug, globals.Registry, start, run }, start, run);
    }

    /// <summary>The flags of <c>xfn start</c>, but those of its own: where it listens, and how it logs.</summary>
    public static IEnumerable<Option> Flags() =>
        Commands().Start.Options.Where(flag => flag.Name is not ("--network" or "--address" or "--log-format" or "--log-level" or "--option"));

    /// <summary>Whether options of this class are a part of others.</summary>
    public static bool IsNested(Type type) => type == typeof(RegistryOptions) || type == typeof(BundleOptions) || type == typeof(UnpackLimits);

    /// <summary>Options as text, by their names, to see what has changed.</summary>
    public static SortedDictionary<string, string> Snapshot(object options) =>
        new(Of(options.GetType(), options.GetType(), "").ToDictionary(o => o.Key, o => Show(Find(options, o.Key))));

    /// <summary>Settings that change an option, whatever it was.</summary>
    public static KeyValuePair<string, string?>[] Sample(OptionEntry option)
    {
        object? now = Find(Activator.CreateInstance(option.Root)!, option.Key);
        Type type = Nullable.GetUnderlyingType(option.Property.PropertyType) ?? option.Property.PropertyType;
        (string Below, string Value)[] values = now switch
        {
            bool flag => [("", flag ? "false" : "true")],
            _ when type == typeof(long) && option.Property.Name is "DefaultMemoryBytes" or "MaxMemoryBytes" => [("", "77Mi")],
            _ when type == typeof(int) || type == typeof(long) || type == typeof(double) => [("", "77")],
            _ when type == typeof(uint) => [("", "77")],
            _ when type == typeof(TimeSpan) => [("", "77s")],
            _ when type.IsEnum => [("", Enum.GetNames(type)[^1])],
            _ when type == typeof(string) => [("", "/dev/null")],
            _ when type == typeof(Platform) => [("", "linux/arm/v7")],
            _ when type == typeof(ISet<uint>) => [(":0", "77")],
            _ when type == typeof(ISet<ImagePullPolicy>) => [(":0", "Never")],
            _ when type == typeof(IList<string>) || type == typeof(ISet<string>) => [(":0", "a"), (":1", "b")],
            _ when type == typeof(IList<ReadOnlyMount>) => [(":0:Source", "/usr"), (":0:Destination", "/opt")],
            _ when type == typeof(IDictionary<string, string>) => [(":A", "b")],
            _ when type == typeof(IDictionary<string, int>) => [(":registry.example.org:5000/fn:v1", "2")],
            _ when type == typeof(IDictionary<string, IList<string>>) => [(":registry.example.org:5000:0", "a"), (":registry.example.org:5000:1", "b")],
            _ => throw new AssertionException($"{option} is a {type}, for which this test has no sample: give it one, and the binder a way to read it."),
        };
        return [.. values.Select(v => KeyValuePair.Create(option.Key + v.Below, (string?)v.Value))];
    }

    /// <summary>A value that a flag of the command line takes; null for one that takes none.</summary>
    public static string? Sample(Option flag) => flag.HelpName switch
    {
        null when flag.ValueType == typeof(bool) => null,
        "DURATION" => "77s",
        "QUANTITY" => flag.Name == "--max-cpu" ? "77" : "77Mi",
        "SIZE" or "COUNT" or "UID" or "GID" => "77",
        "NAME=VALUE" => "MaxQueuedRuns=77",
        _ => "sample",
    };

    private static IEnumerable<OptionEntry> Of(Type root, Type type, string path) =>
        from property in type.GetProperties(BindingFlags.Public | BindingFlags.Instance)
        orderby property.DeclaringType == type ? 1 : 0, property.MetadataToken
        from option in IsNested(property.PropertyType) ? Of(root, property.PropertyType, $"{path}{property.Name}:") : [new OptionEntry(root, path + property.Name, property)]
        select option;

    private static object? Find(object options, string key) =>
        key.Split(':').Aggregate((object?)options, (at, name) => at!.GetType().GetProperty(name)!.GetValue(at));

    private static string Show(object? value) => value switch
    {
        null => "null",
        string text => text,
        IDictionary map => string.Join(", ", map.Keys.Cast<string>().Select(key => $"{key}={Show(map[key])}")),
        IEnumerable items => string.Join(", ", items.Cast<object>().Select(Show)),
        _ => value.ToString()!,
    };
}
