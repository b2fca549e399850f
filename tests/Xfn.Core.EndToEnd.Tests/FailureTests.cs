using Xfn.Core.EndToEnd.Tests.Support;

namespace Xfn.Core.EndToEnd.Tests;

internal sealed class FailureTests : RunnerFixture
{
    [TestCase("echo hello\n")]
    [TestCase("\n#!/bin/sh\necho hello\n")]
    [TestCase("\ufeff#!/bin/sh\necho hello\n")]
    [CancelAfter(60_000)]
    public async Task A_script_that_does_not_say_what_runs_it_is_told(string script, CancellationToken token)
    {
        TestImage image = TestImage.Command("/run.sh").WithLayer(tar => tar.File("run.sh", script, (UnixFileMode)0b111_101_101));
        string reference = Write(image);
        InvalidImageException? e = await Assert.ThrowsAsync<InvalidImageException>(() => NewRunner().RunFunctionAsync(new RunFunctionRequest { Image = reference }, token));
        Assert.That(e!.Message, Does.Contain("a script without '#!'").And.Contain("'/run.sh'"));
    }

    [Test, CancelAfter(60_000)]
    public async Task A_functions_exit_status_output_and_stderr_are_told(CancellationToken token)
    {
        var error = (await Assert.ThrowsAsync<FunctionExitedException>(() => RunShellAsync("echo partial; echo 'first' >&2; echo 'no such colour' >&2; exit 42", token: token)))!;
        Assert.That((error.ExitCode, error.Signal, error.Stage), Is.EqualTo((42, (int?)null, RunStage.Run)));
        Assert.That(error.StderrTail, Is.EqualTo("first\nno such colour\n"));
        Assert.That(Text(error.Output), Is.EqualTo("partial\n"));
        Assert.That(error.Message, Does.Contain("exited with status 42").And.EndWith(": no such colour"));
    }

    // Each layer has one thing that the user 7:8 may not pass; with one id there is that user only who owns all of it,
    // and a mode without any right.
    [TestCase("./", "/app/run", "cannot execute '/app/run': user 7:8 may not pass directory '/' (mode 0700, owner 0:0)")]
    [TestCase("app/", "/app/run", "cannot execute '/app/run': user 7:8 may not pass directory '/app' (mode 0700, owner 0:0)")]
    [TestCase("app/", "run", "cannot execute 'run': user 7:8 may not pass directory '/app' (mode 0700, owner 0:0)")]
    [TestCase("app/", "/link", "cannot execute '/link': user 7:8 may not pass directory '/app' (mode 0700, owner 0:0)")]
    [TestCase("app/run", "/app/run", "cannot execute '/app/run': user 7:8 may not execute '/app/run' (mode 0700, owner 0:0)")]
    [TestCase("opt/", "/app/run", "cannot execute '/app/run': user 7:8 may not pass directory '/opt' (mode 0700, owner 0:0)")]
    [TestCase("opt/sh", "/app/run", "cannot execute '/app/run': user 7:8 may not execute '/opt/sh' (mode 0700, owner 0:0)")]
    [CancelAfter(60_000)]
    public async Task What_a_user_may_not_pass_on_the_way_to_its_program_is_named(string closed, string program, string expected, CancellationToken token)
    {
        if (Ways.Runtime is not null)
            Assert.Ignore("A runtime says in its own words what it could not do.");
        if (Ways.IsPrepared && closed.StartsWith("opt", StringComparison.Ordinal))
            Assert.Ignore("A prepared function is executed without its spark, which would look for the interpreter.");
        UnixFileMode open = (UnixFileMode)0b111_101_101, shut = Ways.HasManyIds ? (UnixFileMode)0b111_000_000 : UnixFileMode.None;
        UnixFileMode ModeOf(string name) => name == closed ? shut : open;
        var image = new TestImage
        {
            Config = new() { Entrypoint = [program], User = Ways.HasManyIds ? "7:8" : "", Env = ["PATH=/nowhere:/app:/bin"] },
        };
        image.WithBusybox().WithLayer(tar =>
        {
            foreach (string directory in (string[])["./", "app/", "opt/"])
                tar.Directory(directory, ModeOf(directory));
            tar.File("app/run", "#! /opt/sh\necho ran\n", ModeOf("app/run")).File("opt/sh", File.ReadAllBytes("/usr/bin/busybox"), ModeOf("opt/sh")).Link("link", "app/run");
        });
        expected = Ways.HasManyIds ? expected : expected.Replace("7:8", "0:0", StringComparison.Ordinal).Replace("0700", "0000", StringComparison.Ordinal);
        string reference = Write(image);
        TestRunner runner = NewRunner();
        await Assert.ThatAsync(() => runner.RunFunctionAsync(new RunFunctionRequest { Image = reference }, token), Throws.InstanceOf<InvalidImageException>()
            .With.Message.EqualTo($"cannot start image '{reference}': {expected}. In the image, let that user pass (chmod a+x), or set another user."));

        // Where one id is mapped the directory is closed to whoever removes the test's files, too.
        await runner.DisposeAsync();
        await NewRunner().PruneAsync(new PruneOptions { MaxBytes = 0 }, token);
    }

