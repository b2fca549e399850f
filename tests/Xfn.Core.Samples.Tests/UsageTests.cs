using System.Text.RegularExpressions;
using Moq;
using Xfn.Cli;

namespace Xfn.Core.Samples.Tests;

/// <summary>What a person types who knows docker, or who mistypes: it does the right thing, or one line says what to
/// type.</summary>
public class UsageTests
{
    private readonly StringWriter _output = new();
    private readonly StringWriter _error = new();

    [TearDown]
    public void Clear()
    {
        _output.GetStringBuilder().Clear();
        _error.GetStringBuilder().Clear();
    }

    // The word that is wrong.
    [TestCase("run -q A=1 oci:images -", "unknown option '-q' of 'xfn run'. Try 'xfn run --help'.")]
    [TestCase("run --qq A=1 oci:images -", "unknown option '--qq' of 'xfn run'. Try 'xfn run --help'.")]
    [TestCase("run --qq=A=1 fn", "unknown option '--qq' of 'xfn run'. Try 'xfn run --help'.")]
    [TestCase("run --qq fn", "unknown option '--qq' of 'xfn run'. Try 'xfn run --help'.")]
    [TestCase("run fn /dev/null --bogus", "unknown option '--bogus' of 'xfn run'. Try 'xfn run --help'.")]
    [TestCase("--bogus", "unknown option '--bogus'. Try 'xfn help'.")]
    [TestCase("--bogus run fn", "unknown option '--bogus' of 'xfn run'. Try 'xfn run --help'.")]
    [TestCase("pull a b --bogus", "unknown option '--bogus' of 'xfn pull'. Try 'xfn pull --help'.")]
    [TestCase("pull a b", "'xfn pull' takes IMAGE and no more, not 'b'. Try 'xfn pull --help'.")]
    [TestCase("images alpine", "'xfn images' takes no argument 'alpine'. Try 'xfn images --help'.")]
    [TestCase("start alpine", "'xfn start' takes no argument 'alpine'. Try 'xfn start --help'.")]

    // What is missing, or twice.
    [TestCase("run", "'xfn run' needs IMAGE: xfn run IMAGE [FILE]. Try 'xfn run --help'.")]
    [TestCase("rm", "'xfn rm' needs IMAGE: xfn rm IMAGE…. Try 'xfn rm --help'.")]
    [TestCase("functions", "'xfn functions' needs a command: xfn functions up. Try 'xfn functions --help'.")]
    [TestCase("run fn --timeout", "--timeout needs a value: --timeout DURATION. Try 'xfn run --help'.")]
    [TestCase("run fn -e", "-e needs a value: -e NAME[=VALUE]. Try 'xfn run --help'.")]
    [TestCase("run fn -r", "-r needs a value: -r HOST[:PORT]. Try 'xfn run --help'.")]
    [TestCase("run fn --timeout=1s --timeout=2s", "--timeout is given twice. Leave all but one out.")]

    // Mistyped.
    [TestCase("imges", "unknown command 'imges'. Did you mean 'images'? Try 'xfn help'.")]
    [TestCase("-d imgaes", "unknown command 'imgaes'. Did you mean 'images'? Try 'xfn help'.")]
    [TestCase("imges --help", "unknown command 'imges'. Did you mean 'images'? Try 'xfn --help'.")]
    [TestCase("help imges", "unknown command 'imges'. Did you mean 'images'? Try 'xfn --help'.")]
    [TestCase("RUN fn", "unknown command 'RUN'. Did you mean 'run'? Try 'xfn help'.")]
    [TestCase("doc", "unknown command 'doc'. Did you mean 'doctor'? Try 'xfn help'.")]
    [TestCase("sandwich", "unknown command 'sandwich'. Try 'xfn help'.")]
    [TestCase("functions upp", "unknown command 'upp'. Did you mean 'up'? Try 'xfn functions --help'.")]
    [TestCase("-V", "unknown option '-V'. Did you mean '-v'? Try 'xfn help'.")]
    [TestCase("run --timeuot 5s fn", "unknown option '--timeuot' of 'xfn run'. Did you mean '--timeout'? Try 'xfn run --help'.")]
    [TestCase("start --max-tiemout=5s", "unknown option '--max-tiemout' of 'xfn start'. Did you mean '--max-timeout'? Try 'xfn start --help'.")]
    [TestCase("run --image-pull-policy=Alwyas fn", "cannot use --image-pull-policy 'Alwyas': expected Always, IfNotPresent or Never. Did you mean 'Always'?")]
    [TestCase("run --network-policy=host fn", "cannot use --network-policy 'host': expected Isolated or Runner.")]
    [TestCase("completion tcsh", "cannot use SHELL 'tcsh': expected bash, fish or zsh.")]

