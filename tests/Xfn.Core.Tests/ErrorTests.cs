namespace Xfn.Core.Tests;

/// <summary>Errors that an extender makes.</summary>
public class ErrorTests
{
    [Test]
    public void An_error_without_a_stage_has_that_of_those_who_throw_it() => Assert.That(
        ((XfnException[])[new XfnException("x"), new InvalidImageException("x"), new ContainerEnvironmentException("x")]).Select(e => e.Stage),
        Is.EqualTo((RunStage[])[RunStage.Pull, RunStage.Bundle, RunStage.Spawn]));

    [Test]
    public void What_may_be_tried_again_is_transient() => Assert.That(
        ((XfnException[])
        [
            new RunnerBusyException("x"), new ServerUnavailableException(false, "x"), new XfnException("x") { IsTransient = true },
            new ServerUnavailableException(true, "x"), new XfnException("x"), new FunctionTimedOutException("x"), new ImageNotFoundException("x"),
        ]).Select(e => e.IsTransient),
        Is.EqualTo((bool[])[true, true, true, false, false, false, false]));
}
