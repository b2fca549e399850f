using System.Globalization;
using Xfn.Core.Interop;

namespace Xfn.Core.Cache;

/// <summary>Where images are kept when nobody says; why there, a clause that names the variable; and what is odd about
/// it, with the remedy, or null.</summary>
internal sealed record DefaultCache(string Directory, string Origin, string? Warning = null)
{
    private const string CacheHome = "XDG_CACHE_HOME";
    private const string RuntimeDirectory = "XDG_RUNTIME_DIR";
    private const string Remedy = "Set XDG_CACHE_HOME to an absolute path that this user may write, or choose a directory (option CacheDirectory).";

    /// <summary>The one of this process.</summary>
    public static DefaultCache Find() => HostPlatform.IsLinux
        ? Find(Environment.GetEnvironmentVariable, Posix.EffectiveUserId, Environment.GetFolderPath(Environment.SpecialFolder.UserProfile, Environment.SpecialFolderOption.DoNotVerify), Path.GetTempPath())
        : new DefaultCache("/xfn", "nothing runs here");

    /// <summary>The one of a process with this environment. The home is that by HOME or by /etc/passwd, and need not
    /// exist.</summary>
    /// <remarks><see href="https://specifications.freedesktop.org/basedir-spec/latest/#variables">XDG Base Directory
    /// Specification</see>: what is no absolute path is to be ignored.</remarks>
    internal static DefaultCache Find(Func<string, string?> variable, uint user, string home, string temporary)
    {
        if (user == 0)
            return new DefaultCache("/xfn", "it is root's");
        string? cacheHome = variable(CacheHome);
        if (Path.IsPathRooted(cacheHome))
            return new DefaultCache(Path.Combine(cacheHome, "xfn"), $"{CacheHome} is '{cacheHome}'");
        string? relative = string.IsNullOrEmpty(cacheHome) ? null : $"{CacheHome} is '{cacheHome}', which is no absolute path and counts for nothing. {Remedy}";
        string origin = variable("HOME") is { Length: > 0 } ? $"HOME is '{home}'" : $"HOME is not set and /etc/passwd says '{home}'";
        if (Path.IsPathRooted(home) && System.IO.Directory.Exists(home))
            return new DefaultCache(Path.Combine(home, ".cache", "xfn"), origin, relative);
        string homeless = relative ?? $"{origin}, which is no directory, so what is kept may be gone with the next start of the machine. {Remedy}";
        string? runtime = variable(RuntimeDirectory);
        return Path.IsPathRooted(runtime) && Posix.CanWrite(runtime)
            ? new DefaultCache(Path.Combine(runtime, "xfn"), $"{origin}, which is no directory, and {RuntimeDirectory} is '{runtime}'", homeless)
            : new DefaultCache(Path.Combine(temporary, string.Create(CultureInfo.InvariantCulture, $"xfn-{user}")), $"{origin}, which is no directory", homeless);
    }

    /// <summary>Why a cache directory cannot be used, with where it comes from when nobody named it.</summary>
    public static ContainerEnvironmentException Explain(string directory, ContainerEnvironmentException error) => Find() is var found && found.Directory == directory
        ? new ContainerEnvironmentException(error.Stage, $"{error.Message} It is the default, since {found.Origin}. {Remedy}", error)
        : error;
}
