using System.Diagnostics;
using Moq;
using Xfn.Cli;

namespace Xfn.Core.Samples.Tests;

/// <summary>How shells complete xfn's command lines.</summary>
public class CompletionTests
{
    private readonly BusyboxImage _images = new();
    private string _image = "";

    private static string Directory => AppContext.BaseDirectory;

    /// <summary>A cache with an image of whose name bash makes five words.</summary>
    [OneTimeSetUp]
    public async Task FillCache()
    {
        _images.Write("true");
        _image = $"oci:{_images.Directory}/layout:v1";
        await using var runner = new ContainerRunner(options => options.WithCacheDir(_images.Cache));
        await runner.PullAsync(_image);
    }

    [OneTimeTearDown]
    public void DeleteImages() => _images.Dispose();

    [TestCase("im", "images")]
    [TestCase("completion ", "bash", "fish", "zsh")]
    [TestCase("functions ", "up")]
    [TestCase("help im", "images")]
    [TestCase("run --image", "--image-pull-policy")]
    [TestCase("run --image-pull-policy ", "Always", "IfNotPresent", "Never")]
    [TestCase("run --image-pull-policy N", "Never")]
    [TestCase("run --image-pull-policy=N", "--image-pull-policy=Never")]
    [TestCase("-d run --image-pull-policy=N", "--image-pull-policy=Never")]
    [TestCase("run --bogus=")]
    [TestCase("run -c ", ":files")]
    [TestCase("run -itc ", ":files")]
    [TestCase("run --user ")]
    [TestCase("run fn ", ":files")]
    [TestCase("run -e A=1 fn ", ":files")]
    [TestCase("run fn file ")]
    [TestCase("run fn -- ", ":files")]
    [TestCase("build ", ":files")]
    [TestCase("build a b ", ":files")]
    [TestCase("images ")]
    [TestCase("run --rm")]
    [CancelAfter(60_000)]
    public async Task A_command_line_may_go_on_with(string typed, params string[] expected) =>
        Assert.That((await CompleteAsync(typed)).Select(line => line.Split('\t')[0]), Is.EqualTo(expected));

    [Test, CancelAfter(60_000)]
    public async Task Every_command_and_option_of_the_help_is_completed(CancellationToken token)
    {
        foreach (string command in (await SayAsync("help").WaitAsync(token)).Split('\n').Where(line => line.StartsWith("  ", StringComparison.Ordinal) && line[2] != '-').Select(line => line.Split(' ')[2]))
        {
            Assert.That((await CompleteAsync(command)).Select(line => line.Split('\t')[0]), Does.Contain(command));
            string[] options = [.. (await SayAsync("help", command)).Split('\n').Where(line => line.StartsWith("  -", StringComparison.Ordinal)).Select(line => line.Split(' ', ',').First(word => word.StartsWith("--", StringComparison.Ordinal)))];
            Assert.That((await CompleteAsync($"{command} --")).Select(line => line.Split('\t')[0]), Is.SupersetOf(options), command);
        }
    }

    [TestCase("run")]
    [TestCase("run -it")]
    [TestCase("up")]
    [TestCase("pull")]
    [TestCase("inspect")]
    [TestCase("rm")]
    [TestCase("rm other")]
    [CancelAfter(60_000)]
    public async Task An_image_of_the_cache_is_completed(string command, CancellationToken token)
    {
        Assert.That(await CompleteAsync($"{command} --cache-dir {_images.Cache} oci:").WaitAsync(token), Is.EqualTo(new[] { _image }));
        Assert.That(await CompleteAsync($"{command} --cache-dir {_images.Directory}/nowhere oci:"), Is.Empty);
    }

    [TestCase("help run", "xfn run <IMAGE> [<FILE>] [options]")]
    [TestCase("help rm", "xfn rm <IMAGE>... [options]")]
    [CancelAfter(60_000)]
    public async Task The_help_names_the_argument_and_no_image_of_the_cache(string typed, string usage, CancellationToken token)
    {
        Assert.That((await XfnAsync("pull", _image)).ExitCode, Is.Zero);
        ToolResult shown = await XfnAsync(typed.Split(' '));
        Assert.That(shown.Output, Does.Contain(usage).And.Match("(?m)^  <IMAGE>  ").And.Not.Contain(_image), shown.Error);

        // With the default cache, which only who is not root chooses.
        Task<ToolResult> XfnAsync(params string[] arguments) =>
            Tool.RunAsync("unshare", ["--user", "--map-user=1000", "--map-group=1000", "env", $"XDG_CACHE_HOME={_images.Directory}/caches", Path.Combine(Directory, "xfn"), .. arguments], token);
    }

