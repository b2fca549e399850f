using System.Globalization;
using Xfn.Core.Namespaces;

namespace Xfn.Core.Bundles;

/// <summary>Who the process runs as.</summary>
/// <param name="Uid">The user id, inside.</param>
/// <param name="Gid">The group id, inside.</param>
/// <param name="Groups">All its groups, <paramref name="Gid"/> included; none where groups cannot be set.</param>
/// <param name="Home">Its home directory.</param>
internal sealed record ImageUser(uint Uid, uint Gid, IReadOnlyCollection<uint> Groups, string Home)
{
    /// <summary>Whether resolving the user takes the image's <c>/etc/passwd</c> or <c>/etc/group</c>.</summary>
    public static bool NeedsFiles(ImageExecutionConfig? config)
    {
        (string user, string? group) = Split(config?.User);
        return user.Length > 0 && !IsNumber(user)
            || group is not null && !IsNumber(group)
            || user.Length > 0 && (group is null || !(config?.Env ?? []).Any(e => e?.StartsWith("HOME=", StringComparison.Ordinal) == true));
    }

    /// <summary>Resolves <c>user</c>, <c>uid</c>, <c>user:group</c>, <c>uid:gid</c>, <c>uid:group</c> or
    /// <c>user:gid</c> as docker does: it ignores an empty part, and blanks around the whole.</summary>
    public static ImageUser Resolve(BundleContext context)
    {
        string text = context.Container.User ?? context.Image.Config?.User ?? "";
        (string user, string? group) = Split(text);
        if (group?.Contains(':') == true)
            throw Refuse(context, text, "it has more than one colon", "Write USER or USER:GROUP, by name or number");

        UserDatabase.User? known;
        uint uid;
        if (user.Length == 0)
            (known, uid) = (null, 0);
        else if (IsNumber(user))
            known = UserDatabase.FindUser(context.Passwd.Span, uid = Number(context, text, user, "user"));
        else if (IsName(user))
            uid = (known = UserDatabase.FindUser(context.Passwd.Span, user) ?? throw Refuse(
                context, text, $"the image's /etc/passwd has no user '{user}'", "Add it to the image, or set a number")).Value.Uid;
        else
            throw Refuse(context, text, $"'{user}' is neither a user's name nor a number from 0 to {int.MaxValue}", "Write USER or USER:GROUP, by name or number");

        uint gid = known?.Gid ?? 0;
        if (group is not null)
            gid = ResolveGroup(context, text, group);

        CheckMapped(context, text, "user", uid, context.Mapping.Uids);
        CheckMapped(context, text, "group", gid, context.Mapping.Gids);
        return new ImageUser(uid, gid, FindGroups(context, text, gid, group is null ? known?.Name : null), HomeOf(uid, known?.Home));
    }

    /// <summary>The user and the group; the latter is null when there is none.</summary>
    private static (string User, string? Group) Split(string? text)
    {
        string trimmed = (text ?? "").Trim();
        int colon = trimmed.IndexOf(':');
        return colon < 0 ? (trimmed, null) : (trimmed[..colon], colon + 1 == trimmed.Length ? null : trimmed[(colon + 1)..]);
    }

    private static uint ResolveGroup(BundleContext context, string text, string group)
    {
        if (IsNumber(group))
            return Number(context, text, group, "group");
        if (!IsName(group))
            throw Refuse(context, text, $"'{group}' is neither a group's name nor a number from 0 to {int.MaxValue}", "Write USER or USER:GROUP, by name or number");
        return UserDatabase.FindGroup(context.Group.Span, group) ?? throw Refuse(
            context, text, $"the image's /etc/group has no group '{group}'", "Add it to the image, or set a number");
    }

    /// <param name="context">Where the groups' file is.</param>
    /// <param name="text">For messages.</param>
    /// <param name="gid">The primary group, always included. Else a process could shed what files forbid it.</param>
    /// <param name="name">The user whose supplementary groups are wanted; null for none.</param>
    private static SortedSet<uint> FindGroups(BundleContext context, string text, uint gid, string? name)
    {
        // setgroups(2) is denied where a caller without privileges maps its own id.
        if (context.Mapping.IsSingle)
            return [];
        SortedSet<uint> groups = name is null ? [] : UserDatabase.FindGroupsOf(context.Group.Span, name);
        groups.Add(gid);
        CheckMapped(context, text, "supplementary group", groups.Max, context.Mapping.Gids);
        return groups;
    }

    private static string HomeOf(uint uid, string? home) =>
        home is ['/', ..] && !home.Contains('\0') ? home : uid == 0 ? "/root" : "/";

    private static void CheckMapped(BundleContext context, string text, string kind, uint id, IReadOnlyList<IdRange> ranges)
    {
        if (ranges.Any(r => id >= r.Inside && id - r.Inside < r.Count))
            return;
        IdKind idKind = kind == "user" ? IdKind.User : IdKind.Group;
        string remedy = IdRemedies.ForHigher(context.Mapping, idKind, id);
        string found = context.Mapping.IsSingle
            ? "only one id, 0, is mapped, because the caller may map no other"
            : $"{kind} {id} is above {ranges[^1].Inside + ranges[^1].Count - 1}, the highest that is mapped";
        if (context.Mapping.Method == IdMappingMethod.Capabilities)
            throw Refuse(context, text, found, remedy.TrimEnd('.'));
        if (!context.Mapping.IsSingle)
            found += $", since {(idKind == IdKind.User ? "/etc/subuid" : "/etc/subgid")} grants no more";
        throw new ContainerEnvironmentException(RunStage.Bundle, $"cannot run image '{context.Reference}' as {kind} {id}: {found}. {remedy}");
    }

    /// <summary>Digits are only ever a number. Out of range they must not become a name, or wrap to root.</summary>
    private static bool IsNumber(string text) => text.Length > 0 && text.AsSpan().IndexOfAnyExceptInRange('0', '9') < 0;

    private static bool IsName(string text) =>
        text.Length <= 256 && text[0] is not ('-' or '+' or '#') && !text.Any(c => char.IsWhiteSpace(c) || char.IsControl(c) || c is ',' or '/');

    private static uint Number(BundleContext context, string text, string digits, string kind) =>
        uint.TryParse(digits, NumberStyles.None, CultureInfo.InvariantCulture, out uint id) && id <= int.MaxValue
            ? id
            : throw Refuse(context, text, $"{kind} {digits} is above {int.MaxValue}, the highest there is", "Use a lower id");

    private static XfnException Refuse(BundleContext context, string text, string found, string remedy) => context.Container.User is null
        ? new InvalidImageException(RunStage.Bundle, $"cannot use user '{text}' of image '{context.Reference}': {found}. {remedy}.")
        : new InvalidRequestException($"cannot use user '{text}' in image '{context.Reference}': {found}. {remedy}.");
}