    [Test, CancelAfter(60_000)]
    public async Task A_functions_signal_is_told(CancellationToken token)
    {
        TestImage image = TestImage.Fault();
        var error = (await Assert.ThrowsAsync<FunctionExitedException>(() => NewRunner().RunFunctionAsync(new RunFunctionRequest { Image = Write(image) }, token)))!;
        Assert.That((error.ExitCode, error.Signal, error.OutOfMemory), Is.EqualTo((128 + 4, (int?)4, false)));
        Assert.That(error.Message, Does.Contain("signal 4"));
    }

    [Test, CancelAfter(60_000)]
    public async Task A_function_that_ignores_sigterm_ends_at_its_timeout(CancellationToken token)
    {
        FunctionTimedOutException error = await TimeOutShellAsync("trap '' TERM; echo begun >&2; while :; do sleep 1; done", "begun\n", token: token);
        Assert.That(error.StderrTail, Is.EqualTo("begun\n"));
        Assert.That(error.Statistics.Run, Is.GreaterThan(error.Timeout * 0.9));
    }

    [Test, CancelAfter(60_000)]
    public async Task A_function_that_ends_in_good_order_at_its_timeout_may_say_so(CancellationToken token)
    {
        FunctionTimedOutException error = await TimeOutShellAsync(
            "trap 'echo bye >&2; exit 0' TERM; while :; do sleep 0.01; done", "bye\n", o => o.TimeProvider = new PatientTime(), token);
        Assert.That(error.StderrTail, Is.EqualTo("bye\n"));
    }

    [TestCase("yes")]
    [TestCase("yes >&2")]
    [CancelAfter(60_000)]
    public async Task A_flood_of_output_ends_the_function(string script, CancellationToken token)
    {
        var error = (await Assert.ThrowsAsync<OutputLimitExceededException>(() => RunShellAsync(script, configure: o => o.MaxStdioBytes = 1 << 20, token: token)))!;
        Assert.That(error.LimitBytes, Is.EqualTo(1 << 20));
        Assert.That(error.Message, Does.Contain("option MaxStdioBytes"));
    }

    [Test, CancelAfter(60_000)]
    public async Task Output_of_just_the_limit_is_no_error(CancellationToken token) =>
        await Assert.ThatAsync(async () => (await RunShellAsync("head -c 1000 /dev/zero", configure: o => o.MaxStdioBytes = 1000, token: token)).Output.Length, Is.EqualTo(1000));

    [Test, CancelAfter(60_000)]
    public async Task An_entrypoint_that_is_missing_is_told_from_a_failing_function(CancellationToken token)
    {
        var error = (await Assert.ThrowsAsync<InvalidImageException>(
            () => NewRunner().RunFunctionAsync(new RunFunctionRequest { Image = Write(TestImage.Command("/no/such/program", "--flag")) }, token)))!;
        Assert.That(error.Stage, Is.EqualTo(RunStage.Start));
        Assert.That(error.Message, Does.Contain("/no/such/program").And.Contain("entrypoint"));
    }

    [Test, CancelAfter(60_000)]
    public async Task An_entrypoint_that_is_not_executable_is_told(CancellationToken token)
    {
        TestImage image = TestImage.Command("/data").WithLayer(tar => tar.File("data", "no program"));
        var error = (await Assert.ThrowsAsync<InvalidImageException>(() => NewRunner().RunFunctionAsync(new RunFunctionRequest { Image = Write(image) }, token)))!;
        Assert.That((error.Stage, error.Message), Is.EqualTo((RunStage.Start, error.Message)));
        Assert.That(error.Message, Does.Contain("/data").And.Contain("mode"));
    }

    [Test, CancelAfter(60_000)]
    public async Task An_entrypoint_for_another_processor_is_told(CancellationToken token)
    {
        byte[] program = File.ReadAllBytes("/usr/bin/busybox");
        program[18] = TestProcessor.Other.Machine; // e_machine
        TestImage image = TestImage.Command("/foreign").WithLayer(tar => tar.File("foreign", program, (UnixFileMode)0b111_101_101));
        var error = (await Assert.ThrowsAsync<InvalidImageException>(() => NewRunner().RunFunctionAsync(new RunFunctionRequest { Image = Write(image) }, token)))!;
        Assert.That(error.Message, Does.Contain("/foreign").And.Contain("another platform"));
    }

