using System.Globalization;
using Microsoft.Testing.Platform.Builder;
using Xfn.Core.Server.Tests;
using Xfn.Core.Server.Tests.Support;

// So the attackers have a process of their own.
if (args is ["attack", var address, var connections, var seconds])
{
    await AttackProcess.AttackAsync(address, int.Parse(connections, CultureInfo.InvariantCulture), int.Parse(seconds, CultureInfo.InvariantCulture));
    return 0;
}

ITestApplicationBuilder builder = await TestApplication.CreateBuilderAsync(args);
SelfRegisteredExtensions.AddSelfRegisteredExtensions(builder, args);
using ITestApplication application = await builder.BuildAsync();
return await application.RunAsync();
