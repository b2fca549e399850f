using System.Net;
using System.Net.Sockets;
using Microsoft.Win32.SafeHandles;
using Xfn.Core.EndToEnd.Tests.Support;
using Xfn.Core.Spark;

namespace Xfn.Core.EndToEnd.Tests;

/// <summary>What a spark does in a container that lives, by its messages.</summary>
internal sealed class SparkRequestTests : LivingFixture
{
    private const int IPv4 = 2;

    /// <summary>What a process's walls are made of.</summary>
    private const string Walls = """
        cd /proc/$1
        grep -E '^(Uid|Gid|Groups|Cap.*|NoNewPrivs|Seccomp|Seccomp_filters|Speculation.*|Umask|SigBlk):' status
        cat limits oom_score_adj coredump_filter setgroups cgroup uid_map
        cut -d' ' -f7,18,19,40,41 stat
        for kind in ipc mnt net pid uts cgroup user; do readlink ns/$kind; done
        """;

    [Test, CancelAfter(60_000)]
    public async Task A_further_process_has_the_walls_of_the_first(CancellationToken token)
    {
        await using Living living = await StartAsync("exec sleep 100", token);

        (int ExitCode, string Output, string Error) first = await living.Spark.ExecAsync(["sh", "-c", Walls, "-", "1"], token);
        (int ExitCode, string Output, string Error) further = await living.Spark.ExecAsync(["sh", "-c", Walls.Replace("$1", "$$")], token);

        Assert.That(first.Error, Is.Empty);
        Assert.That(further, Is.EqualTo(first));
        Assert.That(first.Output, Does.Contain("Seccomp:\t2").And.Contain("NoNewPrivs:\t1").And.Contain("CapBnd:\t0000000000000000"));
    }

    [Test, CancelAfter(60_000)]
    public async Task A_further_process_has_its_streams_environment_and_status_and_no_descriptor_more(CancellationToken token)
    {
        await using Living living = await StartAsync("exec sleep 100", token);

        (int code, string output, string error) = await living.Spark.ExecAsync(["sh", "-c", "cat; echo $A >&2; ls /proc/$$/fd; exit 7"], token, input: "in\n");

        Assert.That((code, output, error), Is.EqualTo((7, "in\n0\n1\n2\n", "b\n")));
    }

    [Test, CancelAfter(60_000)]
    public async Task Another_user_of_the_container_owns_its_streams(CancellationToken token)
    {
        if (!Ways.HasManyIds)
            Assert.Ignore("only one id is mapped here: there is no other user");
        await using Living living = await StartAsync("exec sleep 100", token);

        (_, string output, string error) = await living.Spark.ExecAsync(["sh", "-c", "id -u; id -g; cat /dev/stdin; echo out >/dev/stdout"], token, input: "in\n", uid: 1000);

        Assert.That((output, error), Is.EqualTo(("1000\n1000\nin\nout\n", "")));
    }

    [Test, CancelAfter(60_000)]
    public async Task What_cannot_be_executed_is_refused_and_the_container_goes_on(CancellationToken token)
    {
        await using Living living = await StartAsync("exec sleep 100", token);
        SparkExec missing = living.Spark.Exec(["no-such-program"]), directory = living.Spark.Exec(["/bin"]), nowhere = living.Spark.Exec(["true"]) with { WorkingDirectory = "/nowhere" };

        var refused = await living.Spark.AskAsync<SparkRefused>(missing.Id, missing, token);
        Assert.That(refused.Failure.Kind, Is.EqualTo(SparkFailureKind.Entrypoint));
        Assert.That(refused.Failure.Message, Does.Contain("there is no executable file 'no-such-program' in its PATH"));
        refused = await living.Spark.AskAsync<SparkRefused>(directory.Id, directory, token);
        Assert.That(refused.Failure.Message, Does.Contain("'/bin' cannot be executed"));
        refused = await living.Spark.AskAsync<SparkRefused>(nowhere.Id, nowhere, token);
        Assert.That(refused.Failure.Message, Does.Contain("cannot enter its working directory '/nowhere'"));
        Assert.That(await living.Spark.ExecAsync(["echo", "alive"], token), Is.EqualTo((0, "alive\n", "")));
    }

