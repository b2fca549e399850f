using System.Diagnostics;
using System.Text;
using System.Text.Json.Nodes;
using Xfn.Core.Server.Tests.Support;

namespace Xfn.Core.Server.Tests;

internal sealed class ForeignClientTests : ServerFixture
{
    [TestCase("unix", "abstract"), TestCase("unix", "path"), TestCase("tcp", "127.0.0.1:0"), CancelAfter(120_000)]
    public async Task A_client_in_another_language_gets_the_bytes_that_a_run_in_process_gives(string network, string address, CancellationToken token)
    {
        string image = Write(TestImage.Command("cat"));
        ContainerRunner runner = NewRunner();
        ContainerRunnerServer server = await ServeAsync(
            runner, network, address switch { "abstract" => AbstractName(), "path" => Path.Combine(Scratch, "fn.sock"), _ => address });
        foreach (int size in new[] { 0, 1 << 20, 20 << 20 })
        {
            byte[] input = new byte[size];
            new Random(size).NextBytes(input);
            RunFunctionResponse local = await runner.RunFunctionAsync(new RunFunctionRequest { Image = image, Input = input }, token);
            ForeignAnswer answer = await ForeignClient.CallAsync(Target(server), Call(image, input), token);

            Assert.That(answer.Code, Is.EqualTo("OK"), answer.Details);
            Assert.That(answer.Output.AsSpan().SequenceEqual(local.Output.Span), $"{size} bytes");
            Assert.That(answer.Trailers["xfn-image-digest"], Is.EqualTo(local.Statistics.ImageDigest.ToString()));
            Assert.That(answer.Trailers["xfn-from-cache"], Is.EqualTo("true"));
        }
    }

    [Test, CancelAfter(60_000)]
    public async Task A_failed_function_is_told_with_its_status_and_the_end_of_stderr(CancellationToken token)
    {
        ContainerRunnerServer server = await ServeAsync();
        ForeignAnswer answer = await ForeignClient.CallAsync(Target(server), Call(Write(TestImage.Shell("echo out; echo wrong >&2; exit 3"))), token);

        Assert.That((answer.Code, answer.Details), Is.EqualTo(("ABORTED", answer.Details)));
        Assert.That(answer.Details, Does.Contain("exited with status 3").And.Contain("wrong"));
        Assert.That(answer.Trailers["xfn-error"], Is.EqualTo("exited"));
        Assert.That(answer.Trailers["xfn-stage"], Is.EqualTo("run"));
        Assert.That(answer.Trailers["xfn-exit-code"], Is.EqualTo("3"));
        Assert.That(answer.StderrTail, Is.EqualTo("wrong\n"));
        Assert.That(Convert.FromBase64String(answer.Trailers["xfn-output-bin"]), Is.EqualTo("out\n"u8.ToArray()));
    }

    [Test, CancelAfter(60_000)]
    public async Task Much_on_stderr_does_not_keep_an_answer_from_its_client(CancellationToken token)
    {
        ContainerRunnerServer server = await ServeAsync();
        foreach (string end in new[] { "exit 0", "exit 7" })
        {
            ForeignAnswer answer = await ForeignClient.CallAsync(Target(server), Call(Write(TestImage.Shell($"yes 0123456789 | head -c 52428800 >&2; echo; echo done; echo the end >&2; {end}"), end[^1..])), token);
            Assert.That(answer.Code, Is.EqualTo(end == "exit 0" ? "OK" : "ABORTED"), answer.Details);
            Assert.That(answer.StderrTail, Does.EndWith("the end\n").And.Length.GreaterThan(2000));
            Assert.That(int.Parse(answer.Trailers["xfn-stderr-cut-bytes"], null), Is.EqualTo((64 << 10) - answer.StderrTail.Length));
        }
    }

    [Test, CancelAfter(60_000)]
    public async Task The_callers_deadline_ends_a_function_that_may_run_longer(CancellationToken token)
    {
        ContainerRunnerServer server = await ServeAsync();
        string sleep = UniqueSleep(), image = Write(TestImage.Shell(sleep));
        ForeignAnswer answer = await ForeignClient.CallAsync(Target(server), Call(image, timeout: 60_000, deadline: 1.5), token);
        Assert.That(answer.Code, Is.EqualTo("DEADLINE_EXCEEDED"));
        await Eventually(() => !IsRunning(sleep), "the function still runs", token);
    }

    [Test, CancelAfter(60_000)]
    public async Task A_function_that_runs_out_of_its_own_time_is_told_as_such(CancellationToken token)
    {
        ContainerRunnerServer server = await ServeAsync();
        string image = Write(TestImage.Shell("echo waiting >&2; sleep 1000"));
        ForeignAnswer answer = await Patience.GrowAsync(
            limit => ForeignClient.CallAsync(Target(server), Call(image, timeout: (int)(limit.TotalMilliseconds * 0.3), deadline: 100), token), end => end.StderrTail.Length > 0);
        Assert.That(answer.Code, Is.EqualTo("DEADLINE_EXCEEDED"));
        Assert.That(answer.Trailers["xfn-error"], Is.EqualTo("timed-out"));
        Assert.That(answer.Trailers["xfn-timeout"], Does.Match("^[0-9]+\\.[0-9]$"));
        Assert.That(answer.StderrTail, Is.EqualTo("waiting\n"));
    }

