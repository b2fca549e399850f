using System.Diagnostics.CodeAnalysis;
using Microsoft.Extensions.Configuration;
using Microsoft.Extensions.Options;
using Xfn.Core.Options;

namespace Xfn.Core.Hosting;

/// <summary>Options from a section of a configuration.</summary>
internal static class OptionsSection
{
    /// <summary>Sets options; the message of what is wrong has the key's whole path.</summary>
    /// <param name="configuration">The section.</param>
    /// <param name="options">The options.</param>
    /// <param name="isOther">Whether a key of the section, with all below it, is of something else. Null for none.</param>
    public static void Bind<[DynamicallyAccessedMembers(DynamicallyAccessedMemberTypes.PublicProperties)] TOptions>(
        IConfiguration configuration, TOptions options, Func<string, bool>? isOther = null)
        where TOptions : class
    {
        RefuseText(configuration);

        // The section itself is among them, without a name.
        IEnumerable<KeyValuePair<string, string?>> settings = configuration.AsEnumerable(makePathsRelative: true)
            .Where(setting => setting.Key.Length > 0 && isOther?.Invoke(setting.Key.Split(':')[0]) != true);
        try
        {
            OptionBinder.Bind(options, settings, (configuration as IConfigurationSection)?.Path ?? "");
        }
        catch (ArgumentException ex)
        {
            throw new OptionsValidationException("", typeof(TOptions), [ex.Message]);
        }
    }

    /// <summary>The sections below one, by their names.</summary>
    /// <inheritdoc cref="RefuseText" path="/exception"/>
    public static IEnumerable<IConfigurationSection> ChildrenOf(IConfigurationSection section)
    {
        RefuseText(section);
        return section.GetChildren();
    }

    /// <summary>Refuses what would run an image and names none.</summary>
    /// <exception cref="OptionsValidationException">The image is empty.</exception>
    public static void RequireImage(IConfiguration configuration, string image)
    {
        string path = (configuration as IConfigurationSection)?.Path ?? "";
        if (image.Length == 0)
            throw new OptionsValidationException("", typeof(string), [$"cannot use option {path}:Image: it has no value. Give it one, or leave {path} out."]);
    }

    /// <summary>Refuses a text where a section is wanted, which .NET would take for an empty section.</summary>
    /// <exception cref="OptionsValidationException">The section is a text.</exception>
    private static void RefuseText(IConfiguration configuration)
    {
        if (configuration is IConfigurationSection { Value.Length: > 0 } text)
            throw new OptionsValidationException("", typeof(IConfigurationSection), [$"cannot use option {text.Path} '{text.Value}': it has options of its own. Set those, as in docs/options.md."]);
    }
}

/// <summary>Checks options as the runner's constructor will, when the host starts.</summary>
internal sealed class OptionsCheck<TOptions>(Action<TOptions> check) : IValidateOptions<TOptions>
    where TOptions : class
{
    public ValidateOptionsResult Validate(string? name, TOptions options)
    {
        try
        {
            check(options);
            return ValidateOptionsResult.Success;
        }
        catch (Exception ex) when (ex is ArgumentException or XfnException)
        {
            return ValidateOptionsResult.Fail(ex.Message);
        }
    }
}
