using System.Globalization;
using Xfn.Core.Interop;

namespace Xfn.Core.Namespaces;

/// <summary>The ids of this machine, or of the container around this process: which there are, and whose.</summary>
internal sealed class IdMachine(SystemFiles files, SystemUser? user = null)
{
    private const string PasswordFile = "/etc/passwd";
    private static readonly IdKind[] Kinds = [IdKind.User, IdKind.Group];
    private readonly SubordinateIds?[] _subordinate = new SubordinateIds?[Kinds.Length];
    private readonly IReadOnlyList<IdSpan>[] _namespace = [.. Kinds.Select(kind => IdSpan.OfNamespace(files, kind))];

    public IdMachine()
        : this(new SystemFiles())
    {
    }

    public SystemFiles Files => files;

    public SystemUser User => user ??= SystemUser.Current;

    public ProcessStatus Status { get; } = ProcessStatus.Read(files);

    public SubordinateIds Subordinate(IdKind kind) => _subordinate[(int)kind] ??= SubordinateIds.Read(files, kind, User);

    /// <summary>The ids of this process's user namespace.</summary>
    public IReadOnlyList<IdSpan> Namespace(IdKind kind) => _namespace[(int)kind];

    /// <summary>Whether /etc/passwd has the user: usermod changes no other.</summary>
    public bool HasLocalUser => Accounts().Any(a => a.Name == User.Name);

    /// <summary>Who else has some of these ids, for messages: the ids, and whose they are.</summary>
    public IEnumerable<(IdSpan Ids, string Owner)> OthersWith(IdKind kind, IReadOnlyList<IdSpan> ids) =>
        Subordinate(kind).OfOthers.Concat(AccountIds(kind)).SelectMany(other => IdSpan.Among([other.Ids], ids).Select(common => (common, other.Owner)));

    /// <summary>Ids of this user namespace that no user or group has; null when there are not so many.</summary>
    public IdSpan? FindFree(uint first, uint last, uint count)
    {
        IReadOnlyList<IdSpan> free = IdSpan.Among([new IdSpan(first, last - first + 1)], Namespace(IdKind.User));
        free = IdSpan.Among(free, Namespace(IdKind.Group));
        free = IdSpan.Without(free, Kinds.SelectMany(kind => Subordinate(kind).Granted.Concat(Subordinate(kind).OfOthers.Concat(AccountIds(kind)).Select(o => o.Ids))));
        return free.Where(s => s.Count >= count).OrderBy(s => s.First).Select(s => (IdSpan?)new IdSpan(s.First, count)).FirstOrDefault();
    }

    private IEnumerable<(string Owner, IdSpan Ids)> AccountIds(IdKind kind) =>
        Accounts().Select(a => (kind == IdKind.User ? $"user '{a.Name}' ({PasswordFile})" : $"the group of user '{a.Name}' ({PasswordFile})", new IdSpan(kind == IdKind.User ? a.Uid : a.Gid, 1)));

    private IEnumerable<(string Name, uint Uid, uint Gid)> Accounts()
    {
        foreach (string line in files.ReadLines(PasswordFile))
        {
            if (line.Split(':') is [{ Length: > 0 } name, _, var uid, var gid, ..] && TryParse(uid, out uint u) && TryParse(gid, out uint g))
                yield return (name, u, g);
        }

        static bool TryParse(string text, out uint id) => uint.TryParse(text, NumberStyles.None, CultureInfo.InvariantCulture, out id) && id <= IdSpan.Highest;
    }
}
