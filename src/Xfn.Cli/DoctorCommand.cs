using System.CommandLine;
using Xfn.Core;

namespace Xfn.Cli;

/// <summary><c>xfn doctor</c>: says what keeps this machine from running functions, and what to do about it.</summary>
internal sealed class DoctorCommand : Command
{
    private readonly RunnerOptions _runner = new();
    private readonly GlobalOptions _globals;
    private readonly TextWriter _output;

    public DoctorCommand(GlobalOptions globals, TextWriter output)
        : base("doctor", "Check whether this machine can run functions. Exits with 1 when it cannot.")
    {
        (_globals, _output) = (globals, output);
        _runner.AddTo(this);
        SetAction(CheckAsync);
    }

    private async Task<int> CheckAsync(ParseResult parsed, CancellationToken cancellationToken)
    {
        EnvironmentReport report = await ContainerRunner.CheckEnvironmentAsync(
            options =>
            {
                _globals.Apply(parsed, options);
                _runner.Apply(parsed, options);
            },
            cancellationToken);
        TextTable.Write(
            _output,
            ["CHECK", "STATUS", "FOUND", "WANTED", "REMEDY"],
            [.. report.Checks.Select(c => new[] { c.Name, c.Status.ToString().ToLowerInvariant(), c.Found, OptionNames.In(c.Wanted), OptionNames.In(c.Remedy) })]);
        return report.CanRun ? 0 : 1;
    }
}