    // Docker's.
    [TestCase("image ls", "unknown command 'image ls'. Write 'xfn images'.")]
    [TestCase("image pull alpine", "unknown command 'image pull'. Write 'xfn pull'.")]
    [TestCase("image rm alpine", "unknown command 'image rm'. Write 'xfn rm'.")]
    [TestCase("image prune -a", "unknown command 'image prune'. Write 'xfn prune'.")]
    [TestCase("system prune --all", "unknown command 'system prune'. Write 'xfn prune'.")]
    [TestCase("rmi alpine", "unknown command 'rmi'. Write 'xfn rm IMAGE'.")]
    [TestCase("info", "unknown command 'info'. Write 'xfn doctor', which says what this machine lacks.")]
    [TestCase("serve", "unknown command 'serve'. Write 'xfn start'.")]
    [TestCase("ps", "unknown command 'ps'. Containers live as long as their command here: 'xfn up IMAGE' shows one until Ctrl-C, 'xfn run -it IMAGE' gives you a shell in one.")]
    [TestCase("ps -a", "unknown command 'ps'. Containers live as long as their command here:*")]
    [TestCase("container ls", "unknown command 'container ls'. Containers live as long as their command here:*")]
    [TestCase("exec -it db sh", "unknown command 'exec'. Containers live as long as their command here:*")]
    [TestCase("logs -f db", "unknown command 'logs'. Containers live as long as their command here:*")]
    [TestCase("stop db", "unknown command 'stop'. Containers live as long as their command here:*")]
    [TestCase("login registry.example.org", "unknown command 'login'. xfn takes what 'docker login' or 'podman login' have kept; docs/registries.md says where.")]
    [TestCase("push reg/fn", "unknown command 'push'. Write 'xfn build -t REGISTRY/NAME:TAG --push PROGRAM';*")]
    [TestCase("load -i x.tar", "unknown command 'load'. Name the file: 'xfn run docker-archive:FILE', or oci-archive:FILE.")]
    [TestCase("compose up", "unknown command 'compose'. There is no compose file:*")]
    [TestCase("run -p 8080:80 nginx", "unknown option '-p' of 'xfn run'. 'xfn up' has it. Try 'xfn run --help'.")]
    [TestCase("--json doctor", "'--json' stands before the command. Write it behind: xfn doctor --json …")]
    [TestCase("run --name db alpine", "unknown option '--name'. Containers have no names here.*")]
    [TestCase("run --network host alpine", "unknown option '--network'. Write --network-policy=Runner for this machine's network;*")]
    [TestCase("run --pull always alpine", "unknown option '--pull'. Write --image-pull-policy=Always, IfNotPresent or Never.")]
    [TestCase("up --detach nginx", "unknown option '--detach'. Containers live as long as their command here:*")]
    [TestCase("run --rm -it alpine sh", "cannot use -it with 'sh' as input: leave one of them out. What the program is told stands behind '--': xfn run -it alpine -- sh …")]
    [TestCase("run alpine echo hello world", "'xfn run' takes IMAGE [FILE] and no more, not 'hello'. What the program is told stands behind '--': xfn run alpine -- echo hello …")]
    [TestCase("run alpine xfn-no-such-file", "cannot read file 'xfn-no-such-file': there is none. If the program is to be told that, write it behind '--': xfn run alpine -- xfn-no-such-file …")]
    [TestCase("up nginx nginx-debug", "'xfn up' takes IMAGE and no more, not 'nginx-debug'. What the program is told stands behind '--': xfn up nginx -- nginx-debug …")]
    [TestCase("build -t fn ./out", "cannot write image 'index.docker.io/library/fn:latest': it is a name in a registry. Add --push to push it, or write to a directory: -t oci:DIR:NAME.")]
    [TestCase("build .", "cannot build an image that goes nowhere. Write where to:*")]
    [CancelAfter(60_000)]
    public async Task What_is_no_command_line_is_answered_by_one_line(string typed, string said, CancellationToken token)
    {
        Assert.That(await Invoke(typed).WaitAsync(token), Is.EqualTo(125));
        Assert.That(_error.ToString(), Does.Match($@"\Axfn: error: {Regex.Escape(said).Replace(@"\*", "[^\n]*")}\n\z"));
        Assert.That(_output.ToString(), Is.Empty);
    }

