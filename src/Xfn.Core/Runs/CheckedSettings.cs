using System.Net;
using System.Text;
using Xfn.Core.Bundles;
using Xfn.Core.Interop;

namespace Xfn.Core.Runs;

/// <summary>Refuses settings of a container that make no sense, whatever its image is.</summary>
internal static class CheckedSettings
{
    private const long LeastBytes = 64 << 10;
    private const long MostBytes = 1L << 40;
    private const int MostMounts = 256;
    private const int MostFileBytes = 16 << 20;
    private const int LongestHostname = 64;
    private const int LongestName = 253;
    private const uint ModeBits = 0b111_111_111;

    /// <summary>Where every container has file systems of its own.</summary>
    private static readonly string[] _own = ["/proc", "/sys", "/dev"];

    /// <summary>Checks settings.</summary>
    /// <param name="settings">The settings; null for none.</param>
    /// <returns>A copy, with paths as they are used; null where nothing is set.</returns>
    /// <exception cref="InvalidRequestException">One makes no sense.</exception>
    public static ContainerSettings? From(ContainerSettings? settings)
    {
        if (settings is null || IsEmpty(settings))
            return null;
        CheckWords(settings.Entrypoint, "entrypoint");
        CheckWords(settings.Arguments, "arguments");
        if (settings.Entrypoint is ["", _, ..])
            throw Refuse("entrypoint", string.Join(' ', settings.Entrypoint), "its first word, the program, is empty", "Name a program, or leave it empty as a whole");
        if (settings.WritableRootBytes is { } bytes and not 0)
            CheckSize("writable root", bytes);
        if (settings.StopSignal is { } signal && StopSignals.Find(signal) is null)
            throw Refuse("stop signal", signal, "there is no such signal", "Write a name such as SIGTERM or RTMIN+3, or a number from 1 to 64");
        if (settings.Hostname is { } hostname && !IsHostName(hostname, LongestHostname))
            throw Refuse("host name", hostname, $"it is not 1 to {LongestHostname} letters, digits, hyphens and dots", "Write it like db or db.example");
        if (settings.User is { } user && (string.IsNullOrWhiteSpace(user) || user.Contains('\0')))
            throw Refuse("user", user, "it is empty, or holds a NUL character", "Write USER or USER:GROUP, by name or number");
        foreach ((string name, string value) in settings.Environment)
        {
            if (name.Length == 0 || name.AsSpan().ContainsAny('=', '\0'))
                throw Refuse("environment variable", name, "its name is empty, or holds '=' or a NUL character", "Give variables names without them");
            if (value is null || value.Contains('\0'))
                throw Refuse("environment variable", name, "its value is null, or holds a NUL character", "Give it a text without one");
        }

        foreach ((string name, IPAddress address) in settings.ExtraHosts)
        {
            if (!IsHostName(name, LongestName))
                throw Refuse("extra host", name, $"it is not 1 to {LongestName} letters, digits, hyphens and dots", "Write a name like db or db.example");
            if (address is null)
                throw Refuse("extra host", name, "its address is null", "Give it an address");
        }

        return settings with
        {
            // One empty word is docker's way to have no entrypoint.
            Entrypoint = settings.Entrypoint is [""] ? [] : settings.Entrypoint?.ToArray(),
            Arguments = settings.Arguments?.ToArray(),
            Environment = new Dictionary<string, string>(settings.Environment),
            ExtraHosts = new Dictionary<string, IPAddress>(settings.ExtraHosts),
            Egress = settings.Egress.ToArray(),
            WorkingDirectory = settings.WorkingDirectory is null ? null : CheckPath("working directory", settings.WorkingDirectory),
            Mounts = Check(settings.Mounts),
        };
    }

    private static bool IsEmpty(ContainerSettings settings) =>
        settings is { Entrypoint: null, Arguments: null, WorkingDirectory: null, User: null, Hostname: null, WritableRootBytes: null, StopSignal: null }
        && settings.Environment.Count == 0 && settings.ExtraHosts.Count == 0 && settings.Egress.Count == 0 && settings.Mounts.Count == 0;