    [Test, CancelAfter(60_000)]
    public async Task An_image_without_a_command_is_told(CancellationToken token) =>
        await Assert.ThatAsync(
            () => NewRunner().RunFunctionAsync(new RunFunctionRequest { Image = Write(new TestImage().WithBusybox()) }, token),
            Throws.InstanceOf<InvalidImageException>().With.Message.Contains("ntrypoint"));

    [Test, CancelAfter(60_000)]
    public async Task A_malformed_reference_is_told(CancellationToken token) =>
        await Assert.ThatAsync(
            () => NewRunner().RunFunctionAsync(new RunFunctionRequest { Image = "Not A Reference" }, token),
            Throws.InstanceOf<InvalidRequestException>().With.Message.Contains("'Not A Reference'"));

    [Test, CancelAfter(60_000)]
    public async Task An_image_that_is_not_there_is_told(CancellationToken token) =>
        await Assert.ThatAsync(
            () => NewRunner().RunFunctionAsync(new RunFunctionRequest { Image = $"oci:{Scratch}/nothing:here" }, token),
            Throws.InstanceOf<ImageNotFoundException>().With.Message.Contains("nothing"));

    [Test, CancelAfter(60_000)]
    public async Task An_image_that_the_cache_lacks_is_told_under_never(CancellationToken token) =>
        await Assert.ThatAsync(
            () => NewRunner().RunFunctionAsync(
                new RunFunctionRequest { Image = "registry.invalid/fn:v1", ImagePullConfig = new() { PullPolicy = ImagePullPolicy.Never } }, token),
            Throws.InstanceOf<ImageNotFoundException>().With.Message.Contains("Never"));

    [Test, CancelAfter(60_000)]
    public async Task A_damaged_layer_is_refused_and_a_good_one_taken_later(CancellationToken token)
    {
        string reference = Write(TestImage.Command("cat"));
        string layer = new DirectoryInfo(Path.Combine(Scratch, "image", "blobs", "sha256")).GetFiles().MaxBy(f => f.Length)!.FullName;
        byte[] good = File.ReadAllBytes(layer);
        byte[] bad = [.. good];
        bad[bad.Length / 2] ^= 1;
        File.WriteAllBytes(layer, bad);

        TestRunner runner = NewRunner();
        var error = (await Assert.ThrowsAsync<InvalidImageException>(() => runner.RunFunctionAsync(new RunFunctionRequest { Image = reference }, token)))!;
        Assert.That(error.Message, Does.Contain("its digest is sha256:").And.Contain($"expected sha256:{Path.GetFileName(layer)}"));
        File.WriteAllBytes(layer, good);
        Assert.That(Text((await runner.RunFunctionAsync(new RunFunctionRequest { Image = reference, Input = "x"u8.ToArray() }, token)).Output), Is.EqualTo("x"));
    }

    [Test, CancelAfter(60_000)]
    public async Task A_layer_that_claims_anothers_diffid_is_refused_and_poisons_nothing(CancellationToken token)
    {
        var good = new LayerTar().File("greeting", "good\n").ToArray();
        var evil = new LayerTar().File("greeting", "evil\n").ToArray();
        string evilImage = TestImage.Shell("cat /greeting").WithBlob(evil, Digest.Compute(good), MediaTypes.OciLayer).WriteTo(Path.Combine(Scratch, "evil"));
        string goodImage = TestImage.Shell("cat /greeting").WithBlob(good, Digest.Compute(good), MediaTypes.OciLayer).WriteTo(Path.Combine(Scratch, "good"));
        TestRunner runner = NewRunner();
        await Assert.ThatAsync(() => runner.RunFunctionAsync(new RunFunctionRequest { Image = evilImage }, token), Throws.InstanceOf<InvalidImageException>().With.Message.Contains("DiffID"));
        Assert.That(Text((await runner.RunFunctionAsync(new RunFunctionRequest { Image = goodImage }, token)).Output), Is.EqualTo("good\n"));
    }

    [Test, CancelAfter(60_000)]
    public async Task A_missing_runtime_is_told(CancellationToken token)
    {
        Ways.SkipPrepared("only xfn-spark prepares containers");
        await Assert.ThatAsync(
            () => RunShellAsync("true", configure: o => o.WithRuntime("no-such-runtime"), token: token),
            Throws.InstanceOf<ContainerEnvironmentException>().With.Message.Contains("'no-such-runtime'").And.Message.Contains("apt-get install crun"));
    }

