using System.Diagnostics.CodeAnalysis;
using System.Globalization;
using System.Net;
using System.Reflection;
using System.Text;

namespace Xfn.Core.Options;

/// <summary>Sets options from text: from the keys and values of a configuration, or of a command line.</summary>
/// <remarks>A key is the name of a property, as in <c>Bundle:TmpBytes</c>; a list's values have the keys <c>0</c>,
/// <c>1</c> and so on. What is named replaces what was there, whole lists too. It works in trimmed and native programs:
/// every class of options is named here, so that its properties are kept.</remarks>
internal static class OptionBinder
{
    /// <summary>Sets options.</summary>
    /// <param name="options">The options.</param>
    /// <param name="settings">Keys and their values. A key without a value only has others below it.</param>
    /// <param name="path">What the keys begin with in messages.</param>
    /// <exception cref="ArgumentException">A key is no option, or a value cannot be used; the message names the
    /// key.</exception>
    public static void Bind<[DynamicallyAccessedMembers(DynamicallyAccessedMemberTypes.PublicProperties)] TOptions>(
        TOptions options, IEnumerable<KeyValuePair<string, string?>> settings, string path = "")
        where TOptions : class
    {
        ArgumentNullException.ThrowIfNull(settings);
        var root = new Setting(path);
        foreach ((string key, string? value) in settings)
        {
            Setting setting = root;
            foreach (string name in key.Split(':'))
                setting = setting[name];
            setting.Value = value;
        }

        BindTo(options, root);
    }

    private static void BindTo<[DynamicallyAccessedMembers(DynamicallyAccessedMemberTypes.PublicProperties)] TOptions>(TOptions options, Setting section)
        where TOptions : class
    {
        if (section.Value is { Length: > 0 })
            throw Refused(section, "it has options of its own", "Set those, as in docs/options.md");
        foreach (Setting setting in section.Children)
        {
            PropertyInfo property = Array.Find(typeof(TOptions).GetProperties(), p => p.CanWrite && p.Name.Equals(setting.Name, StringComparison.OrdinalIgnoreCase))
                ?? throw new ArgumentException($"cannot use key '{setting.Path}': there is no such option. docs/options.md lists them.");
            switch (property.GetValue(options))
            {
                case BundleOptions nested:
                    BindTo(nested, setting);
                    break;
                case RegistryOptions nested:
                    BindTo(nested, setting);
                    break;
                case UnpackLimits nested:
                    BindTo(nested, setting);
                    break;
                case ResourceLimits nested:
                    BindTo(nested, setting);
                    break;
                case ImagePullConfig nested:
                    BindTo(nested, setting);
                    break;
                case RunFunctionConfig nested:
                    BindTo(nested, setting);
                    break;
                case ContainerSettings nested:
                    BindTo(nested, setting);
                    break;
                case var _ when setting.Value is null && !setting.Children.Any():
                    break;
                default:
                    property.SetValue(options, Read(setting, property.PropertyType));
                    break;
            }
        }
    }

    /// <summary>Reads what a property can be set to.</summary>
    private static object? Read(Setting setting, Type type)
    {
        if (type == typeof(IList<string>) || type == typeof(IReadOnlyList<string>))
            return Items(setting).Select(Text).ToList();
        if (type == typeof(ISet<string>))
            return Items(setting).Select(Text).ToHashSet();
        if (type == typeof(ISet<uint>))
            return Items(setting).Select(Id).ToHashSet();
        if (type == typeof(ISet<ImagePullPolicy>))
            return Items(setting).Select(Choice<ImagePullPolicy>).ToHashSet();
        if (type == typeof(IList<ReadOnlyMount>))
            return Items(setting).Select(ReadOnlyMountOf).ToList();
        if (type == typeof(IList<Mount>))
            return Items(setting).Select(MountOf).ToList();
        if (type == typeof(IDictionary<string, string>))
            return Leaves(setting).ToDictionary(c => c.NameBelow(setting), Value);
        if (type == typeof(IDictionary<string, int>))
            return Leaves(setting).ToDictionary(c => c.NameBelow(setting), c => (int)Number(c, int.MaxValue));
        if (type == typeof(IDictionary<string, IPAddress>))
            return Leaves(setting).ToDictionary(c => c.NameBelow(setting), Address);
        if (type == typeof(IDictionary<string, IList<string>>))
            return Leaves(setting).Select(leaf => leaf.Parent!).Distinct().ToDictionary(c => c.NameBelow(setting), c => (IList<string>)[.. Items(c).Select(Text)]);

