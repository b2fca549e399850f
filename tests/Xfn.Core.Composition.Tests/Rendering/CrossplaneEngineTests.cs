using Google.Protobuf;
using Google.Protobuf.WellKnownTypes;
using Xfn.Core.Composition.Rendering.Engine;

namespace Xfn.Core.Composition.Tests.Rendering;

/// <summary>Crossplane's engine protocol, with a program in its place: Crossplane itself was not tried.</summary>
[CancelAfter(60_000)]
internal sealed class CrossplaneEngineTests
{
    private static readonly Struct Xr = InlineFunction.Object("{apiVersion: example.org/v1, kind: App, metadata: {name: shop}}");

    private static readonly Struct Apps = InlineFunction.Object(
        "{apiVersion: apiextensions.crossplane.io/v1, kind: Composition, metadata: {name: apps}, spec: {compositeTypeRef: {apiVersion: example.org/v1, kind: App}, pipeline: [{step: s, functionRef: {name: f}}]}}");

    private static readonly Struct Function = InlineFunction.Object(
        "{apiVersion: pkg.crossplane.io/v1, kind: Function, metadata: {name: f, annotations: {render.crossplane.io/runtime: Development, render.crossplane.io/runtime-development-target: 'localhost:1234'}}}");

    private TemporaryDirectory _directory = null!;

    [SetUp]
    public void MakeDirectory() => _directory = new();

    [TearDown]
    public void RemoveDirectory() => _directory.Dispose();

    [Test]
    public async Task It_is_asked_by_one_message_and_its_answer_is_printed_as_ours(CancellationToken token)
    {
        Answer(InlineFunction.Object("{apiVersion: example.org/v1, kind: App, metadata: {name: shop}, status: {conditions: [{type: Ready, lastTransitionTime: '2026-11-11T00:00:00Z'}]}}"));
        RenderResult result = await RenderAsync(status: 0, new() { ObservedResources = [InlineFunction.Object("{apiVersion: v1, kind: A}")], RequiredResources = [InlineFunction.Object("{apiVersion: v1, kind: B}")] }, token);
        Assert.That(result.ToString(), Is.EqualTo("""
            ---
            apiVersion: example.org/v1
            kind: App
            metadata:
              name: shop
            status:
              conditions:
              - lastTransitionTime: "2024-01-01T00:00:00Z"
                type: Ready
            ---
            apiVersion: v1
            kind: A
            metadata:
              annotations:
                crossplane.io/composition-resource-name: a
            ---
            apiVersion: v1
            kind: B
            metadata:
              annotations:
                crossplane.io/composition-resource-name: b
            ---
            apiVersion: render.crossplane.io/v1beta1
            kind: Result
            message: m
            reason: r
            severity: Normal

            """));
        CompositeInput asked = RenderRequest.Parser.ParseFrom(await File.ReadAllBytesAsync(_directory["request"], token)).Composite;
        Assert.That((asked.CompositeResource, asked.Composition, asked.Functions.Single().Name, asked.Functions.Single().Address), Is.EqualTo((Xr, Apps, "f", "localhost:1234")));
        Assert.That((asked.ObservedResources.Single().Fields["kind"].StringValue, asked.RequiredResources.Single().Fields["kind"].StringValue), Is.EqualTo(("A", "B")));
        Assert.That(await File.ReadAllTextAsync(_directory["arguments"], token), Is.EqualTo("internal render\n"));
    }

    [Test]
    public void A_fatal_step_is_told_with_what_there_is(CancellationToken token)
    {
        Answer(null);
        Assert.That(() => RenderAsync(status: 3, new(), token), Throws.TypeOf<RenderException>()
            .With.Property("Reason").EqualTo(RenderFailure.Fatal).And.Message.EqualTo("cannot render App 'shop': a pipeline step was fatal. It said: what it says")
            .And.Property("Partial").Property("Events").Count.EqualTo(1));
    }

    [Test]
    public void Another_status_is_told_with_what_it_said(CancellationToken token)
    {
        Answer(null);
        Assert.That(() => RenderAsync(status: 1, new(), token), Throws.TypeOf<RenderException>().With.Property("Reason").EqualTo(RenderFailure.Engine).And.Message.EndsWith("exited with status 1. It said: what it says"));
    }

    [Test]
    public void An_answer_that_is_none_is_told(CancellationToken token)
    {
        File.WriteAllText(_directory["answer"], "Usage: crossplane");
        Assert.That(() => RenderAsync(status: 0, new(), token), Throws.TypeOf<RenderException>().With.Message.Contains("is no message of its protocol. It may be of a version before 2.3."));
    }

    [Test]
    public void A_program_that_is_not_there_is_told(CancellationToken token) =>
        Assert.That(() => Composition.RenderAsync(Xr, Apps, [Function], new() { Engine = RenderEngine.FromProgram("/nowhere/crossplane") }, token), Throws.TypeOf<RenderException>().With.Message.Contains("cannot start engine '/nowhere/crossplane'"));

    [Test]
    public void It_takes_no_context_and_no_code_of_this_process(CancellationToken token)
    {
        Answer(null);
        Assert.That(() => RenderAsync(status: 0, new() { Context = new Struct() }, token), Throws.TypeOf<RenderException>().With.Message.Contains("cannot give Crossplane's own engine a context"));
        Assert.That(
            () => RenderAsync(status: 0, new() { Functions = new Dictionary<string, ICompositionFunction> { ["f"] = new InlineFunction((_, _) => { }) } }, token),
            Throws.TypeOf<RenderException>().With.Message.Contains("it is code of this process"));
    }

    [TestCase("crossplane/crossplane")]
    [TestCase("crossplane/crossplane:stable")]
    [TestCase("crossplane/crossplane:latest")]
    public void An_image_without_a_fixed_version_is_refused(string image) => Assert.That(() => RenderEngine.FromImage(image), Throws.ArgumentException.With.Message.Contains("it names no fixed version"));

    [TestCase("crossplane/crossplane:v2.4.0")]
    [TestCase("crossplane/crossplane@sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef")]
    public void One_with_a_version_or_a_digest_is_taken(string image) => Assert.That(RenderEngine.FromImage(image).ToString(), Does.Contain(image));

    /// <summary>Has the engine answer so.</summary>
    private void Answer(Struct? composite)
    {
        static Struct Composed(string kind, string name) => InlineFunction.Object($"{{apiVersion: v1, kind: {kind}, metadata: {{annotations: {{crossplane.io/composition-resource-name: {name}}}}}}}");
        var output = new CompositeOutput { CompositeResource = composite, Events = { new Event { Type = "Normal", Reason = "r", Message = "m" } } };
        if (composite is not null)
            output.ComposedResources.AddRange([Composed("B", "b"), Composed("A", "a")]);
        File.WriteAllBytes(_directory["answer"], new RenderResponse { Composite = output }.ToByteArray());
    }

    private Task<RenderResult> RenderAsync(int status, RenderOptions options, CancellationToken token)
    {
        string program = _directory["crossplane"];
        File.WriteAllText(program, $"#!/bin/sh\necho \"$@\" >{_directory["arguments"]}\ncat >{_directory["request"]}\ncat {_directory["answer"]}\necho what it says >&2\nexit {status}\n");
        File.SetUnixFileMode(program, UnixFileMode.UserRead | UnixFileMode.UserWrite | UnixFileMode.UserExecute);
        return Composition.RenderAsync(Xr, Apps, [Function], options with { Engine = RenderEngine.FromProgram(program), Output = RenderOutput.Results }, token);
    }
}
