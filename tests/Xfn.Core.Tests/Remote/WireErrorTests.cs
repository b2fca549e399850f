using Grpc.Core;
using Xfn.Core.Remote;

namespace Xfn.Core.Tests.Remote;

public class WireErrorTests
{
    private static readonly XfnException[] Errors =
    [
        new InvalidRequestException("cannot parse image reference 'A B': 'A B' is no repository name."),
        new RunnerBusyException("cannot take another run"),
        new ImageNotFoundException("cannot find image 'x'"),
        new UnauthorizedException("cannot fetch image 'x': 100 % sûr\nnon"),
        new InvalidImageException(RunStage.Pull, "digest"),
        new InvalidImageException(RunStage.Start, "no entrypoint"),
        new ContainerEnvironmentException(RunStage.Spawn, "cannot make a user namespace"),
        new FunctionExitedException("function 'x' exited with status 3.") { ExitCode = 3, StderrTail = "línea\n", Output = new byte[] { 0, 255, 10 }, Statistics = FullStatistics.Value },
        new FunctionExitedException("killed") { ExitCode = 137, Signal = 9, OutOfMemory = true, Statistics = FullStatistics.Value with { CpuTime = null, PeakMemoryBytes = null, FromCache = false } },
        new FunctionTimedOutException("timed out") { Timeout = TimeSpan.FromSeconds(1.0000001), StderrTail = "x", Statistics = FullStatistics.Value },
        new OutputLimitExceededException("too much") { LimitBytes = 100 << 20, StderrTail = "x", Statistics = new() },
        new XfnException(RunStage.Resolve, "cannot reach registry") { IsTransient = true },
        new XfnException(RunStage.Run, "lost"),
    ];

    [TestCaseSource(nameof(Errors))]
    public void Every_error_goes_over_the_wire_and_comes_back_as_it_was(XfnException error)
    {
        RpcException wire = WireErrors.ToRpc(error);
        AssertSame(WireErrors.FromRpc(wire.Status, wire.Trailers), error);
    }

    [Test]
    public void No_type_of_error_is_forgotten()
    {
        // Containers that live are no server's to start.
        IEnumerable<Type> types = typeof(XfnException).Assembly.GetTypes()
            .Where(t => t.IsAssignableTo(typeof(XfnException)) && !t.IsAssignableTo(typeof(ContainerException)) && !t.IsAbstract);
        Assert.That(Errors.Select(e => e.GetType()).Distinct(), Is.EquivalentTo(types));
    }

    [TestCase(typeof(InvalidRequestException), StatusCode.InvalidArgument)]
    [TestCase(typeof(RunnerBusyException), StatusCode.ResourceExhausted)]
    [TestCase(typeof(ImageNotFoundException), StatusCode.NotFound)]
    [TestCase(typeof(UnauthorizedException), StatusCode.Unauthenticated)]
    [TestCase(typeof(InvalidImageException), StatusCode.DataLoss)]
    [TestCase(typeof(ContainerEnvironmentException), StatusCode.FailedPrecondition)]
    [TestCase(typeof(FunctionExitedException), StatusCode.Aborted)]
    [TestCase(typeof(FunctionTimedOutException), StatusCode.DeadlineExceeded)]
    [TestCase(typeof(OutputLimitExceededException), StatusCode.ResourceExhausted)]
    [TestCase(typeof(XfnException), StatusCode.Unavailable)]
    public void An_error_has_the_status_that_fits(Type type, StatusCode code) =>
        Assert.That(WireErrors.ToRpc(Errors.First(e => e.GetType() == type)).StatusCode, Is.EqualTo(code));

    [Test]
    public void Only_what_failed_before_a_function_was_started_may_be_tried_again()
    {
        IEnumerable<RunStage> unavailable = Enum.GetValues<RunStage>().Where(s => WireErrors.ToRpc(new XfnException(s, "x")).StatusCode == StatusCode.Unavailable);
        Assert.That(unavailable, Is.EqualTo((RunStage[])[RunStage.Queue, RunStage.Resolve, RunStage.Pull, RunStage.Unpack, RunStage.Bundle, RunStage.Spawn]));
    }

    [TestCase(0)]
    [TestCase(100)]
    [TestCase(2000)]
    [TestCase(200_000)]
    public void Trailers_stay_within_what_the_client_takes(int outputBytes)
    {
        foreach (int budget in (int[])[WireTrailers.DefaultBytes, 20_000, WireTrailers.MostBytes])
        {
            var error = new FunctionExitedException(string.Concat(Enumerable.Repeat("kânnot 100% ", 5000)))
            {
                ExitCode = 1,
                Output = new byte[outputBytes],
                StderrTail = string.Concat(Enumerable.Repeat("é", RunStatistics.StderrTailBytes)),
                Statistics = FullStatistics.Value,
            };
            RpcException wire = WireErrors.ToRpc(error, budget);
            Assert.That(Size(wire), Is.LessThanOrEqualTo(budget).And.GreaterThan(budget * 9 / 10));
        }
    }

