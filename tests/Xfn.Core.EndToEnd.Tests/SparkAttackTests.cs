using Microsoft.Win32.SafeHandles;
using Xfn.Core.EndToEnd.Tests.Support;
using Xfn.Core.Spark;

namespace Xfn.Core.EndToEnd.Tests;

/// <summary>Containers that attack what enters them (Support/peek.c).</summary>
internal sealed class SparkAttackTests : LivingFixture
{
    /// <summary>As in CVE-2016-9962, CVE-2019-5736 and CVE-2024-21626. Multiplied rounds make it long.</summary>
    [Test, CancelAfter(120_000)]
    public async Task A_container_sees_nothing_of_spark_while_processes_are_made_in_it(CancellationToken token)
    {
        token = LongMode.Limit(token);
        await using Living living = await StartAsync(await ImageAsync("/peek; exec sleep 100000", token), token);

        // Another one looks as a process that spark entered; its user is the first one's.
        SparkExec watcher = living.Spark.Exec(["/peek"]);
        SafeFileHandle[] streams = await living.Spark.TakeAsync(await living.Spark.AskAsync<SparkOpened>(watcher.Id, watcher, token), token);
        using var output = new StreamReader(TappedSpark.Open(streams[1], FileAccess.Read));
        Task<string> seen = output.ReadToEndAsync(token);
        for (int tries = LongMode.Rounds(100); tries > 0; tries -= 10)
        {
            foreach ((int code, _, string error) in await Task.WhenAll(Enumerable.Range(0, 10).Select(_ => living.Spark.ExecAsync(["true"], token))))
                Assert.That((code, error), Is.EqualTo((0, "")));
        }

        await living.Spark.ExecAsync(["touch", "/tmp/stop"], token);
        await living.Spark.AnswerAsync<SparkEnded>(watcher.Id, token);
        string said = await seen.WaitAsync(token);
        await TestContext.Out.WriteAsync(said);
        Assert.That(said, Does.StartWith("looked "));
        streams[0].Dispose();
        streams[2].Dispose();
    }

    /// <summary>As in CVE-2019-5736: where one id is mapped, spark's file is the container's user's. Before Linux 5.12
    /// nothing makes its mount read-only.</summary>
    [Test, CancelAfter(60_000)]
    public async Task A_container_cannot_change_sparks_own_file_when_it_is_led_to_execute_that(CancellationToken token)
    {
        if (Environment.OSVersion.Version < new Version(5, 12))
            Assert.Ignore("this kernel has no mount_setattr(2)");
        TestImage image = await ImageAsync("exec sleep 100000", token);
        await using Living living = await StartAsync(image.WithLayer(tar => tar.File("trap", "#!/proc/self/exe\n"u8.ToArray(), (UnixFileMode)0b111_101_101)), token);
        SparkExec watcher = living.Spark.Exec(["/peek", "change"]);
        SafeFileHandle[] streams = await living.Spark.TakeAsync(await living.Spark.AskAsync<SparkOpened>(watcher.Id, watcher, token), token);
        using var output = new StreamReader(TappedSpark.Open(streams[1], FileAccess.Read));
        SparkExec trap = living.Spark.Exec(["/trap"]);
        SafeFileHandle[] trapped = await living.Spark.TakeAsync(await living.Spark.AskAsync<SparkOpened>(trap.Id, trap, token), token);

        // The file of a copy is in memory, and sealed. Where one id is mapped its mode can be widened, to no effect.
        Assert.That(await output.ReadLineAsync(token), Does.Match(Ways.Forks ? "^mode: .*, writing: Text file busy" : "^mode: Read-only file system, writing: "));
        foreach (SafeFileHandle stream in trapped)
            stream.Dispose();
        await living.Spark.AnswerAsync<SparkEnded>(watcher.Id, token);
        streams[0].Dispose();
        streams[2].Dispose();
    }

    [Test, CancelAfter(60_000)]
    public async Task A_container_ends_although_a_process_gave_spark_children_that_it_did_not_make(CancellationToken token)
    {
        await using Living living = await StartAsync(await ImageAsync("exec sleep 1000", token), token);
        for (int i = 0; i < 3; i++)
        {
            SparkExec exec = living.Spark.Exec(["/peek", "sibling"]);
            SafeFileHandle[] streams = await living.Spark.TakeAsync(await living.Spark.AskAsync<SparkOpened>(exec.Id, exec, token), token);
            using var output = new StreamReader(TappedSpark.Open(streams[1], FileAccess.Read));
            Assert.That(await output.ReadLineAsync(token), Is.EqualTo("made"));
            await living.Spark.AnswerAsync<SparkEnded>(exec.Id, token);
            streams[0].Dispose();
            streams[2].Dispose();
        }

        await living.Spark.SendAsync(new SparkSignal(0, Signals.Kill), token);

        Assert.That(async () => await living.Run.WaitAsync(token), Throws.InstanceOf<FunctionFailedException>());
    }

    private async Task<TestImage> ImageAsync(string script, CancellationToken token)
    {
        byte[] peek = await TestProgram.BuildAsync("peek", Scratch, token);
        return TestImage.Shell(script).WithLayer(tar => tar.File("peek", peek, (UnixFileMode)0b111_101_101));
    }
}
