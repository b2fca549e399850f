using System.Net;

namespace Xfn.Core.EndToEnd.Tests;

/// <summary>What a request sets of its container.</summary>
internal sealed class ContainerSettingsTests : RunnerFixture
{
    private static readonly string[] Show = ["/bin/sh", "-c", "echo \"$@\"; echo $A $B $C; pwd; busybox hostname; cat /etc/hosts /etc/hostname"];

    [Test, CancelAfter(60_000)]
    public async Task A_request_wins_over_the_runner_and_the_runner_over_the_image(CancellationToken token)
    {
        TestImage image = TestImage.Command("false");
        image.Config = image.Config with { Cmd = ["image"], Env = ["A=image", "B=image", "C=image"], WorkingDir = "/image", Hostname = "image" };
        string reference = Write(image);
        TestRunner runner = NewRunner(o => o.Bundle = new() { Environment = new Dictionary<string, string> { ["B"] = "runner", ["C"] = "runner" } });
        var settings = new ContainerSettings
        {
            Entrypoint = [.. Show, "sh"],
            Arguments = ["one", "", "two words"],
            Environment = { ["C"] = "request" },
            WorkingDirectory = "/made/here/",
            Hostname = "db.example",
            ExtraHosts = { ["other"] = IPAddress.Parse("192.0.2.7"), ["six"] = IPAddress.Parse("2001:db8::1") },
        };

        RunFunctionResponse response = await runner.RunFunctionAsync(new RunFunctionRequest { Image = reference, Container = settings }, token);

        Assert.That(Text(response.Output), Is.EqualTo(
            "one  two words\nimage runner request\n/made/here\ndb.example\n192.0.2.7\tother\n2001:db8::1\tsix\n127.0.0.1\tlocalhost\n::1\tlocalhost ip6-localhost ip6-loopback\n127.0.0.1\tdb.example\ndb.example\n"));

        // Arguments alone leave the entrypoint; an entrypoint alone drops the image's command. A later run has none of it.
        Assert.That(await TextOfAsync(new() { Entrypoint = ["echo", "only"] }), Is.EqualTo("only\n"));
        Assert.That(await TextOfAsync(new() { Entrypoint = [], Arguments = ["echo", "docker's way"] }), Is.EqualTo("docker's way\n"));
        await Assert.ThatAsync(() => TextOfAsync(new() { Arguments = ["ignored"] }), Throws.TypeOf<FunctionExitedException>().With.Property("ExitCode").EqualTo(1));
        await Assert.ThatAsync(() => runner.RunFunctionAsync(new RunFunctionRequest { Image = reference }, token), Throws.TypeOf<FunctionExitedException>().With.Property("ExitCode").EqualTo(1));

        async Task<string> TextOfAsync(ContainerSettings container) => Text((await runner.RunFunctionAsync(new RunFunctionRequest { Image = reference, Container = container }, token)).Output);
    }

    [Test, CancelAfter(60_000)]
    public async Task A_user_is_looked_up_in_the_image(CancellationToken token)
    {
        if (!Ways.HasManyIds)
            Assert.Ignore("only one id is mapped here: there is no other user");
        string image = Write(TestImage.Shell("id -u; id -g; echo $HOME").WithLayer(tar => tar.Directory("etc").File("etc/passwd", "worker:x:4321:77::/home/worker:/bin/sh\n").File("etc/group", "staff:x:50:worker\n")));
        TestRunner runner = NewRunner();

        Assert.That(await AsAsync("worker"), Is.EqualTo("4321\n77\n/home/worker\n"));
        Assert.That(await AsAsync("1000:staff"), Is.EqualTo("1000\n50\n/\n"));
        await Assert.ThatAsync(() => AsAsync("nobody"), Throws.TypeOf<InvalidRequestException>().With.Message.Contains("no user 'nobody'"));

        async Task<string> AsAsync(string user) => Text((await runner.RunFunctionAsync(new RunFunctionRequest { Image = image, Container = new() { User = user } }, token)).Output);
    }

    [Test, CancelAfter(60_000)]
    public async Task A_program_that_the_image_lacks_is_told_as_the_requests(CancellationToken token) => await Assert.ThatAsync(
        () => NewRunner().RunFunctionAsync(new RunFunctionRequest { Image = Write(TestImage.Command("true")), Container = new() { Entrypoint = ["no-such-program", "-x"] } }, token),
        Throws.TypeOf<InvalidImageException>().With.Message.Contains("'no-such-program -x'").And.Message.Contains("the request's entrypoint"));
}