        Type scalar = Nullable.GetUnderlyingType(type) ?? type;
        if (scalar == typeof(string))
            return Text(setting);
        if (scalar == typeof(bool))
            return Flag(setting);
        if (scalar == typeof(long))
            return Number(Alone(setting), long.MaxValue);
        if (scalar == typeof(double))
            return Use(setting, text => Quantity.ParseCpus(text, "number"));
        if (scalar == typeof(int))
            return (int)Number(Alone(setting), int.MaxValue);
        if (scalar == typeof(uint))
            return Id(setting);
        if (scalar == typeof(TimeSpan))
            return Time(setting);
        if (scalar == typeof(IdMappingMethod))
            return Choice<IdMappingMethod>(setting);
        if (scalar == typeof(ImagePullPolicy))
            return Choice<ImagePullPolicy>(setting);
        if (scalar == typeof(NetworkPolicy))
            return Choice<NetworkPolicy>(setting);
        if (scalar == typeof(ContainerStdio))
            return Choice<ContainerStdio>(setting);
        if (scalar == typeof(Ready))
            return Use(setting, ReadyText.Parse);
        if (scalar == typeof(Platform))
            return Use(setting, text => new ContainerRunnerOptions().WithPlatform(text).Platform);
        throw Refused(setting, $"it is a {scalar.Name}, which text cannot say", "Set it in code");
    }

    private static IEnumerable<Setting> Items(Setting list)
    {
        // An empty list has an empty text in place of its values.
        if (list.Value is { Length: > 0 })
            throw Refused(list, "it is a list", $"Set {list.Path}:0 and so on");
        return list.Children.OrderBy(item => int.TryParse(item.Name, NumberStyles.None, CultureInfo.InvariantCulture, out int index)
            ? index : throw Refused(item, "a list is numbered", $"Set {list.Path}:0 and so on"));
    }

    /// <summary>The keys with values below another. What they are called may have colons: it is an image, or a registry
    /// with a port.</summary>
    private static IEnumerable<Setting> Leaves(Setting setting) =>
        setting.Children.SelectMany(child => child.Value is null ? Leaves(child) : Leaves(child).Prepend(child));

    private static string Text(Setting setting) => Value(Alone(setting));

    /// <summary>Refuses keys below one that has none.</summary>
    private static Setting Alone(Setting setting) =>
        setting.Children.FirstOrDefault() is { } below ? throw new ArgumentException($"cannot use key '{below.Path}': there is no such option. docs/options.md lists them.") : setting;

    private static string Value(Setting setting) => setting.Value ?? throw Refused(setting, "it has no value", "Give it one, or leave it out");

    private static long Number(Setting setting, long most) =>
        Quantity.TryParse(Value(setting), out long number) && number <= most
            ? number : throw Refused(setting, "it is no number in its range", $"Write a number up to {most}, such as 1000 or 64Mi");

    private static uint Id(Setting setting) =>
        uint.TryParse(Text(setting), NumberStyles.None, CultureInfo.InvariantCulture, out uint id) ? id : throw Refused(setting, "it is no id", $"Write a number from 0 to {uint.MaxValue}");

    // .NET's own way of writing durations has colons; it takes a number alone for days, which nobody means.
    private static TimeSpan Time(Setting setting) =>
        Text(setting) is var text && (Duration.TryParse(text, out TimeSpan time) || text.Contains(':') && TimeSpan.TryParse(text, CultureInfo.InvariantCulture, out time))
            ? time : throw Refused(setting, "it is no duration", "Write it like 500ms, 30s, 1m30s or 00:01:30");

    private static T Choice<T>(Setting setting)
        where T : struct, Enum =>
        Array.Exists(Enum.GetNames<T>(), name => name.Equals(Text(setting), StringComparison.OrdinalIgnoreCase))
            ? Enum.Parse<T>(Text(setting), ignoreCase: true) : throw Refused(setting, "there is no such choice", $"Write one of {string.Join(", ", Enum.GetNames<T>())}");

