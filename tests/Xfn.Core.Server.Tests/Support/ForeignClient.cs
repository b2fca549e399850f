using System.Diagnostics;
using System.Text.Json;
using System.Text.Json.Nodes;

namespace Xfn.Core.Server.Tests.Support;

/// <summary>A client in Debian's Python and grpcio, with messages by protoc from the packaged description.</summary>
internal static class ForeignClient
{
    private static readonly Lazy<string> Stubs = new(Generate);

    /// <summary>Makes a call.</summary>
    /// <param name="target">As gRPC writes it: <c>unix-abstract:NAME</c>, <c>unix:PATH</c>, <c>HOST:PORT</c>.</param>
    /// <param name="call">What client.py understands.</param>
    /// <param name="token">Ends the client.</param>
    /// <param name="prefix">A program, with its arguments, to start Python by.</param>
    public static async Task<ForeignAnswer> CallAsync(string target, JsonObject call, CancellationToken token = default, params string[] prefix)
    {
        using Process client = Start(target, call, prefix);
        using StreamReader stdout = client.StandardOutput, stderr = client.StandardError;
        Task<string> errors = stderr.ReadToEndAsync(token);
        string output;
        try
        {
            output = await stdout.ReadToEndAsync(token);
            await client.WaitForExitAsync(token);
        }
        finally
        {
            client.Kill(entireProcessTree: true);
        }

        Assert.That(output, Is.Not.Empty, await errors);
        JsonNode answer = JsonNode.Parse(output)!;
        var trailers = new Dictionary<string, string>();
        foreach (JsonNode? trailer in answer["trailers"]!.AsArray())
            trailers[(string)trailer![0]!] = (string)trailer[1]!;
        return new ForeignAnswer((string)answer["code"]!, (string?)answer["details"] ?? "", answer["output"] is { } bytes ? Convert.FromBase64String((string)bytes!) : null, trailers);
    }

    /// <summary>Begins a call, for a test that ends the client.</summary>
    public static Process Start(string target, JsonObject call, params string[] prefix)
    {
        call["target"] = target;
        call["stubs"] = Stubs.Value;
        string[] command = [.. prefix, "/usr/bin/python3", Path.Combine(Stubs.Value, "client.py")];
        var client = Process.Start(new ProcessStartInfo(command[0], command[1..])
        {
            RedirectStandardInput = true,
            RedirectStandardOutput = true,
            RedirectStandardError = true,
            WorkingDirectory = "/",
            Environment = { ["GRPC_ENABLE_FORK_SUPPORT"] = "0", ["http_proxy"] = "", ["HTTP_PROXY"] = "" },
        })!;
        client.StandardInput.Write(call.ToJsonString(new JsonSerializerOptions()));
        client.StandardInput.Close();
        return client;
    }

    /// <summary>A directory that other users can read too.</summary>
    private static string Generate()
    {
        string directory = Directory.CreateTempSubdirectory("xfn-stubs-").FullName;
        AppDomain.CurrentDomain.ProcessExit += (_, _) => Directory.Delete(directory, recursive: true);
        File.Copy(Path.Combine(AppContext.BaseDirectory, "Support", "client.py"), Path.Combine(directory, "client.py"));
        Tool.Run("protoc", "--python_out", directory, "-I", Path.Combine(AppContext.BaseDirectory, "Support"), "run_function.proto");
        Tool.Run("chmod", "-R", "a+rX", directory);
        return directory;
    }
}

/// <summary>What a foreign client was told.</summary>
/// <param name="Code">The status code.</param>
/// <param name="Details">The status message.</param>
/// <param name="Output">What the function wrote; null when the call failed.</param>
/// <param name="Trailers">The trailing metadata; binary ones in base64.</param>
internal sealed record ForeignAnswer(string Code, string Details, byte[]? Output, Dictionary<string, string> Trailers)
{
    public string StderrTail => System.Text.Encoding.UTF8.GetString(Convert.FromBase64String(Trailers.GetValueOrDefault("xfn-stderr-tail-bin", "")));
}