    [Test, CancelAfter(120_000)]
    public async Task Bash_completes(CancellationToken token)
    {
        using var terminal = new Pty(24, 1000);
        using Process bash = terminal.Start("/usr/bin/env", "INPUTRC=/dev/null", "TERM=dumb", "/bin/bash", "--norc", "--noprofile", "-i");
        try
        {
            terminal.Type($"unset HISTFILE; PATH={Directory}:$PATH; source <(xfn completion bash); echo re''ady\n");
            await terminal.UntilAsync("ready", token);
            await CompleteAsync(terminal, "xfn imag\t", "xfn images", token);
            await CompleteAsync(terminal, $"xfn run -c {_images.Cache} oci:\t", $" {_image}", token);
            await CompleteAsync(terminal, $"xfn rm -c {_images.Cache} {_image[..^2]}\t", $"xfn rm -c {_images.Cache} {_image}", token);
            await CompleteAsync(terminal, "xfn run --image-pull-policy=Al\t", "--image-pull-policy=Always", token);
            await CompleteAsync(terminal, "xfn run fn /etc/hostn\t", "/etc/hostname", token);
        }
        finally
        {
            bash.Kill();
        }
    }

    [Test, CancelAfter(120_000), Category("Long"), Category("shells")]
    public async Task Zsh_completes(CancellationToken token)
    {
        Needs("/usr/bin/zsh");
        using var terminal = new Pty(24, 1000);
        using Process zsh = terminal.Start("/usr/bin/env", "TERM=dumb", "/usr/bin/zsh", "-f", "-i");
        try
        {
            terminal.Type($"PATH={Directory}:$PATH; autoload -U compinit; compinit -u -D; setopt no_beep; source <(xfn completion zsh); echo re''ady\n");
            await terminal.UntilAsync("ready", token);
            await CompleteAsync(terminal, "xfn imag\t", "xfn images", token);
            await CompleteAsync(terminal, $"xfn run -c {_images.Cache} oci:\t", $" {_image}", token);
            await CompleteAsync(terminal, "xfn run --image-pull-policy=Al\t", "--image-pull-policy=Always", token);
            await CompleteAsync(terminal, "xfn run fn /etc/hostn\t", "/etc/hostname", token);
        }
        finally
        {
            zsh.Kill();
        }
    }

    [Test, CancelAfter(120_000), Category("Long"), Category("shells")]
    public async Task Fish_completes(CancellationToken token)
    {
        Needs("/usr/bin/fish");
        Assert.That(await FishAsync("xfn imag"), Is.EqualTo("images\tList the images in the cache\n"));
        Assert.That(await FishAsync($"xfn run -c {_images.Cache} oci:"), Is.EqualTo($"{_image}\n"));
        Assert.That(await FishAsync("xfn run --image-pull-policy=Al"), Is.EqualTo("--image-pull-policy=Always\n"));
        Assert.That(await FishAsync("xfn run fn /etc/hostn"), Does.StartWith("/etc/hostname"));

        async Task<string> FishAsync(string typed)
        {
            ToolResult fish = await Tool.RunAsync("/usr/bin/fish", ["--no-config", "-c", $"set -p PATH {Directory}; xfn completion fish | source; complete -C '{typed}'"], token);
            Assert.That(fish.Error, Is.Empty);
            return fish.Output;
        }
    }

    private static void Needs(string shell)
    {
        if (!File.Exists(shell))
            Assert.Ignore($"There is no {shell}. Install the package {Path.GetFileName(shell)}.");
    }

    /// <summary>Types, waits until a text is to be seen, and takes back what was typed.</summary>
    private static async Task CompleteAsync(Pty terminal, string typed, string expected, CancellationToken token)
    {
        terminal.Type(typed);
        await terminal.UntilAsync(expected, token);
        terminal.Type("\u0015");
    }

    private static async Task<string[]> CompleteAsync(string typed) => (await SayAsync(["__complete", .. typed.Split(' ')])).Split('\n', StringSplitOptions.RemoveEmptyEntries);

    private static async Task<string> SayAsync(params string[] arguments)
    {
        using var output = new StringWriter();
        using var error = new StringWriter();
        int status = await new CommandLine(_ => new Mock<IContainerRunner>().Object) { Output = output, Error = error }.InvokeAsync(arguments).WaitAsync(TestContext.CurrentContext.CancellationToken);
        Assert.That((status, error.ToString()), Is.EqualTo((0, "")));
        return output.ToString();
    }
}
