namespace Xfn.Core.EndToEnd.Tests;

internal sealed class ProcessLimitTests : RunnerFixture
{
    private const string Forks = "i=0; while [ $i -lt 60 ]; do sleep 100 & i=$((i+1)); echo $i; done";

    [Test, CancelAfter(60_000)]
    public async Task A_function_gets_no_more_processes_than_it_may(CancellationToken token)
    {
        var error = (await Assert.ThrowsAsync<FunctionExitedException>(() => RunShellAsync(Forks, configure: o => o.Bundle.ProcessLimit = 40, token: token)))!;
        Assert.That(error.StderrTail, Does.Contain("can't fork"));
        Assert.That(Text(error.Output).Split('\n'), Has.Length.InRange(20, 41));
    }

    [Test, CancelAfter(60_000)]
    public async Task A_function_gets_as_many_processes_as_it_may(CancellationToken token) =>
        Assert.That(Text((await RunShellAsync(Forks, configure: o => o.Bundle.ProcessLimit = 100, token: token)).Output), Does.EndWith("\n60\n"));

    [Test, CancelAfter(60_000)]
    public async Task The_least_limit_of_processes_is_enough_for_a_program(CancellationToken token) =>
        Assert.That(Text((await RunShellAsync("echo here | cat", configure: o => o.Bundle.ProcessLimit = 16, token: token)).Output), Is.EqualTo("here\n"));

    [TestCase(0)]
    [TestCase(-1)]
    [TestCase(15)]
    [TestCase(int.MaxValue)]
    public void A_limit_of_processes_that_makes_no_sense_is_refused(int processes) =>
        Assert.That(() => NewRunner(o => o.Bundle.ProcessLimit = processes), Throws.ArgumentException.With.Message.Contains($"ProcessLimit '{processes}'"));

    [Test, CancelAfter(60_000)]
    public async Task A_limit_of_processes_that_nothing_would_enforce_is_an_error_that_says_why(CancellationToken token)
    {
        // What a bundle of one's own sets nobody knows, so that only a cgroup is left, which not every user may make.
        Task<RunFunctionResponse> Run() => RunShellAsync(Forks, configure: o => (o.Bundle.ProcessLimit, o.BundleBuilder) = (40, new RuntimeBundleBuilder()), token: token);
        if (Ways.IsRoot)
            await Assert.ThatAsync(Run, Throws.InstanceOf<FunctionExitedException>());
        else
            await Assert.ThatAsync(Run, Throws.InstanceOf<ContainerEnvironmentException>().With.Message.Contains("processes to '40'").And.Message.Contains("pids").Or.InstanceOf<FunctionExitedException>());
    }
}
