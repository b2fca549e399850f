using System.Diagnostics;
using System.Globalization;
using Microsoft.Win32.SafeHandles;
using Xfn.Core.Interop;

namespace Xfn.Core.Cache;

/// <summary>A directory that is used by an open descriptor: it stays the same whatever becomes of its path.</summary>
/// <remarks>Its path is walked once, name by name. Only root and the caller may be able to lead a step elsewhere: all
/// directories and links on the way are theirs, and nobody else may write to the directory, or it is sticky.
/// docs/decisions/0044-the-cache-by-descriptor.md says why both are needed.</remarks>
internal sealed class HeldDirectory(SafeFileHandle handle, string name) : IDisposable
{
    /// <summary>As many as the kernel follows.</summary>
    private const int MostLinks = 40;

    private const UnixFileMode Private = UnixFileMode.UserRead | UnixFileMode.UserWrite | UnixFileMode.UserExecute;

    // Not what the umask of many users leaves, by which their group may write.
    private const UnixFileMode Above = Private | UnixFileMode.GroupRead | UnixFileMode.GroupExecute | UnixFileMode.OtherRead | UnixFileMode.OtherExecute;

    /// <summary>Its path without links, as it was when it was opened: for messages.</summary>
    public string Name => name;

    /// <summary>A path to it while it is held: in this process, and in a child until that executes a program.</summary>
    public string Path { get; } = $"/proc/self/fd/{handle.DangerousGetHandle()}";

    /// <summary>Opens a directory, after making what is missing of its path.</summary>
    /// <exception cref="UntrustedPathException">Another user could lead its path elsewhere, or it is none.</exception>
    /// <exception cref="IOException">The system refuses it.</exception>
    public static HeldDirectory Open(string path) => Walk(path, makes: true)!;

    /// <summary>Looks whether another user could lead a path elsewhere, as far as it is there.</summary>
    /// <inheritdoc cref="Open" path="/exception"/>
    public static void Check(string path) => Walk(path, makes: false)?.Dispose();

    /// <summary>Refuses a directory that is not the caller's, or that others may write to.</summary>
    /// <exception cref="UntrustedPathException">It is.</exception>
    public void CheckOwned()
    {
        var step = Step.Of(handle, Name);
        if (step.Owner != Posix.EffectiveUserId || step.IsOpenToGroup || step.IsOpenToOthers)
        {
            throw new UntrustedPathException(
                $"it belongs to user {step.Owner} with mode {Octal(step.Mode)}, expected user {Posix.EffectiveUserId} and no right to write for others, who could plant files in it",
                "Choose another (option CacheDirectory), or mend owner and mode.");
        }
    }

    /// <summary>Says by its name what a message says by <see cref="Path"/>.</summary>
    public string Named(string message) => message.Replace(Path, Name, StringComparison.Ordinal);

    public void Dispose() => handle.Dispose();

    private static HeldDirectory? Walk(string path, bool makes)
    {
        Debug.Assert(HostPlatform.IsLinux);
        // From the root to where the walk is. A link's ".." goes back on it, so that only what was checked is walked.
        var way = new Stack<Step>();
        var rest = new Stack<string>();
        int links = 0;
        bool isMade = false;
        try
        {
            way.Push(Step.Of(Posix.TryOpenEntry(null, "/", "/")!, "/"));
            uint system = way.Peek().Owner;
            Push(rest, System.IO.Path.GetFullPath(path));
            while (rest.TryPop(out string? name))
            {
                if (name == "..")
                {
                    if (way.Count > 1)
                        way.Pop().Handle.Dispose();
                    continue;
                }

                Step parent = way.Peek();
                parent.CheckIsTrusted(system);
                string child = System.IO.Path.Combine(parent.Path, name);
                if (Posix.TryOpenEntry(parent.Handle, name, child) is not { } handle)
                {
                    if (!makes)
                        return null;
                    isMade = rest.Count == 0;
                    Posix.MakeDirectory(parent.Handle, name, isMade ? Private : Above, child);
                    rest.Push(name);
                    continue;
                }

                var step = Step.Of(handle, child);
                way.Push(step);
                if (step.Kind == UnixFileKind.Directory)
                    continue;
                if (step.Kind != UnixFileKind.Link)
                    throw new UntrustedPathException($"'{child}' is {(step.Kind == UnixFileKind.Regular ? "a file" : "no directory")}", "Name a directory (option CacheDirectory).");
                step.CheckOwner(system);
                if (++links > MostLinks)
                    throw new UntrustedPathException($"'{child}' is one link too many", "Choose a directory with fewer links on its path (option CacheDirectory).");
                string target = Posix.ReadLink(handle, child);
                way.Pop().Handle.Dispose();
                while (System.IO.Path.IsPathRooted(target) && way.Count > 1)
                    way.Pop().Handle.Dispose();
                Push(rest, target);
            }

            Step last = way.Pop();
            var held = new HeldDirectory(last.Handle, last.Path);

            // Whatever the umask took away.
            if (isMade)
                File.SetUnixFileMode(held.Path, Private);
            return held;
        }
        finally
        {
            foreach (Step step in way)
                step.Handle.Dispose();
        }
    }