    private static void CheckWords(IReadOnlyList<string>? words, string noun)
    {
        foreach (string? word in words ?? [])
        {
            if (word is null || word.Contains('\0'))
                throw Refuse(noun, word, "a word of it is null, or holds a NUL character, which no program can be given", "Leave it out");
        }
    }

    private static List<Mount> Check(IList<Mount> mounts)
    {
        if (mounts.Count > MostMounts)
            throw Refuse("mounts", $"{mounts.Count} of them", $"at most {MostMounts} are made", "Mount a directory in place of its files");
        var made = new List<Mount>();
        long files = 0;
        foreach (Mount mount in mounts)
        {
            if (mount is null)
                throw Refuse("mount", null, "it is null", "Leave it out");
            string destination = CheckPath("destination", mount.Destination);
            if (destination == "/")
                throw Refuse("destination", destination, "it is the root, which is the image's", "Mount it below, or have a root that can be written to (option Bundle:WritableRootBytes)");
            if (_own.Any(own => MountPoints.IsBelow(destination, own)) && !(mount is TmpfsMount && destination == "/dev/shm"))
                throw Refuse("destination", destination, "every container has its own there", "Mount it elsewhere");
            if (made.Exists(other => other.Destination == destination))
                throw Refuse("destination", destination, "two mounts have it", "Remove one");
            switch (mount)
            {
                case TmpfsMount tmpfs:
                    CheckSize($"tmpfs at '{destination}' of", tmpfs.Bytes);
                    made.Add(new TmpfsMount(destination, tmpfs.Bytes));
                    break;
                case FileMount file:
                    files += file.Content.Length;
                    if (((uint)file.Mode & ~ModeBits) != 0)
                        throw Refuse("mode", Convert.ToString((int)file.Mode, 8), $"it has bits besides 0777, for the file at '{destination}'", "Leave them out");
                    made.Add(new FileMount(destination, file.Content, file.Mode));
                    break;
                case BindMount bind:
                    made.Add(new BindMount(CheckPath("source", bind.Source, $", for the mount at '{destination}'"), destination, bind.ReadOnly));
                    break;
                case VolumeMount:
                    made.Add(new VolumeMount(destination));
                    break;
                default:
                    throw Refuse("mount", mount.GetType().Name, "it is none of this library's", "Make it with Mount.Bind, Tmpfs, Volume or File");
            }
        }

        return files <= MostFileBytes ? made : throw Refuse("files in memory", $"{files} bytes", $"all together may have {MostFileBytes}", "Mount a file of this machine, or pass large data on stdin");
    }

    /// <returns>The path without a slash at its end.</returns>
    private static string CheckPath(string noun, string? path, string where = "")
    {
        string? trimmed = path is ['/', _, ..] ? path.TrimEnd('/') : path;
        trimmed = trimmed is "" ? "/" : trimmed;
        return MountPoints.IsPath(trimmed) && Encoding.UTF8.GetByteCount(trimmed!) < 4096 && trimmed!.Split('/').All(c => Encoding.UTF8.GetByteCount(c) < 256)
            ? trimmed
            : throw Refuse(noun, path, $"it is no absolute path without empty, '.' and '..' components, or it is too long{where}", "Write it whole");
    }

    private static void CheckSize(string noun, long bytes)
    {
        if (bytes is < LeastBytes or > MostBytes)
            throw Refuse(noun, $"{bytes} bytes", $"it is not between {LeastBytes} and {MostBytes}", "Choose a size in that range");
    }

    /// <summary>Whether a text is a host name: <see href="https://www.rfc-editor.org/rfc/rfc1123#section-2.1">RFC 1123,
    /// section 2.1</see>. Underscores are let pass, since compose files have them.</summary>
    private static bool IsHostName(string? name, int longest) =>
        name is { Length: > 0 } && name.Length <= longest
        && name.Split('.').All(label => label.Length is > 0 and < 64 && label[0] != '-' && label[^1] != '-' && label.All(c => char.IsAsciiLetterOrDigit(c) || c is '-' or '_'));

    private static InvalidRequestException Refuse(string noun, string? value, string found, string remedy) =>
        new($"cannot use {noun} '{value?.Replace('\0', '\uFFFD')}': {found}. {remedy}.");
}