    [TestCase("cancel"), TestCase("kill"), CancelAfter(60_000)]
    public async Task A_caller_that_cancels_or_vanishes_ends_its_function(string how, CancellationToken token)
    {
        ContainerRunnerServer server = await ServeAsync();
        string sleep = UniqueSleep();
        JsonObject call = Call(Write(TestImage.Shell(sleep)), timeout: 60_000);
        string cancel = Path.Combine(Scratch, "cancel");
        if (how == "cancel")
            call["cancel"] = cancel;
        using Process client = ForeignClient.Start(Target(server), call);
        await Eventually(() => IsRunning(sleep), "the function does not start", token);
        if (how == "kill")
            client.Kill();
        else
            await File.WriteAllTextAsync(cancel, "", token);
        using StreamReader stdout = client.StandardOutput, stderr = client.StandardError;
        await client.WaitForExitAsync(token);
        await Eventually(() => !IsRunning(sleep), "the function still runs", token);
    }

    [Test, CancelAfter(60_000)]
    public async Task What_is_no_request_is_the_callers_mistake(CancellationToken token)
    {
        ContainerRunnerServer server = await ServeAsync();
        string[] wrong =
        [
            "0a05", // ends too early
            "0a01ff", // a name that is not UTF-8
            "22041a02087f", // no image
            "0a0178" + "1a0308e707", // pull policy 999
            "0a0178" + "22041a020810" + "ff", // rubbish behind
            "0a0178" + "220d1a0b08" + "ffffffffffffffffff01", // -1 s
            "0a0178" + string.Concat(Enumerable.Repeat("1b", 5000)), // groups nested 5,000 deep
            "0a03612062", // "a b"
        ];
        foreach (string raw in wrong)
        {
            ForeignAnswer answer = await ForeignClient.CallAsync(Target(server), new JsonObject { ["raw"] = Convert.ToBase64String(Convert.FromHexString(raw)) }, token);
            Assert.That(answer.Code, Is.EqualTo("INVALID_ARGUMENT"), raw[..Math.Min(40, raw.Length)] + ": " + answer.Details);
        }
    }

    [Test, CancelAfter(60_000)]
    public async Task Fields_of_a_later_protocol_are_not_minded(CancellationToken token)
    {
        ContainerRunnerServer server = await ServeAsync();
        string image = Write(TestImage.Command("cat"));
        byte[] name = Encoding.UTF8.GetBytes(image);
        byte[] raw = [0x0a, (byte)name.Length, .. name, 0x12, 2, (byte)'h', (byte)'i', 0xfa, 0x3f, 3, 1, 2, 3];
        ForeignAnswer answer = await ForeignClient.CallAsync(Target(server), new JsonObject { ["raw"] = Convert.ToBase64String(raw) }, token);
        Assert.That(answer.Output, Is.EqualTo("hi"u8.ToArray()), answer.Details);
    }

    [Test, CancelAfter(60_000)]
    public async Task Too_large_a_request_is_refused_and_names_the_limit(CancellationToken token)
    {
        ContainerRunnerServer server = await ServeAsync(NewRunner(o => o.MaxStdioBytes = 4 << 20), "unix", AbstractName());
        string image = Write(TestImage.Command("cat"));
        ForeignAnswer allowed = await ForeignClient.CallAsync(Target(server), Call(image, new byte[4 << 20]), token);
        ForeignAnswer over = await ForeignClient.CallAsync(Target(server), Call(image, new byte[(4 << 20) + 1]), token);
        ForeignAnswer farOver = await ForeignClient.CallAsync(Target(server), Call(image, new byte[40 << 20]), token);
        Assert.Multiple(() =>
        {
            Assert.That((allowed.Code, allowed.Output?.Length), Is.EqualTo(("OK", 4 << 20)));
            Assert.That(over.Code, Is.EqualTo("INVALID_ARGUMENT"));
            Assert.That(over.Details, Does.Contain($"{4 << 20}"));
            Assert.That(farOver.Code, Is.EqualTo("RESOURCE_EXHAUSTED"));
        });
    }

    [Test, CancelAfter(60_000)]
    public async Task A_small_message_that_would_become_a_large_one_is_refused(CancellationToken token)
    {
        ContainerRunnerServer server = await ServeAsync(NewRunner(o => o.MaxStdioBytes = 1 << 20), "unix", AbstractName());
        JsonObject call = Call(Write(TestImage.Command("cat")), new byte[50 << 20]);
        call["gzip"] = true;
        ForeignAnswer answer = await ForeignClient.CallAsync(Target(server), call, token);
        Assert.That(answer.Code, Is.EqualTo("RESOURCE_EXHAUSTED"), answer.Details);
    }

    [Test, CancelAfter(60_000)]
    public async Task Output_over_the_limit_is_told_with_the_limit(CancellationToken token)
    {
        ContainerRunnerServer server = await ServeAsync(NewRunner(o => o.MaxStdioBytes = 1 << 20), "unix", AbstractName());
        ForeignAnswer answer = await ForeignClient.CallAsync(Target(server), Call(Write(TestImage.Shell("yes"))), token);
        Assert.That((answer.Code, answer.Trailers["xfn-error"], answer.Trailers["xfn-limit-bytes"]), Is.EqualTo(("RESOURCE_EXHAUSTED", "output-limit", "1048576")));
    }
}
