using Xfn.Core.Interop;
using Xfn.Core.Namespaces;

namespace Xfn.Core.Preflight.Checks;

/// <summary>Many things forbid user namespaces; only trying tells.</summary>
internal static class UserNamespaceCheck
{
    private const string Name = "user namespaces";
    private const string Wanted = "this user may make user, mount and PID namespaces";

    public static async Task<EnvironmentCheck> CheckAsync(SystemFiles files, CancellationToken cancellationToken)
    {
        ProgramResult result = await Programs.RunAsync("unshare", ["--user", "--mount", "--pid", "--fork", "true"], cancellationToken).ConfigureAwait(false);
        return result.ExitCode == 0
            ? EnvironmentChecker.Ok(Name, "they can be made", Wanted)
            : EnvironmentChecker.Failed(Name, EnvironmentDiagnosis.OfUnshare(result.Error, files), Wanted);
    }
}