    [Test]
    public void What_is_left_out_is_said()
    {
        var error = new FunctionExitedException(new string('m', 5000)) { ExitCode = 1, Output = new byte[50_000], StderrTail = new string('a', 60_000) + "the end", Statistics = FullStatistics.Value };
        RpcException wire = WireErrors.ToRpc(error);
        var back = (FunctionExitedException)WireErrors.FromRpc(wire.Status, wire.Trailers)!;

        Assert.That(back.Message, Does.StartWith("mmm").And.Contain("… (cut)").And.Contain("50000 bytes"));
        Assert.That(back.Output.IsEmpty);
        Assert.That(back.StderrTail, Does.StartWith("[… ").And.Contain(" bytes before this were left out by the server …]\naaa").And.EndWith("the end"));
        int kept = back.StderrTail.Length - back.StderrTail.IndexOf('\n') - 1;
        Assert.That(back.StderrTail, Does.Contain($"[… {60_007 - kept} bytes"));
    }

    [Test]
    public void A_client_that_takes_more_gets_the_whole_tail_of_stderr()
    {
        var error = new FunctionTimedOutException("x") { Timeout = TimeSpan.FromSeconds(1), StderrTail = new string('a', RunStatistics.StderrTailBytes), Statistics = FullStatistics.Value };
        RpcException wire = WireErrors.ToRpc(error, WireTrailers.BudgetOf(new Metadata { { WireTrailers.AcceptedBytes, $"{WireTrailers.MostBytes}" } }));
        AssertSame(WireErrors.FromRpc(wire.Status, wire.Trailers), error);
    }

    [TestCase(null, WireTrailers.DefaultBytes)]
    [TestCase("0", WireTrailers.DefaultBytes)]
    [TestCase("-1", WireTrailers.DefaultBytes)]
    [TestCase("many", WireTrailers.DefaultBytes)]
    [TestCase("20000", 20000)]
    [TestCase("2000000000", WireTrailers.MostBytes)]
    public void A_client_may_ask_for_more_trailers_within_bounds(string? asked, int budget) =>
        Assert.That(WireTrailers.BudgetOf(asked is null ? [] : new Metadata { { WireTrailers.AcceptedBytes, asked } }), Is.EqualTo(budget));

    [Test]
    public void A_response_comes_back_as_it_was()
    {
        var response = new RunFunctionResponse { Output = new byte[] { 1, 0, 2 }, StderrTail = "said\n", Statistics = FullStatistics.Value };
        RunFunctionResponse back = WireMessages.FromMessage(WireMessages.ToMessage(response), WireTrailers.Of(response));
        Assert.That(back with { Output = default }, Is.EqualTo(response with { Output = default }));
        Assert.That(back.Output.ToArray(), Is.EqualTo(response.Output.ToArray()));
    }

    [Test]
    public void A_server_of_another_make_tells_nothing_but_a_status()
    {
        Assert.That(WireErrors.FromRpc(new Status(StatusCode.Unknown, "exit status 3"), []), Is.Null);
        RunFunctionResponse response = WireMessages.FromMessage(new Xfn.Core.Remote.Protocol.RunFunctionResponse(), []);
        Assert.That(response, Is.EqualTo(new RunFunctionResponse { Output = response.Output }));
    }

    [Test]
    public void Trailers_that_make_no_sense_are_as_if_they_were_not_there()
    {
        var trailers = new Metadata
        {
            { WireErrors.Error, "exited" }, { "xfn-stage", "afterwards" }, { "xfn-exit-code", "three" }, { "xfn-times", "run=-1, pull=1e9, =, total=99999999999999999999" }, { "xfn-image-digest", "md5:1" },
        };
        var error = (FunctionExitedException)WireErrors.FromRpc(new Status(StatusCode.Aborted, "x"), trailers)!;
        Assert.That(error.Statistics, Is.EqualTo(new RunStatistics()));
        Assert.That(error.ExitCode, Is.Zero);
    }

    private static void AssertSame(XfnException? found, XfnException expected)
    {
        Assert.That(found, Is.TypeOf(expected.GetType()));
        foreach (System.Reflection.PropertyInfo property in expected.GetType().GetProperties().Where(p => p.DeclaringType!.IsAssignableTo(typeof(XfnException)) || p.Name == nameof(Exception.Message)))
        {
            object? Value(XfnException e) => property.GetValue(e) is ReadOnlyMemory<byte> bytes ? bytes.ToArray() : property.GetValue(e);
            Assert.That(Value(found!), Is.EqualTo(Value(expected)), property.Name);
        }
    }

    private static int Size(RpcException wire) =>
        "grpc-message".Length + 32 + Uri.EscapeDataString(wire.Status.Detail).Replace("%20", " ").Length
        + wire.Trailers.Sum(e => e.Key.Length + 32 + (e.IsBinary ? Convert.ToBase64String(e.ValueBytes).Length : e.Value.Length));
}
