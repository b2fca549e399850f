namespace Xfn.Core.TestSupport;

/// <summary>A directory that goes with the test.</summary>
internal sealed class TemporaryDirectory : IDisposable
{
    /// <summary>How this program's directory names begin: other test programs run at the same time.</summary>
    public static string Prefix { get; } = $"xfn-test-{Environment.ProcessId}-";

    public string Path { get; } = Directory.CreateTempSubdirectory(Prefix).FullName;

    public string this[string name] => System.IO.Path.Combine(Path, name);

    public void Dispose() => Directory.Delete(Path, recursive: true);
}
