using System.Diagnostics;
using System.Globalization;
using Xfn.Core.Registry;

namespace Xfn.Core.Tests.Registry;

/// <summary>Helpers that fail, lie, or do not end. Each is a script, and the limits are the test's own.</summary>
[CancelAfter(60_000)]
public class CredentialHelperTests
{
    private static readonly TimeSpan Long = TimeSpan.FromSeconds(50);

    private TemporaryDirectory _directory = null!;

    [SetUp]
    public void Make_a_directory() => _directory = new TemporaryDirectory();

    [TearDown]
    public void Delete_it() => _directory.Dispose();

    [TestCase("exit 3", "it exited with status 3")]
    [TestCase("echo the keychain is locked; exit 1", "it exited with status 1 and said 'the keychain is locked'")]
    [TestCase("echo the bus is gone >&2; exit 1", "it exited with status 1 and said 'the bus is gone'")]
    [TestCase(@"printf 'a\tb\033[31m\r\nc\000d'; exit 1", "it exited with status 1 and said 'a b [31m c d'")]
    [TestCase("""echo '{"Username":"user","Secret":"hunter2"}'; exit 1""", "it exited with status 1")]
    [TestCase("echo hunter2", "its answer is no JSON of the expected form")]
    [TestCase("", "its answer is no JSON of the expected form")]
    [TestCase("echo '[]'", "its answer is no JSON of the expected form")]
    [TestCase("""echo '{"Username":"user","Secret":5}'""", "its answer is no JSON of the expected form")]
    [TestCase("""printf '{"Username":"us\000er","Secret":"s"}'""", "its answer is no JSON of the expected form")]
    [TestCase("kill -9 $$", "it exited with status 137")]
    public async Task A_helper_that_fails_is_told_with_what_it_said_and_without_secrets(string script, string failure, CancellationToken token) =>
        Assert.That(await AskAsync(script, Long, token), Is.EqualTo(((ImagePullAuth?)null, failure)));

    [TestCase("echo credentials not found in native keychain; exit 1")]
    [TestCase("echo '{}'")]
    [TestCase("echo null")]
    [TestCase("""echo '{"ServerURL":"r.test","Username":"","Secret":"s"}'""")]
    public async Task A_helper_may_have_none(string script, CancellationToken token) =>
        Assert.That(await AskAsync(script, Long, token), Is.EqualTo(((ImagePullAuth?)null, (string?)null)));

    [TestCase("""echo '{"ServerURL":"evil.test","Username":"user","Secret":"s"}'""")]
    [TestCase("""echo '{"username":"user","secret":"s"}'""")]
    [TestCase("""echo '{"Username":"user","Secret":"s"} and more'""")]
    [TestCase("""echo warning: insecure >&2; echo '{"Username":"user","Secret":"s"}'""")]
    public async Task An_answer_is_for_the_server_that_was_asked_for(string script, CancellationToken token) =>
        Assert.That(await AskAsync(script, Long, token), Is.EqualTo((new ImagePullAuth { Username = "user", Password = "s" }, (string?)null)));

    [Test]
    public async Task A_long_message_is_cut(CancellationToken token)
    {
        (_, string? failure) = await AskAsync("head -c 60000 /dev/zero | tr '\\0' x; exit 1", Long, token);
        Assert.That(failure, Is.EqualTo($"it exited with status 1 and said '{new string('x', 200)}…'"));
    }

    [TestCase("exec yes", "it wrote more than 65536 bytes")]
    [TestCase("head -c 10000000 /dev/zero", "it wrote more than 65536 bytes")]
    [TestCase("exec sleep 1000", "it did not answer within ")]
    [TestCase("exec yes >&2", "it did not answer within ")]
    [TestCase("exec 1>&- 2>&-; exec sleep 1000", "it did not answer within ")]
    [TestCase("(sleep 1000)", "it did not answer within ")]
    public async Task A_helper_that_does_not_come_to_an_end_is_ended(string script, string failure, CancellationToken token)
    {
        bool isLate = failure.StartsWith("it did not answer", StringComparison.Ordinal);
        string? found = await Patience.GrowAsync(
            async limit => (await AskAsync($"echo $$ > {_directory["pid"]}; {script}", isLate ? limit : Long, token)).Failure,
            _ => File.Exists(_directory["pid"]) && File.ReadAllText(_directory["pid"]).EndsWith('\n'));
        Assert.That(found, Does.StartWith(failure));
        int pid = int.Parse(File.ReadAllText(_directory["pid"]), CultureInfo.InvariantCulture);
        while (Signals.IsAlive(pid))
            await Task.Delay(10, token);
    }

