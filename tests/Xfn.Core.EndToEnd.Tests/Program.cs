using Microsoft.Testing.Platform.Builder;
using Xfn.Cli;
using Xfn.Core;
using Xfn.Core.EndToEnd.Tests;
using Xfn.Core.EndToEnd.Tests.Support;

if (args is ["language", var what])
{
    await LanguageProbe.LookAsync(what);
    return 0;
}

if (args is [LiveProbe.Command, var cache, var image, var mark])
{
    await LiveProbe.RunAsync(cache, image, mark);
    return 0;
}

if (args is [BusyContainers.Command, var busyCache, var busyImage])
{
    await BusyContainers.UseAsync(busyCache, busyImage);
    return 0;
}

// With a command of xfn's, this program is xfn with the tests' runner, for prepared functions or another runtime.
if (args is [var command, ..] && !command.StartsWith('-'))
{
    return await new CommandLine(options =>
    {
        options.Runtime = Ways.Runtime;
        if (Environment.GetEnvironmentVariable("XFN_TEST_EPHEMERAL") is { } parent)
            options.WithEphemeralCache(parent);
        return new TestRunner(new ContainerRunner(options));
    }).InvokeAsync(args);
}

ITestApplicationBuilder builder = await TestApplication.CreateBuilderAsync(args);
SelfRegisteredExtensions.AddSelfRegisteredExtensions(builder, args);
using ITestApplication application = await builder.BuildAsync();
return await application.RunAsync();
