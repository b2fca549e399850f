using System.CommandLine;
using System.Reflection;
using System.Runtime.CompilerServices;
using System.Text.Json.Nodes;
using Xfn.Cli;

namespace Xfn.Core.Samples.Tests;

/// <summary>Every option, by each way to set it. They are found by reflection: one that is added is tested.</summary>
public class OptionTests
{
    private static IEnumerable<OptionEntry> All() => OptionCatalog.All;

    private static IEnumerable<OptionEntry> Bound() => OptionCatalog.All.Where(o => o.Root.GetMethod("Bind") is not null && !OptionCatalog.CodeOnly.ContainsKey(o.Key));

    [TestCaseSource(nameof(All))]
    public void An_option_is_set_in_code(object option)
    {
        PropertyInfo property = ((OptionEntry)option).Property;
        Assert.That(property.SetMethod is { IsPublic: true } set && !set.ReturnParameter.GetRequiredCustomModifiers().Contains(typeof(IsExternalInit)), $"{property} has no public setter");
        Assert.That(property.DeclaringType!.GetMethod("<Clone>$"), Is.Null, "classes of options are no records");
    }

    [TestCaseSource(nameof(Bound))]
    public void An_option_is_set_by_text(object entry)
    {
        var option = (OptionEntry)entry;
        object options = Activator.CreateInstance(option.Root)!;
        SortedDictionary<string, string> before = OptionCatalog.Snapshot(options);
        option.Root.GetMethod("Bind")!.Invoke(options, [OptionCatalog.Sample(option)]);
        Assert.That(Changed(before, OptionCatalog.Snapshot(options)), Is.EqualTo(new[] { option.Key }));
    }

    [TestCaseSource(nameof(Bound))]
    public void An_option_is_set_on_the_command_line(object entry)
    {
        var option = (OptionEntry)entry;
        bool isServers = option.Root == typeof(ContainerRunnerServerOptions);
        string[] flags = [.. OptionCatalog.Sample(option).SelectMany(s => new[] { "--option", $"{(isServers ? "Server:" : "")}{s.Key}={s.Value}" })];
        object before = Read(option.Root, []), after = Read(option.Root, flags);
        string[] expected = option.Root == typeof(RemoteContainerRunnerOptions) && option.Key == nameof(RemoteContainerRunnerOptions.Addresses)
            ? [] // --server has the last word.
            : [option.Key];
        Assert.That(Changed(OptionCatalog.Snapshot(before), OptionCatalog.Snapshot(after)), Is.EqualTo(expected));
    }

    [Test]
    public void Every_flag_of_a_server_changes_an_option()
    {
        Assert.Multiple(() =>
        {
            foreach (Option flag in OptionCatalog.Flags())
                Assert.That(ChangedBy(flag), Is.Not.Empty, flag.Name);
        });
    }

    [Test]
    public void What_is_set_in_code_only_is_an_option() =>
        Assert.That(OptionCatalog.CodeOnly.Keys.Except(OptionCatalog.All.Select(o => o.Key)), Is.Empty);

    [TestCase("Bundel:TmpBytes", "1Mi", "cannot use key 'Bundel'")]
    [TestCase("Bundle:TmpByte", "1Mi", "cannot use key 'Bundle:TmpByte'")]
    [TestCase("Bundle:TmpBytes:0", "1Mi", "cannot use key 'Bundle:TmpBytes:0'")]
    [TestCase("Bundle", "x", "cannot use option Bundle 'x'")]
    [TestCase("Bundle:TmpBytes", "1Mb", "cannot use option Bundle:TmpBytes '1Mb'")]
    [TestCase("Bundle:TmpFiles", "4Gi", "cannot use option Bundle:TmpFiles '4Gi'")]
    [TestCase("Bundle:TmpExecutable", "yes", "cannot use option Bundle:TmpExecutable 'yes'")]
    [TestCase("Bundle:AddedCapabilities", "CAP_KILL", "Set Bundle:AddedCapabilities:0")]
    [TestCase("Bundle:AddedCapabilities:one", "CAP_KILL", "Set Bundle:AddedCapabilities:0")]
    [TestCase("Bundle:ReadOnlyMounts:0:Target", "/x", "cannot use key 'Bundle:ReadOnlyMounts:0:Target'")]
    [TestCase("Bundle:ReadOnlyMounts:0:Source", "/x", "cannot use option Bundle:ReadOnlyMounts:0:Destination")]
    [TestCase("RootUid", "-1", "cannot use option RootUid '-1'")]
    [TestCase("IdMapping", "1", "Capabilities, SubordinateIds, Self")]
    [TestCase("Platform", "arm", "cannot use option Platform: cannot use platform 'arm'")]
    [TestCase("Registry:NoProgressTimeout", "30", "Write it like 500ms, 30s")]
    [TestCase("Logger", "console", "Set it in code")]
    public void What_is_wrong_is_named(string key, string value, string expected) => Assert.That(
        () => new ContainerRunnerOptions().Bind([KeyValuePair.Create(key, (string?)value)]), Throws.ArgumentException.With.Message.Contains(expected));

    [TestCase("cachelimit", "10Gi", 10L << 30)]
    [TestCase("CacheLimit", "1.5G", 1_500_000_000L)]
    [TestCase("CacheLimit", "1000", 1000L)]
    public void Quantities_are_Kubernetes_and_names_are_of_any_case(string key, string value, long expected) =>
        Assert.That(new ContainerRunnerOptions().Bind([KeyValuePair.Create(key, (string?)value)]).CacheLimit, Is.EqualTo(expected));