    [TestCase("""echo '{"Username":"user","Secret":"s"}'""", null)]
    [TestCase("echo no luck; exit 1", "it exited with status 1 and said 'no luck'")]
    [TestCase("echo credentials not found; exit 1", null)]
    public async Task What_a_helper_leaves_running_is_not_waited_for(string script, string? failure, CancellationToken token)
    {
        // As an agent that it starts and that keeps its streams.
        try
        {
            (ImagePullAuth? auth, string? found) = await AskAsync($"setsid sleep 1000 & echo $! > {_directory["pid"]}; {script}", Long, token);
            Assert.That(found, Is.EqualTo(failure));
            Assert.That(auth?.Username, Is.EqualTo(script.Contains("Username", StringComparison.Ordinal) ? "user" : null));
            using Process agent = Agent();
            Assert.That(agent.HasExited, Is.False, "what it leaves is its own affair");
        }
        finally
        {
            using Process agent = Agent();
            agent.Kill();
        }
    }

    [Test]
    public void Who_asks_may_stop_waiting(CancellationToken token)
    {
        using var stop = CancellationTokenSource.CreateLinkedTokenSource(token);
        Task asking = AskAsync($"echo x > {_directory["started"]}; exec sleep 1000", Long, stop.Token);
        SpinWait.SpinUntil(() => File.Exists(_directory["started"]) || token.IsCancellationRequested);
        stop.Cancel();
        Assert.That(() => asking, Throws.InstanceOf<OperationCanceledException>());
    }

    [TestCase("../../tmp/evil")]
    [TestCase("a b")]
    [TestCase("x;id")]
    [TestCase("a/b")]
    public async Task A_helper_has_a_name_and_no_path(string name, CancellationToken token) => Assert.That(
        (await new CredentialHelper(name, _directory.Path, Long).GetAsync("r.test", token)).Failure, Is.EqualTo("its name is no program's"));

    [TestCase("", "there is no such program in PATH")]
    [TestCase("bin", "there is no such program in PATH")]
    public async Task A_helper_is_looked_for_in_absolute_directories(string path, string failure, CancellationToken token)
    {
        Write("exit 0");
        Assert.That((await new CredentialHelper("test", path, Long).GetAsync("r.test", token)).Failure, Is.EqualTo(failure));
    }

    [Test]
    public async Task A_program_of_another_system_is_told_so(CancellationToken token)
    {
        // As docker-credential-desktop.exe is, below WSL.
        await File.WriteAllBytesAsync(_directory["docker-credential-test"], [.. "MZ"u8, .. new byte[100]], token);
        Tool.Run("chmod", "+x", _directory["docker-credential-test"]);
        Assert.That(
            (await new CredentialHelper("test", _directory.Path, Long).GetAsync("r.test", token)).Failure, Is.EqualTo("it cannot be run"));
    }

    private async Task<(ImagePullAuth? Auth, string? Failure)> AskAsync(string script, TimeSpan limit, CancellationToken token)
    {
        Write(script);
        return await new CredentialHelper("test", _directory.Path, limit).GetAsync("r.test", token);
    }

    private Process Agent() => Process.GetProcessById(int.Parse(File.ReadAllText(_directory["pid"]), CultureInfo.InvariantCulture));

    private void Write(string script)
    {
        File.WriteAllText(_directory["docker-credential-test"], $"#!/bin/sh\n{script}\n");
        Tool.Run("chmod", "+x", _directory["docker-credential-test"]);
    }
}