    private static IPAddress Address(Setting setting) =>
        IPAddress.TryParse(Value(setting), out IPAddress? address) ? address : throw Refused(setting, "it is no address", "Write it in numbers, like 192.0.2.7");

    /// <summary>What a mount is, its keys say: a source is this machine's, bytes are a tmpfs's size, content is a file's.
    /// </summary>
    private static Mount MountOf(Setting setting)
    {
        string[] known = ["Destination", "Source", "ReadOnly", "Bytes", "Content"];
        var parts = setting.Children.ToDictionary(part => part.Name, StringComparer.OrdinalIgnoreCase);
        if (parts.Keys.FirstOrDefault(name => !known.Contains(name, StringComparer.OrdinalIgnoreCase)) is { } odd)
            throw new ArgumentException($"cannot use key '{parts[odd].Path}': a mount has one of {string.Join(", ", known)}.");
        if (parts.Keys.Count(name => !name.Equals("Destination", StringComparison.OrdinalIgnoreCase)) is > 1 and var count && !(count == 2 && parts.ContainsKey("Source") && parts.ContainsKey("ReadOnly")))
            throw Refused(setting, "it is several kinds of mount", "Set Source, and ReadOnly with it, or Bytes, or Content, or none of them for a volume");
        string destination = Text(setting["Destination"]);
        return parts.TryGetValue("Source", out Setting? source) ? Mount.Bind(Text(source), destination, !parts.TryGetValue("ReadOnly", out Setting? readOnly) || Flag(readOnly))
            : parts.TryGetValue("Bytes", out Setting? bytes) ? Mount.Tmpfs(destination, Number(Alone(bytes), long.MaxValue))
            : parts.TryGetValue("Content", out Setting? content) ? Mount.File(destination, Encoding.UTF8.GetBytes(Text(content)))
            : parts.TryGetValue("ReadOnly", out Setting? alone) ? throw Refused(alone, "a volume is new, and writable", "Leave it out, or set Source")
            : Mount.Volume(destination);
    }

    private static bool Flag(Setting setting) => bool.TryParse(Text(setting), out bool flag) ? flag : throw Refused(setting, "it is neither true nor false", "Write one of them");

    private static ReadOnlyMount ReadOnlyMountOf(Setting setting)
    {
        foreach (Setting part in setting.Children)
        {
            if (part.Name is not (nameof(ReadOnlyMount.Source) or nameof(ReadOnlyMount.Destination)))
                throw new ArgumentException($"cannot use key '{part.Path}': a mount has a {nameof(ReadOnlyMount.Source)} and a {nameof(ReadOnlyMount.Destination)}.");
        }

        return new ReadOnlyMount(Text(setting[nameof(ReadOnlyMount.Source)]), Text(setting[nameof(ReadOnlyMount.Destination)]));
    }

    private static T Use<T>(Setting setting, Func<string, T> use)
    {
        try
        {
            return use(Text(setting));
        }
        catch (Exception ex) when (ex is ArgumentException or InvalidRequestException)
        {
            throw new ArgumentException($"cannot use option {setting.Path}: {ex.Message}", ex);
        }
    }

    private static ArgumentException Refused(Setting setting, string found, string remedy) =>
        new($"cannot use option {setting.Path}{(setting.Value is { } value ? $" '{value}'" : "")}: {found}. {remedy}.");

    /// <summary>A key with its value, and the keys below it.</summary>
    private sealed class Setting(string path, Setting? parent = null)
    {
        private readonly Dictionary<string, Setting> _children = new(StringComparer.OrdinalIgnoreCase);

        public string Path => path;

        public string Name => path[(path.LastIndexOf(':') + 1)..];

        public Setting? Parent => parent;

        public string? Value { get; set; }

        public IEnumerable<Setting> Children => _children.Values;

        /// <summary>The key of this name below this one.</summary>
        public Setting this[string name] => _children.TryGetValue(name, out Setting? child) ? child : _children[name] = new Setting(path.Length == 0 ? name : $"{path}:{name}", this);

        /// <summary>What this key is called below another.</summary>
        public string NameBelow(Setting above) => path[(above.Path.Length + 1)..];
    }
}