    [TestCase("30s", 30)]
    [TestCase("1m30s", 90)]
    [TestCase("00:01:30", 90)]
    [TestCase("1.00:00:00", 86_400)]
    public void Durations_are_written_as_Go_does_or_NET(string value, int seconds) => Assert.That(
        new RemoteContainerRunnerOptions().Bind([KeyValuePair.Create("PullTimeAllowance", (string?)value)]).PullTimeAllowance, Is.EqualTo(TimeSpan.FromSeconds(seconds)));

    [Test]
    public void The_runners_copy_is_not_what_it_was_copied_from()
    {
        using var fetcher = new DefaultImageFetcher();
        foreach (Type type in OptionCatalog.Roots.Append(typeof(RegistryOptions)).Append(typeof(BundleOptions)).Append(typeof(UnpackLimits)))
        {
            object options = Activator.CreateInstance(type)!;
            MethodInfo copy = (type.GetMethod("CheckedCopy", Hidden) ?? type.GetMethod("Copy", Hidden))!;
            object copied = copy.Invoke(options, [.. copy.GetParameters().Select(p => p.DefaultValue)])!;
            Assert.That(copied, Is.Not.SameAs(options), type.Name);
            foreach (PropertyInfo property in type.GetProperties().Where(p => p.GetValue(options) is System.Collections.IEnumerable and not string || OptionCatalog.IsNested(p.PropertyType)))
                Assert.That(property.GetValue(copied), Is.Not.SameAs(property.GetValue(options)), $"{type.Name}.{property.Name}");
        }
    }

    [Test]
    public void The_page_of_options_is_what_the_code_says()
    {
        string path = Path.Combine(SourceTree.Root(), "docs", "options.md"), page = OptionsPage.Write();
        if (Environment.GetEnvironmentVariable("XFN_UPDATE_DOCS") == "1")
            File.WriteAllText(path, page);
        Assert.That(File.Exists(path) ? File.ReadAllText(path) : "", Is.EqualTo(page), "docs/options.md is stale. Run eng/update-options.sh, read the difference, and commit it.");
    }

    [Test]
    public void The_schema_of_configurations_is_what_the_code_says()
    {
        string path = Path.Combine(SourceTree.Root(), "src", "Xfn.Core.Hosting", "buildTransitive", "ConfigurationSchema.json"), schema = OptionsSchema.Write();
        if (Environment.GetEnvironmentVariable("XFN_UPDATE_DOCS") == "1")
            File.WriteAllText(path, schema);
        Assert.That(File.Exists(path) ? File.ReadAllText(path) : "", Is.EqualTo(schema), $"{path} is stale. Run eng/update-options.sh, read the difference, and commit it.");
    }

    [TestCase(typeof(ContainerRunnerOptions), 0)]
    [TestCase(typeof(RemoteContainerRunnerOptions), 1)]
    public void Every_option_of_a_configuration_is_in_its_schema(Type root, int alternative)
    {
        JsonNode section = JsonNode.Parse(OptionsSchema.Write())!["properties"]!["Xfn"]!["anyOf"]![alternative]!;
        Assert.Multiple(() =>
        {
            foreach (OptionEntry option in OptionCatalog.All.Where(o => o.Root == root))
            {
                JsonNode? found = option.Key.Split(':').Aggregate((JsonNode?)section, (node, name) => node?["properties"]?[name]);
                Assert.That(found is null, Is.EqualTo(OptionCatalog.CodeOnly.ContainsKey(option.Key)), option.Key);
            }
        });
    }

    private const BindingFlags Hidden = BindingFlags.NonPublic | BindingFlags.Instance | BindingFlags.DeclaredOnly;

    /// <summary>The options that a flag of <c>xfn start</c> changes.</summary>
    internal static IEnumerable<(Type Root, string Key)> ChangedBy(Option flag)
    {
        string[] given = OptionCatalog.Sample(flag) is { } value ? [flag.Name, value] : [flag.Name];
        if (flag.Name is "--tls-cert" or "--tls-key")
        {
            // One is no use without the other.
            string[] pair = ["--tls-cert", "none", "--tls-key", "none"];
            return Between(pair, [.. given, .. pair.Chunk(2).Where(p => p[0] != flag.Name).SelectMany(p => p)]);
        }

        return Between([], given);

        IEnumerable<(Type, string)> Between(string[] before, string[] after) =>
            from root in new[] { typeof(ContainerRunnerOptions), typeof(ContainerRunnerServerOptions) }
            from key in Changed(OptionCatalog.Snapshot(Read(root, before)), OptionCatalog.Snapshot(Read(root, after)))
            select (root, key);
    }

    private static IEnumerable<string> Changed(SortedDictionary<string, string> before, SortedDictionary<string, string> after) => after.Keys.Where(key => after[key] != before[key]);

    private static object Read(Type root, string[] flags)
    {
        (RootCommand xfn, StartCommand start, RunCommand run) = OptionCatalog.Commands();
        if (root == typeof(RemoteContainerRunnerOptions))
        {
            var remote = new RemoteContainerRunnerOptions();
            run.Apply(xfn.Parse(["run", "image", "-", .. flags]), "http://127.0.0.1:1", remote);
            return remote;
        }

        ParseResult parsed = xfn.Parse(["start", .. flags]);
        Assert.That(parsed.Errors.Select(e => e.Message), Is.Empty);
        return root == typeof(ContainerRunnerOptions) ? start.ReadRunner(parsed) : start.ReadServer(parsed);
    }
}
