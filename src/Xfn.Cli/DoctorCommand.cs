using System.CommandLine;
using Xfn.Core;

namespace Xfn.Cli;

/// <summary><c>xfn doctor</c>: says what keeps this machine from running functions, and what to do about it.</summary>
internal sealed class DoctorCommand(GlobalOptions globals, TextWriter output)
    : RunnerCommand("doctor", "Check whether this machine can run functions. Exits with 1 when it cannot.")
{
    protected override async Task<int> ExecuteAsync(ParseResult parsed, CancellationToken cancellationToken)
    {
        EnvironmentReport report = await ContainerRunner.CheckEnvironmentAsync(
            options =>
            {
                globals.Apply(parsed, options);
                Runner.Apply(parsed, options);
            },
            cancellationToken);
        TextTable.Write(
            output,
            ["CHECK", "STATUS", "FOUND", "WANTED", "REMEDY"],
            [.. report.Checks.Select(c => new[] { c.Name, c.Status.ToString().ToLowerInvariant(), c.Found, OptionNames.In(c.Wanted), OptionNames.In(c.Remedy) })]);
        return report.CanRun ? 0 : 1;
    }
}