    [Test, CancelAfter(60_000)]
    public async Task Many_processes_run_at_once_and_signals_reach_the_right_one(CancellationToken token)
    {
        await using Living living = await StartAsync("exec sleep 100", token);
        SparkExec[] all = [.. Enumerable.Range(0, 20).Select(_ => living.Spark.Exec(["sleep", "100"]))];
        foreach (SparkExec exec in all)
            await living.Spark.SendAsync(exec, token);
        foreach (SparkExec exec in all)
        {
            foreach (SafeFileHandle stream in await living.Spark.TakeAsync(await living.Spark.AnswerAsync<SparkOpened>(exec.Id, token), token))
                stream.Dispose();
        }

        await living.Spark.SendAsync(new SparkSignal(all[7].Id, Signals.Terminate), token);
        SparkEnded ended = await living.Spark.AnswerAsync<SparkEnded>(all[7].Id, token);
        Assert.That((ended.Signal, ended.ExitCode), Is.EqualTo((Signals.Terminate, 128 + Signals.Terminate)));

        // The others end with the container, and are told to have ended before it is.
        await living.Spark.SendAsync(new SparkSignal(0, Signals.Kill), token);
        foreach (SparkExec exec in all.Where(exec => exec != all[7]))
            Assert.That((await living.Spark.AnswerAsync<SparkEnded>(exec.Id, token)).Signal, Is.EqualTo(Signals.Kill));
        Assert.That(async () => await living.Run.WaitAsync(token), Throws.InstanceOf<FunctionFailedException>());
    }

    [Test, CancelAfter(60_000)]
    public async Task A_socket_made_inside_connects_to_a_server(CancellationToken token)
    {
        await using Living living = await StartAsync("while :; do echo hello | busybox nc -l -p 8080; done", token);
        string answer = "";
        while (answer.Length == 0)
        {
            using Socket socket = await MakeSocketAsync(living.Spark, new SparkMakeSocket(living.Spark.NextId(), IPv4, default, 0, 0), token);
            try
            {
                await socket.ConnectAsync(IPAddress.Loopback, 8080, token);
                using var reader = new StreamReader(new NetworkStream(socket));
                answer = await reader.ReadToEndAsync(token);
            }
            catch (SocketException ex) when (ex.SocketErrorCode is SocketError.ConnectionRefused or SocketError.ConnectionReset)
            {
                await Task.Delay(10, token); // It does not listen yet.
            }
        }

        Assert.That(answer, Is.EqualTo("hello\n"));
    }

    [Test, CancelAfter(60_000)]
    public async Task A_listener_made_inside_takes_what_the_container_connects_to(CancellationToken token)
    {
        await using Living living = await StartAsync("exec sleep 100", token);
        var request = new SparkMakeSocket(living.Spark.NextId(), IPv4, new byte[] { 127, 0, 0, 2 }, 443, 16);
        using Socket listener = await MakeSocketAsync(living.Spark, request, token);

        Task<(int ExitCode, string Output, string Error)> client = living.Spark.ExecAsync(["busybox", "nc", "127.0.0.2", "443"], token, input: "question");
        using Socket accepted = await listener.AcceptAsync(token);
        await accepted.SendAsync("answer"u8.ToArray(), token);
        accepted.Shutdown(SocketShutdown.Send);
        Assert.That((await client).Output, Is.EqualTo("answer"));

        var again = request with { Id = living.Spark.NextId() };
        var refused = await living.Spark.AskAsync<SparkRefused>(again.Id, again, token);
        Assert.That(refused.Failure.Message, Does.Contain("cannot listen on port 443 in the container"));
    }

    [Test, CancelAfter(60_000)]
    public async Task Many_sockets_are_made_inside_at_once(CancellationToken token)
    {
        await using Living living = await StartAsync("exec sleep 100", token);
        var request = new SparkMakeSocket(living.Spark.NextId(), IPv4, default, 0, 0, SparkMakeSocket.MostSockets);
        SafeFileHandle[] taken = await living.Spark.TakeAsync(await living.Spark.AskAsync<SparkOpened>(request.Id, request, token), token);
        Assert.That(taken, Has.Length.EqualTo(SparkMakeSocket.MostSockets));
        foreach (SafeFileHandle socket in taken)
            socket.Dispose();

        foreach (SparkMakeSocket bad in (SparkMakeSocket[])[request with { Count = 0 }, request with { Count = SparkMakeSocket.MostSockets + 1 }, request with { Address = new byte[4], Backlog = 1, Count = 2 }])
        {
            SparkMakeSocket asked = bad with { Id = living.Spark.NextId() };
            var refused = await living.Spark.AskAsync<SparkRefused>(asked.Id, asked, token);
            Assert.That(refused.Failure.Message, Does.Contain($"cannot make {bad.Count} sockets at once"));
        }
    }

