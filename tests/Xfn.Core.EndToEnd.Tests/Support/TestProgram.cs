namespace Xfn.Core.EndToEnd.Tests.Support;

/// <summary>Programs of the tests' own in C, which need nothing of the image that they run in.</summary>
internal static class TestProgram
{
    /// <summary>Takes <c>NAME</c> beside the tests, or builds <c>NAME.c</c>: compilers may be missing.</summary>
    public static async Task<byte[]> BuildAsync(string name, string scratch, CancellationToken token)
    {
        string ready = Path.Combine(AppContext.BaseDirectory, name), program = Path.Combine(scratch, name);
        if (File.Exists(ready))
        {
            File.Copy(ready, program, overwrite: true);
        }
        else
        {
            ToolResult built = await Tool.RunAsync("clang", ["-static", "-O1", "-pthread", "-o", program, ready + ".c"], token);
            Assert.That(built.ExitCode, Is.Zero, built.Error);
        }

        return await File.ReadAllBytesAsync(program, token);
    }
}
