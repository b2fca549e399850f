namespace Xfn.Cli;

/// <summary>What those who know docker may type, and what to type here.</summary>
internal static class OtherWords
{
    private const string Foreground = "Containers live as long as their command here: 'xfn up IMAGE' shows one until Ctrl-C, 'xfn run -it IMAGE' gives you a shell in one.";
    private const string Logins = "xfn takes what 'docker login' or 'podman login' have kept; docs/registries.md says where.";
    private const string Push = "Write 'xfn build -t REGISTRY/NAME:TAG --push PROGRAM'; 'skopeo copy' copies an image that there is already.";

    /// <summary>Docker's groups, whose second word is xfn's first, mostly.</summary>
    private static readonly string[] Groups = ["image", "container", "system", "builder", "buildx"];

    private static readonly Dictionary<string, string> Commands = new()
    {
        ["image"] = "Write 'xfn images'.",
        ["container"] = Foreground,
        ["container ls"] = Foreground,
        ["container rm"] = Foreground,
        ["container prune"] = Foreground,
        ["ls"] = "Write 'xfn images'.",
        ["list"] = "Write 'xfn images'.",
        ["rmi"] = "Write 'xfn rm IMAGE'.",
        ["remove"] = "Write 'xfn rm IMAGE'.",
        ["delete"] = "Write 'xfn rm IMAGE'.",
        ["history"] = "Write 'xfn inspect IMAGE'.",
        ["show"] = "Write 'xfn inspect IMAGE'.",
        ["df"] = "Write 'xfn images', which says what each image takes.",
        ["info"] = "Write 'xfn doctor', which says what this machine lacks.",
        ["check"] = "Write 'xfn doctor'.",
        ["fetch"] = "Write 'xfn pull IMAGE'.",
        ["serve"] = "Write 'xfn start'.",
        ["server"] = "Write 'xfn start'.",
        ["daemon"] = "There is no daemon. 'xfn start' serves runs to other programs.",
        ["create"] = "Write 'xfn up IMAGE', or 'xfn run IMAGE'.",
        ["sh"] = "Write 'xfn run -it IMAGE'.",
        ["shell"] = "Write 'xfn run -it IMAGE'.",
        ["ps"] = Foreground,
        ["exec"] = Foreground,
        ["attach"] = Foreground,
        ["logs"] = Foreground,
        ["stop"] = Foreground,
        ["kill"] = Foreground,
        ["restart"] = Foreground,
        ["down"] = Foreground,
        ["top"] = Foreground,
        ["stats"] = Foreground,
        ["port"] = Foreground,
        ["compose"] = "There is no compose file: 'xfn up IMAGE' starts one container, and a program starts several (docs/containers.md).",
        ["login"] = Logins,
        ["logout"] = Logins,
        ["push"] = Push,
        ["tag"] = "Write 'xfn build' with several -t; 'skopeo copy' copies an image that there is already.",
        ["load"] = "Name the file: 'xfn run docker-archive:FILE', or oci-archive:FILE.",
        ["import"] = "Name the file: 'xfn run docker-archive:FILE', or oci-archive:FILE.",
        ["save"] = "The cache is for runs. 'skopeo copy docker://IMAGE oci-archive:FILE' makes a file.",
        ["cp"] = "Mount a directory: 'xfn run -v DIR:/work IMAGE'.",
        ["network"] = "A container has a network of its own that leads nowhere; --egress, -p and --network-policy=Runner lead out or in.",
        ["volume"] = "Volumes have no names here: mount a directory, -v DIR:/data.",
    };

    private static readonly Dictionary<string, string> Options = new()
    {
        ["--name"] = "Containers have no names here. Leave it out; --hostname is what the program sees.",
        ["--network"] = "Write --network-policy=Runner for this machine's network; the default leads nowhere, and --egress lets single hosts through.",
        ["--net"] = "Write --network-policy=Runner for this machine's network; the default leads nowhere, and --egress lets single hosts through.",
        ["--detach"] = Foreground,
        ["--restart"] = "Containers live as long as their command: let systemd start that again.",
        ["--pull"] = "Write --image-pull-policy=Always, IfNotPresent or Never.",
        ["--read-only"] = "The root is read-only unless --writable-root says otherwise. Leave it out.",
        ["--tmpfs"] = "Write --mount type=tmpfs,target=DIR,tmpfs-size=64m.",
        ["--privileged"] = "No container is privileged here. --option Bundle:AddedCapabilities:0=CAP_… adds a capability.",
        ["--cap-add"] = "Write --option Bundle:AddedCapabilities:0=CAP_….",
        ["--platform"] = "Write --option Platform=linux/amd64.",
        ["-m"] = "Write --memory.",
        ["--stop-timeout"] = "Write --grace with 'xfn up'.",
    };

    /// <summary>What is wrong with a command of docker's; null where it is none.</summary>
    /// <param name="words">It, and what follows.</param>
    /// <param name="own">The commands of xfn.</param>
    public static string? Command(IReadOnlyList<string> words, IEnumerable<string> own)
    {
        (string said, string name) = words is [var group, [not '-', ..] second, ..] && Groups.Contains(group) ? ($"{group} {second}", second) : (words[0], words[0]);
        string? instead = Commands.GetValueOrDefault(said) ?? (said != name && own.Contains(name) ? $"Write 'xfn {name}'." : Commands.GetValueOrDefault(name));
        return instead is null ? null : $"unknown command '{said}'. {instead}";
    }

    /// <summary>What to write for an option of docker's; null where it is none.</summary>
    public static string? Option(string name) => Options.GetValueOrDefault(name);
}
