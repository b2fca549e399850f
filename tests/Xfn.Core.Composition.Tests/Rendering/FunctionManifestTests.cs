using Xfn.Core.Composition.Rendering;

namespace Xfn.Core.Composition.Tests.Rendering;

/// <summary>What annotations say of how a function is run.</summary>
internal sealed class FunctionManifestTests
{
    private static readonly Dictionary<string, string> None = [];

    [Test]
    public void A_function_is_run_from_its_package_unless_an_annotation_says_otherwise()
    {
        FunctionManifest plain = Read("spec: {package: 'example.org/f:v1'}");
        Assert.That((plain.Runtime, plain.Image, plain.PullPolicy, plain.Environment.Count, plain.Notes.Count), Is.EqualTo((FunctionRuntime.Container, "example.org/f:v1", ImagePullPolicy.IfNotPresent, 0, 0)));
        FunctionManifest annotated = Read("spec: {package: 'example.org/f:v1'}", "runtime-docker-image: other:v2, render.crossplane.io/runtime-docker-pull-policy: Always, render.crossplane.io/runtime-docker-env: 'A=1,B=x=y,C='");
        Assert.That((annotated.Image, annotated.PullPolicy), Is.EqualTo(("other:v2", ImagePullPolicy.Always)));
        Assert.That(annotated.Environment, Is.EqualTo(new Dictionary<string, string> { ["A"] = "1", ["B"] = "x=y", ["C"] = "" }));
    }

    [Test]
    public void A_development_function_is_at_its_target()
    {
        Assert.That(Read("spec: {}", "runtime: Development"), Has.Property("Runtime").EqualTo(FunctionRuntime.Development).And.Property("Target").EqualTo("localhost:9443"));
        Assert.That(Read("spec: {}", "runtime: Development, render.crossplane.io/runtime-development-target: '127.0.0.1:1'").Target, Is.EqualTo("127.0.0.1:1"));
    }

    [TestCase("runtime-docker-name: x")]
    [TestCase("runtime-docker-cleanup: Orphan")]
    [TestCase("runtime-docker-publish-address: 0.0.0.0")]
    [TestCase("runtime-docker-target: host")]
    [TestCase("runtime-docker-network: host")]
    public void What_only_Docker_has_is_accepted_and_told(string annotation) =>
        Assert.That(Read("spec: {package: f}", annotation).Notes.Single(), Does.StartWith($"annotation 'render.crossplane.io/{annotation.Split(':')[0]}' of function 'f' has no effect: "));

    [TestCase("spec: {}", "", "it has no image")]
    [TestCase("spec: {package: f}", "runtime: Podman", "expected Docker, Development or InProcess, got 'Podman'")]
    [TestCase("spec: {package: f}", "runtime-docker-pull-policy: Sometimes", "expected IfNotPresent, Always or Never")]
    [TestCase("spec: {package: f}", "runtime-docker-env: 'A=1,B'", "expected NAME=VALUE with commas between, got 'B'")]
    public void What_cannot_be_used_is_told(string rest, string annotation, string told) => Assert.That(() => Read(rest, annotation), Throws.TypeOf<RenderException>().With.Message.Contains(told));

    [Test]
    public void Other_objects_and_a_function_that_is_there_twice_are_refused()
    {
        Assert.That(() => FunctionManifest.Read(CompositionObjects.Parse("{apiVersion: v1, kind: Secret, metadata: {name: s}}"), None), Throws.TypeOf<RenderException>().With.Message.Contains("expected kind Function"));
        Assert.That(() => FunctionManifest.Read([.. Function("spec: {package: f}"), .. Function("spec: {package: f}")], None), Throws.TypeOf<RenderException>().With.Message.Contains("it is there twice"));
    }

    [Test]
    public void An_annotation_for_all_wins() =>
        Assert.That(FunctionManifest.Read(Function("spec: {package: f}", "runtime: Docker"), new Dictionary<string, string> { ["render.crossplane.io/runtime"] = "Development" })[0].Runtime, Is.EqualTo(FunctionRuntime.Development));

    private static FunctionManifest Read(string rest, string annotation = "") => FunctionManifest.Read(Function(rest, annotation), None)[0];

    private static IReadOnlyList<Google.Protobuf.WellKnownTypes.Struct> Function(string rest, string annotation = "") =>
        CompositionObjects.Parse($"apiVersion: pkg.crossplane.io/v1\nkind: Function\nmetadata: {{name: f, annotations: {{{(annotation.Length > 0 ? $"render.crossplane.io/{annotation}" : "")}}}}}\n{rest}");
}