    [TestCase("help", "--help")]
    [TestCase("-h", "--help")]
    [TestCase("help run", "run --help")]
    [TestCase("--help run", "run --help")]
    [TestCase("run -h", "run --help")]
    [TestCase("help functions up", "functions up --help")]
    [TestCase("version", "--version")]
    [TestCase("-v", "--version")]
    [CancelAfter(60_000)]
    public async Task What_is_asked_in_another_way_is_answered_alike(string typed, string same, CancellationToken token)
    {
        Assert.That(await Invoke(typed).WaitAsync(token), Is.Zero);
        string output = _output.ToString();
        _output.GetStringBuilder().Clear();
        Assert.That(await Invoke(same).WaitAsync(token), Is.Zero);
        Assert.That(output, Is.EqualTo(_output.ToString()).And.Not.Empty);
        Assert.That(_error.ToString(), Is.Empty);
    }

    [Test, CancelAfter(60_000)]
    public async Task The_help_fits_a_terminal(CancellationToken token)
    {
        Assert.That(await Invoke("help").WaitAsync(token), Is.Zero);
        Assert.That(_output.ToString().Split('\n'), Has.All.Length.LessThanOrEqualTo(80).And.Some.StartsWith("  run "));
    }

    [TestCase(true)]
    [TestCase(false)]
    [CancelAfter(60_000)]
    public async Task Alone_xfn_shows_its_help_to_a_person_and_serves_otherwise(bool isInteractive, CancellationToken token)
    {
        // The address is that of no server.
        using var directory = new TemporaryDirectory();
        Assert.That(await Invoke(isInteractive ? "" : $"--network=tcp --address=nowhere --cache-dir={directory["cache"]}", isInteractive).WaitAsync(token), isInteractive ? Is.Zero : Is.EqualTo(125));
        Assert.That(isInteractive ? _output.ToString() : _error.ToString(), isInteractive ? Does.Contain("Usage: xfn COMMAND") : Does.StartWith("xfn: error: ").And.Contain("'nowhere'"));
    }

    [TestCase(0, "just now")]
    [TestCase(119, "just now")]
    [TestCase(120, "2 minutes ago")]
    [TestCase(7_199, "119 minutes ago")]
    [TestCase(7_200, "2 hours ago")]
    [TestCase(172_799, "47 hours ago")]
    [TestCase(172_800, "2 days ago")]
    [TestCase(864_000_000, "10000 days ago")]
    public void A_time_is_told_in_its_greatest_unit(int seconds, string said) => Assert.That(ImagesCommand.Ago(TimeSpan.FromSeconds(seconds)), Is.EqualTo(said));

    [TestCase("index.docker.io/library/alpine:3", "alpine:3")]
    [TestCase("index.docker.io/team/fn:v1", "team/fn:v1")]
    [TestCase("index.docker.io/library/team/fn:v1", "library/team/fn:v1")]
    [TestCase("registry.example.org/library/fn:v1", "registry.example.org/library/fn:v1")]
    [TestCase("oci:/srv/images:v1", "oci:/srv/images:v1")]
    public void A_name_is_as_short_as_it_can_be_typed(string reference, string name)
    {
        CachedImage image = Image(reference, "x");
        Assert.That(CachedImages.NameOf(image), Is.EqualTo(name));
        Assert.That(CachedImages.Find([Image("index.docker.io/library/other:v1", "y"), image], name, null), Is.EqualTo([image]));
    }

    [Test]
    public void An_image_is_found_by_its_digest_or_the_first_digits_of_it()
    {
        CachedImage[] images = [Image("index.docker.io/library/a:v1", "x"), Image("index.docker.io/library/b:v1", "x"), Image("", "y")];
        using (Assert.EnterMultipleScope())
        {
            Assert.That(CachedImages.Find(images, $"{images[0].Digest}", null), Is.EqualTo(images[..2]));
            Assert.That(CachedImages.Find(images, images[2].Digest.Hex[..12], null), Is.EqualTo(images[2..]));
            Assert.That(CachedImages.Find(images, $"sha256:{images[2].Digest.Hex[..4]}", null), Is.EqualTo(images[2..]));
            Assert.That(() => CachedImages.Find(images, images[2].Digest.Hex[..3], null), Throws.TypeOf<ImageNotFoundException>());
            Assert.That(() => CachedImages.Find(images, "c", null), Throws.TypeOf<ImageNotFoundException>().With.Message.Contains("'c'"));
            Assert.That(() => CachedImages.Find([], "sha256:", null), Throws.TypeOf<ImageNotFoundException>());
        }
    }

    private static CachedImage Image(string reference, string content) => new() { Reference = reference, Digest = Digest.Compute(System.Text.Encoding.UTF8.GetBytes(content)), Bytes = 1, LastUsed = default };

    private Task<int> Invoke(string typed, bool isInteractive = false) =>
        new CommandLine(_ => new Mock<IContainerRunner>().Object) { Output = _output, Error = _error, IsInteractive = isInteractive }
            .InvokeAsync(typed.Split(' ', StringSplitOptions.RemoveEmptyEntries)).WaitAsync(TestContext.CurrentContext.CancellationToken);
}