    private static void Push(Stack<string> rest, string path)
    {
        foreach (string name in path.Split('/').Reverse().Where(name => name is not ("" or ".")))
            rest.Push(name);
    }

    private static string Octal(uint mode) => "0" + Convert.ToString(mode, 8);

    private readonly record struct Step(SafeFileHandle Handle, string Path, uint Owner, uint Group, UnixFileKind Kind, uint Mode)
    {
        private const uint Sticky = 0b1_000_000_000;
        private const uint GroupWrite = 0b10_000;
        private const uint OtherWrite = 0b10;

        public bool IsOpenToGroup => (Mode & GroupWrite) != 0;

        public bool IsOpenToOthers => (Mode & OtherWrite) != 0;

        public static Step Of(SafeFileHandle handle, string path)
        {
            (uint owner, uint group, UnixFileKind kind, uint mode) = Posix.LookAt(handle, path);
            return new Step(handle, path, owner, group, kind, mode);
        }

        /// <summary>Refuses a step that another user could lead elsewhere.</summary>
        /// <param name="system">Who owns the root directory: root, or its substitute in a user namespace.</param>
        public void CheckOwner(uint system)
        {
            if (Owner == 0 || Owner == Posix.EffectiveUserId || Owner == system)
                return;
            throw new UntrustedPathException(
                $"'{Path}' is a {(Kind == UnixFileKind.Link ? "link" : "directory")} of user {Owner}, who could put another directory in the cache's place",
                "Choose one on whose path everything belongs to this user or root (option CacheDirectory), or have the path changed so.");
        }

        /// <summary>Refuses a directory in which another user could replace the next one.</summary>
        public void CheckIsTrusted(uint system)
        {
            CheckOwner(system);
            if ((Mode & Sticky) != 0 || !IsOpenToOthers && (!IsOpenToGroup || IsOfCallerAlone()))
                return;
            throw new UntrustedPathException(
                $"others than its owner may write to '{Path}' (group {Group}, mode {Octal(Mode)}), and could put another directory in the cache's place",
                $"Take that right away (chmod go-w '{Path}'), or choose another directory (option CacheDirectory).");
        }

        /// <summary>Whether only the caller is in the group, as many systems give one to each user.</summary>
        private bool IsOfCallerAlone()
        {
            // Where there is an access control list, the mode's group is the most that anybody in it has.
            if (Group != Posix.EffectiveGroupId || Posix.HasAttribute($"/proc/self/fd/{Handle.DangerousGetHandle()}", "system.posix_acl_access"))
                return false;
            uint group = Group;
            try
            {
                string[][] users = [.. File.ReadLines("/etc/passwd").Select(line => line.Split(':')).Where(fields => fields.Length > 3)];
                string[][] groups = [.. File.ReadLines("/etc/group").Select(line => line.Split(':')).Where(fields => fields.Length > 3 && IsNumber(fields[2], group))];
                HashSet<string> trusted = [.. users.Where(user => IsNumber(user[2], 0) || IsNumber(user[2], Posix.EffectiveUserId)).Select(user => user[0])];
                return groups.Length > 0 && groups.SelectMany(g => g[3].Split(',', StringSplitOptions.RemoveEmptyEntries | StringSplitOptions.TrimEntries)).All(trusted.Contains)
                    && users.Where(user => IsNumber(user[3], group)).All(user => trusted.Contains(user[0]));
            }
            catch (Exception ex) when (ex is IOException or UnauthorizedAccessException)
            {
                return false;
            }
        }

        private static bool IsNumber(string text, uint number) => uint.TryParse(text, NumberStyles.None, CultureInfo.InvariantCulture, out uint value) && value == number;
    }
}

/// <summary>A path that another user could lead elsewhere: what was found, where on the path, and the remedy.</summary>
internal sealed class UntrustedPathException(string found, string remedy) : Exception($"{found}. {remedy}")
{
    public string Found => found;

    public string Remedy => remedy;
}