    [Test, CancelAfter(60_000)]
    public async Task A_runtime_that_is_no_program_is_told(CancellationToken token)
    {
        Ways.SkipPrepared("only xfn-spark prepares containers");
        string runtime = Path.Combine(Scratch, "runtime");
        File.WriteAllText(runtime, "not a program");
        File.SetUnixFileMode(Scratch, (UnixFileMode)0b111_101_101);
        File.SetUnixFileMode(runtime, (UnixFileMode)0b111_101_101);
        await Assert.ThatAsync(
            () => RunShellAsync("true", configure: o => o.WithRuntime(runtime), token: token),
            Throws.InstanceOf<ContainerEnvironmentException>().With.Message.Contains(runtime).And.Message.Contains("option Runtime"));
    }

    [Test, CancelAfter(60_000)]
    public async Task A_missing_spark_is_told(CancellationToken token) =>
        await Assert.ThatAsync(
            () => RunShellAsync("true", configure: o => o.SparkPath = "/no/such/spark", token: token),
            Throws.InstanceOf<ContainerEnvironmentException>().With.Message.Contains("/no/such/spark").And.Message.Contains("option SparkPath"));

    [Test, CancelAfter(60_000)]
    public async Task A_spark_that_is_no_program_is_told(CancellationToken token)
    {
        string spark = Path.Combine(Scratch, "spark");
        File.WriteAllText(spark, "not a program");
        await Assert.ThatAsync(
            () => RunShellAsync("true", configure: o => o.SparkPath = spark, token: token),
            Throws.InstanceOf<ContainerEnvironmentException>().With.Message.Contains("xfn-spark"));
    }

    [Test, CancelAfter(60_000)]
    public async Task A_run_that_is_cancelled_before_it_begins_does_not_begin(CancellationToken token)
    {
        using var source = CancellationTokenSource.CreateLinkedTokenSource(token);
        await source.CancelAsync();
        await Assert.ThatAsync(() => NewRunner().RunFunctionAsync(new RunFunctionRequest { Image = "registry.invalid/fn" }, source.Token), Throws.InstanceOf<OperationCanceledException>());
    }

    [Test, CancelAfter(60_000)]
    public async Task A_run_that_is_cancelled_ends_at_once(CancellationToken token)
    {
        using var source = CancellationTokenSource.CreateLinkedTokenSource(token);
        source.CancelAfter(TimeSpan.FromSeconds(1));
        var error = (await Assert.CatchAsync<OperationCanceledException>(() => NewRunner().RunFunctionAsync(
            new RunFunctionRequest { Image = Write(TestImage.Shell("trap '' TERM; sleep 1000")), RunFunctionConfig = new() { Timeout = TimeSpan.FromMinutes(10) } }, source.Token)))!;
        Assert.That(error.CancellationToken, Is.EqualTo(source.Token));
    }

    [Test, CancelAfter(60_000)]
    public async Task A_pull_that_is_cancelled_leaves_nothing_and_can_be_begun_again(CancellationToken token)
    {
        string reference = Write(TestImage.Command("cat"));
        using var source = CancellationTokenSource.CreateLinkedTokenSource(token);
        TestRunner stuck = NewRunner(o => o.ImageFetcher = new StuckFetcher(stuckAfter: 100_000, onStuck: source.Cancel));
        await Assert.ThatAsync(() => stuck.RunFunctionAsync(new RunFunctionRequest { Image = reference }, source.Token), Throws.InstanceOf<OperationCanceledException>());
        Assert.That(Directory.GetFileSystemEntries(Directory.GetDirectories(Path.Combine(Cache, "incoming")).Single()), Is.Empty);
        Assert.That(Text((await NewRunner().RunFunctionAsync(new RunFunctionRequest { Image = reference, Input = "x"u8.ToArray() }, token)).Output), Is.EqualTo("x"));
    }

    [TestCase(0)]
    [TestCase(-1)]
    [CancelAfter(60_000)]
    public async Task A_timeout_that_is_none_is_refused(int seconds, CancellationToken token) =>
        await Assert.ThatAsync(
            () => NewRunner().RunFunctionAsync(new RunFunctionRequest { Image = "x", RunFunctionConfig = new() { Timeout = TimeSpan.FromSeconds(seconds) } }, token),
            Throws.InstanceOf<InvalidRequestException>());

    [Test]
    public void A_cache_directory_that_others_may_write_is_refused()
    {
        Directory.CreateDirectory(Cache);
        File.SetUnixFileMode(Cache, (UnixFileMode)0b111_111_111);
        Assert.That(() => new ContainerRunner(o => o.WithCacheDir(Cache)), Throws.InstanceOf<ContainerEnvironmentException>().With.Message.Contains(Cache));
    }
}
