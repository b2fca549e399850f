using System.Diagnostics;

namespace Xfn.Core.Composition.Tests.Support;

/// <summary>A program that is talked with while it runs, and is ended with the test.</summary>
internal sealed class LiveProgram(string program, params string[] arguments) : IDisposable
{
    private readonly Process _process = Tool.Start(program, arguments);
    private readonly List<string> _noted = [];

    public StreamReader Output => _process.StandardOutput;

    /// <summary>The lines of stderr that were read. At its end those are all.</summary>
    public IReadOnlyList<string> Noted => _noted;

    /// <summary>Reads stdout up to a line that contains a text.</summary>
    /// <returns>The line.</returns>
    public Task<string> SaysAsync(string text, CancellationToken token) => UntilAsync(_process.StandardOutput, text, [], token);

    /// <summary>Reads stderr up to a line that contains a text.</summary>
    /// <returns>The line.</returns>
    public Task<string> NotesAsync(string text, CancellationToken token) => UntilAsync(_process.StandardError, text, _noted, token);

    /// <summary>Sends a signal, and waits for the end.</summary>
    /// <returns>The exit status.</returns>
    public Task<int> EndAsync(int signal, CancellationToken token)
    {
        Signals.Send(_process.Id, signal);
        return ExitedAsync(token);
    }

    /// <summary>Waits for the end.</summary>
    /// <returns>The exit status.</returns>
    public async Task<int> ExitedAsync(CancellationToken token)
    {
        while (await _process.StandardError.ReadLineAsync(token) is { } line)
            _noted.Add(line);
        await _process.WaitForExitAsync(token);
        return _process.ExitCode;
    }

    public void Dispose()
    {
        if (!_process.HasExited)
            _process.Kill();
        _process.StandardOutput.Dispose();
        _process.StandardError.Dispose();
        _process.Dispose();
    }

    private static async Task<string> UntilAsync(StreamReader reader, string text, List<string> read, CancellationToken token)
    {
        while (await reader.ReadLineAsync(token) is { } line)
        {
            read.Add(line);
            if (line.Contains(text))
                return line;
        }

        throw new AssertionException($"There is no '{text}' in: {string.Join('\n', read)}");
    }
}
