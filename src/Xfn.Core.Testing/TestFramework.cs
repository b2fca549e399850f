using System.Reflection;

namespace Xfn.Core.Testing;

/// <summary>What is asked of the test framework that runs: it is found by its name, so that this library needs none of
/// them.</summary>
internal static class TestFramework
{
    private const string NUnit = "nunit.framework", XUnit = "xunit.v3.core", MSTest = "MSTest.TestFramework";

    /// <summary>What an exception's message begins with, of any type, that skips a test of xUnit
    /// (<c>Xunit.Assert.DynamicSkipToken</c>).</summary>
    private const string XUnitSkips = "$XunitDynamicSkip$";

    /// <summary>The exception that skips a test.</summary>
    public static Exception Skip(string reason) =>
        New(NUnit, "NUnit.Framework.IgnoreException", reason)
        ?? (Find(XUnit) is not null ? new TestSkippedException(XUnitSkips + reason) : null)
        ?? New(MSTest, "Microsoft.VisualStudio.TestTools.UnitTesting.AssertInconclusiveException", reason)
        ?? new TestSkippedException(reason);

    /// <summary>Whether the test that runs has failed, or one of those whose common end this is; false where the
    /// framework does not say. MSTest says it to the test class alone.</summary>
    public static bool HasFailed() =>
        IsFailed(Get(Static(NUnit, "NUnit.Framework.TestContext", "CurrentContext"), "Result", "Outcome", "Status"))
        || IsFailed(Get(Static(XUnit, "Xunit.TestContext", "Current"), "TestState", "Result"));

    /// <summary>Writes to the output of the test that runs.</summary>
    public static void Write(string text)
    {
        // xUnit alone does not take what a test writes to the console for its output.
        if (Get(Static(XUnit, "Xunit.TestContext", "Current"), "TestOutputHelper") is { } output
            && output.GetType().GetInterface("Xunit.ITestOutputHelper")?.GetMethod("WriteLine", [typeof(string)]) is { } writeLine)
            writeLine.Invoke(output, [text]);
        else
            Console.Out.WriteLine(text);
    }

    private static bool IsFailed(object? outcome) => outcome?.ToString() == "Failed";

    private static Exception? New(string assembly, string type, string message) =>
        Find(assembly)?.GetType(type) is { } found ? (Exception?)Activator.CreateInstance(found, message) : null;

    private static object? Static(string assembly, string type, string property) => Find(assembly)?.GetType(type)?.GetProperty(property)?.GetValue(null);

    private static object? Get(object? from, params ReadOnlySpan<string> properties)
    {
        foreach (string property in properties)
            from = from?.GetType().GetProperty(property)?.GetValue(from);
        return from;
    }

    private static Assembly? Find(string name) => Array.Find(AppDomain.CurrentDomain.GetAssemblies(), assembly => assembly.GetName().Name == name);
}

/// <summary>A test is skipped. xUnit knows it by its message; where no framework is known, it says why the test
/// ended.</summary>
internal sealed class TestSkippedException(string message) : Exception(message);