    [Test, CancelAfter(60_000)]
    public async Task Descriptors_can_be_sent_where_they_may_not_be_taken(CancellationToken token)
    {
        await using Living living = await StartAsync("exec sleep 100", token);
        SparkExec exec = living.Spark.Exec(["echo", "sent"]);
        SparkOpened opened = await living.Spark.AskAsync<SparkOpened>(exec.Id, exec, token);
        string name = $"xfn-test-{Guid.NewGuid():N}";
        using var listener = new Socket(AddressFamily.Unix, SocketType.Stream, ProtocolType.Unspecified);
        listener.Bind(new UnixDomainSocketEndPoint($"\0{name}"));
        listener.Listen(1);
        int id = living.Spark.NextId();

        await living.Spark.AskAsync<SparkDone>(id, new SparkHandOver(id, name, [living.Spark.Container, .. opened.Descriptors]), token);
        using Socket connection = await listener.AcceptAsync(token);
        SafeFileHandle[] received = ReceivedDescriptors.From(connection);
        await living.Spark.SendAsync(new SparkClose(opened.Descriptors), token);

        Assert.That(received, Has.Length.EqualTo(4));
        using var output = new StreamReader(TappedSpark.Open(received[2], FileAccess.Read));
        Assert.That(await output.ReadToEndAsync(token), Is.EqualTo("sent\n"));
        Assert.That(File.ReadAllText($"/proc/self/fdinfo/{received[0].DangerousGetHandle()}"), Does.Contain("Pid:"));
        foreach (SafeFileHandle handle in received)
            handle.Dispose();
        int foreign = living.Spark.NextId();
        await living.Spark.AskAsync<SparkRefused>(foreign, new SparkHandOver(foreign, name, [0]), token);
    }

    [TestCase(false, false)]
    [TestCase(true, false)]
    [TestCase(false, true)]
    [TestCase(true, true)]
    [CancelAfter(60_000)]
    public async Task A_line_of_hosts_is_seen_at_once_in_every_kind_of_root(bool hasOwn, bool writable, CancellationToken token)
    {
        TestImage image = TestImage.Shell("exec sleep 100");
        if (hasOwn)
            image.WithLayer(tar => tar.File("etc/hosts", "192.0.2.1 of-the-image\n"));
        await using Living living = await StartAsync(image, token, o => o.Bundle.WritableRootBytes = writable ? 64 << 20 : 0);
        (_, string before, _) = await living.Spark.ExecAsync(["cat", "/etc/hosts"], token);
        int first = living.Spark.NextId(), second = living.Spark.NextId(), bad = living.Spark.NextId();

        await living.Spark.AskAsync<SparkDone>(first, new SparkAddHosts(first, "127.0.0.2 db"), token);
        await living.Spark.AskAsync<SparkDone>(second, new SparkAddHosts(second, "127.0.0.3 cache"), token);
        var refused = await living.Spark.AskAsync<SparkRefused>(bad, new SparkAddHosts(bad, "127.0.0.3 a\n127.0.0.4 b"), token);

        Assert.That((await living.Spark.ExecAsync(["cat", "/etc/hosts"], token)).Output, Is.EqualTo($"{before}127.0.0.2 db\n127.0.0.3 cache\n"));
        Assert.That(before.Contains("of-the-image", StringComparison.Ordinal), Is.EqualTo(hasOwn));
        Assert.That(refused.Failure.Message, Does.Contain("it has one line"));
    }

    [Test, Category(Ways.InOne), CancelAfter(60_000)]
    public async Task Nothing_is_done_in_a_container_that_a_runtime_made(CancellationToken token)
    {
        Ways.SkipPrepared("a runtime prepares no container");
        await using Living living = await StartAsync(TestImage.Shell("exec sleep 100"), token, o => o.Runtime = "crun", isOurs: false);
        var socket = new SparkMakeSocket(living.Spark.NextId(), IPv4, default, 0, 0);
        SparkExec exec = living.Spark.Exec(["true"]);

        var refused = await living.Spark.AskAsync<SparkRefused>(socket.Id, socket, token);
        Assert.That(refused.Failure.Message, Does.Contain("a container that an OCI runtime made"));
        await living.Spark.AskAsync<SparkRefused>(exec.Id, exec, token);
        await living.Spark.SendAsync(new SparkSignal(0, Signals.Kill), token);

        // The runtime may not have executed the program yet.
        Assert.That(async () => await living.Run.WaitAsync(token), Throws.InstanceOf<XfnException>());
    }

    private static async Task<Socket> MakeSocketAsync(TappedSpark spark, SparkMakeSocket request, CancellationToken token)
    {
        SafeFileHandle[] taken = await spark.TakeAsync(await spark.AskAsync<SparkOpened>(request.Id, request, token), token);
        nint number = taken.Single().DangerousGetHandle();
        taken[0].SetHandleAsInvalid();
        return new Socket(new SafeSocketHandle(number, ownsHandle: true));
    }
}
