using System.ComponentModel;
using System.Text;
using ModelContextProtocol;
using ModelContextProtocol.Server;
using Xfn.Core;

namespace CodeSandbox;

/// <summary>What an agent can do.</summary>
internal sealed class SandboxTools(Sandbox sandbox)
{
    private const int MaxSeconds = 120, MaxFileBytes = 1 << 20;

    [McpServerTool(Name = "run_code", UseStructuredContent = true)]
    [Description("Runs a program in the sandbox, in the directory /work. It has no network. Its files stay for the next program; its processes end with it.")]
    public Task<CodeResult> RunCode(
        [Description("The program's text.")] string code,
        [Description("How many seconds it may run, 1 to 120. Then it is killed.")] int timeoutSeconds = 30,
        CancellationToken cancellationToken = default)
    {
        if (timeoutSeconds is < 1 or > MaxSeconds)
            throw new McpException($"cannot run code for {timeoutSeconds} seconds: expected 1 to {MaxSeconds}.");
        return TellAsync(() => sandbox.RunAsync(Encoding.UTF8.GetBytes(code), TimeSpan.FromSeconds(timeoutSeconds), cancellationToken));
    }

    [McpServerTool(Name = "write_file")]
    [Description("Writes a text file in the sandbox's directory /work. It replaces a file of that name.")]
    public Task<string> WriteFile(
        [Description("Its path below /work, such as data/input.csv.")] string path,
        [Description("Its text, at most 1 MiB.")] string content,
        CancellationToken cancellationToken = default)
    {
        byte[] bytes = Encoding.UTF8.GetBytes(content);
        if (bytes.Length > MaxFileBytes)
            throw new McpException($"cannot write '{path}': it has {bytes.Length} bytes, and {MaxFileBytes} are allowed.");
        return TellAsync(async () =>
        {
            string file = InWork(path);
            await sandbox.WriteAsync(file, bytes, cancellationToken);
            return $"Wrote {bytes.Length} bytes to {file}.";
        });
    }

    [McpServerTool(Name = "read_file", ReadOnly = true)]
    [Description("Reads a text file of the sandbox's directory /work.")]
    public Task<string> ReadFile([Description("Its path below /work.")] string path, CancellationToken cancellationToken = default) =>
        TellAsync(async () =>
        {
            byte[] bytes = await sandbox.ReadAsync(InWork(path), MaxFileBytes, cancellationToken);
            return new UTF8Encoding(false, throwOnInvalidBytes: true).GetString(bytes);
        });

    private static string InWork(string path)
    {
        string full = path.Contains('\0') ? "" : Path.GetFullPath(path, Sandbox.Work);
        return full.StartsWith(Sandbox.Work + "/", StringComparison.Ordinal) ? full : throw new McpException($"cannot use path '{path}': it is not in {Sandbox.Work}.");
    }

    /// <summary>Does something, and tells the agent what cannot be done. Other errors are told without their
    /// words.</summary>
    private static async Task<T> TellAsync<T>(Func<Task<T>> act)
    {
        try
        {
            return await act();
        }
        catch (Exception ex) when (ex is XfnException or IOException)
        {
            throw new McpException(ex.Message, ex);
        }
        catch (DecoderFallbackException ex)
        {
            throw new McpException("cannot read the file: it is no text in UTF-8. Read it by code.", ex);
        }
    }
}
