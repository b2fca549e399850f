using Microsoft.Extensions.Configuration;
using Microsoft.Extensions.Options;

namespace Xfn.Core.Hosting;

/// <summary>Names the keys of a section in what is wrong with them.</summary>
internal static class OptionsSection
{
    /// <summary>Applies settings; what they do not take is told with the section's path.</summary>
    public static void Apply<TOptions>(IConfiguration configuration, TOptions options, Action<TOptions> apply)
    {
        try
        {
            apply(options);
        }
        catch (Exception ex) when (ex is ArgumentException or InvalidOperationException)
        {
            throw new OptionsValidationException("", typeof(TOptions), [$"cannot use the configuration{SectionOf(configuration)}: {ex.Message}"]);
        }
    }

    private static string SectionOf(IConfiguration configuration) => configuration is IConfigurationSection section ? $" section '{section.Path}'" : "";
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
            // The parameter is written as options.MaxConcurrency, or not at all where the message says what is meant.
            string? option = (ex as ArgumentException)?.ParamName;
            string message = ex.Message.Split(" (Parameter '")[0];
            return ValidateOptionsResult.Fail(option?.Split('.') is ["options", .. { Length: > 0 } key] ? $"cannot use option '{string.Join(':', key)}': {message}" : message);
        }
    }
}
