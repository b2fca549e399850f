using System.Reflection;
using NUnit.Framework.Api;
using NUnit.Framework.Interfaces;
using NUnit.Framework.Internal;

namespace Xfn.Core.Testing.Tests;

/// <summary>Runs tests of this program within a test, and returns what came of them.</summary>
internal static class NestedTests
{
    public static ITestResult Run(Type fixture)
    {
        var runner = new NUnitTestAssemblyRunner(new DefaultTestAssemblyBuilder());
        runner.Load(Assembly.GetExecutingAssembly(), new Dictionary<string, object> { ["NumberOfTestWorkers"] = 0 });
        return runner.Run(TestListener.NULL, TestFilter.FromXml($"<filter><class>{fixture.FullName}</class></filter>"));
    }
}
