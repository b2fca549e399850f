using System.CommandLine;
using Xfn.Core;

namespace Xfn.Cli;

/// <summary><c>xfn doctor</c>: says what keeps this machine from running functions, and what to do about it.</summary>
internal sealed class DoctorCommand : RunnerCommand
{
    private readonly Option<bool> _json = JsonOutput.Option();
    private readonly GlobalOptions _globals;
    private readonly TextWriter _output;

    public DoctorCommand(GlobalOptions globals, TextWriter output)
        : base("doctor", "Check whether this machine can run functions. Exits with 1 when it cannot.")
    {
        (_globals, _output) = (globals, output);
        Options.Add(_json);
    }

    protected override async Task<int> ExecuteAsync(ParseResult parsed, CancellationToken cancellationToken)
    {
        EnvironmentReport report = await ContainerRunner.CheckEnvironmentAsync(
            options =>
            {
                _globals.Apply(parsed, options);
                Runner.Apply(parsed, options);
            },
            cancellationToken);
        if (parsed.GetValue(_json))
            WriteJson(report);
        else
            WriteText(report);
        return report.CanRun ? 0 : 1;
    }

    private static string StatusOf(EnvironmentCheck check) => check.Status.ToString().ToLowerInvariant();

    /// <summary>A line a check; two more, of any length, where something is to be done.</summary>
    private void WriteText(EnvironmentReport report)
    {
        int width = report.Checks.Max(check => check.Name.Length);
        foreach (EnvironmentCheck check in report.Checks)
        {
            _output.WriteLine($"{StatusOf(check),-7}  {check.Name.PadRight(width)}  {check.Found.ReplaceLineEndings(" ")}");
            if (check.Status == EnvironmentStatus.Ok)
                continue;
            _output.WriteLine($"         wanted: {OptionNames.In(check.Wanted).ReplaceLineEndings(" ")}");
            _output.WriteLine($"         remedy: {OptionNames.In(check.Remedy).ReplaceLineEndings(" ")}");
        }
    }

    private void WriteJson(EnvironmentReport report) => JsonOutput.Write(_output, json =>
    {
        json.WriteStartObject();
        json.WriteBoolean("canRun", report.CanRun);
        json.WriteStartArray("checks");
        foreach (EnvironmentCheck check in report.Checks)
        {
            json.WriteStartObject();
            json.WriteString("name", check.Name);
            json.WriteString("status", StatusOf(check));
            json.WriteString("found", check.Found);
            json.WriteString("wanted", OptionNames.In(check.Wanted));
            json.WriteString("remedy", OptionNames.In(check.Remedy));
            json.WriteEndObject();
        }

        json.WriteEndArray();
        json.WriteEndObject();
    });
}
