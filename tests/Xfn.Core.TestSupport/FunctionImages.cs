using System.Diagnostics;
using System.Text.RegularExpressions;

namespace Xfn.Core.TestSupport;

/// <summary>Images of composition functions, of what <c>composition_functions</c> of eng/common.sh made.</summary>
internal static partial class FunctionImages
{
    /// <summary>What is needed neither to serve a function nor to say why it failed.</summary>
    private static readonly string[] Unneeded = ["dprint-node", "kubernetes-models", "@kubernetes-models", "@types", "ts-proto", "ts-poet", ".bin"];

    /// <summary>Says what is missing to make the images; null where all is there.</summary>
    /// <param name="artifacts">The directory artifacts of the repository.</param>
    public static string? Missing(string artifacts) =>
        new[] { Greeting(artifacts), $"{artifacts}/node-function/main.js", Node }.FirstOrDefault(file => !File.Exists(file)) is { } missing ? $"There is no {missing}. eng/test.sh makes or installs it." : null;

    /// <summary>Says what is missing to make the image of samples/GreetingFunction alone; null where all is there.</summary>
    /// <inheritdoc cref="Missing" path="/param"/>
    public static string? MissingGreeting(string artifacts) => File.Exists(Greeting(artifacts)) ? null : $"There is no {Greeting(artifacts)}. eng/test.sh makes it.";

    /// <summary>samples/GreetingFunction as native code, with the libraries for TLS, which it loads as it needs them.</summary>
    public static void AddGreeting(this InMemoryImageFetcher images, string artifacts, string name) =>
        images.AddImage(
            name,
            new ImageExecutionConfig { Entrypoint = ["/function"] },
            InMemoryImageFetcher.Layer([.. GreetingLibraries(artifacts)]),
            InMemoryImageFetcher.Layer(GreetingProgram(artifacts)));

    /// <summary>The files of that image.</summary>
    public static IEnumerable<LayerFile> GreetingFiles(string artifacts) => GreetingLibraries(artifacts).Append(GreetingProgram(artifacts));

    /// <summary>The function on Crossplane's SDK for Node.</summary>
    public static void AddNode(this InMemoryImageFetcher images, string artifacts, string name)
    {
        string function = Path.Combine(artifacts, "node-function");
        IEnumerable<string> files = Directory.EnumerateFiles(function, "*", SearchOption.AllDirectories)
            .Where(file => Path.GetExtension(file) is ".js" or ".cjs" or ".mjs" or ".json" or ".proto" && !Path.GetRelativePath(function, file).Split('/').Intersect(Unneeded).Any())
            .Order(StringComparer.Ordinal);
        images.AddImage(
            name,
            new ImageExecutionConfig { Entrypoint = [Node, "/function/main.js"] },
            InMemoryImageFetcher.Layer([Copy(Node, Node), .. Libraries([Node]).Select(library => Copy(library, library))]),
            InMemoryImageFetcher.Layer([.. files.Select(file => Copy(file, "function/" + Path.GetRelativePath(function, file)))]));
    }

    private static LayerFile GreetingProgram(string artifacts) => Copy(Greeting(artifacts), "function");

    private static IEnumerable<LayerFile> GreetingLibraries(string artifacts)
    {
        string[] tls = [.. Directory.GetDirectories("/usr/lib", "*-linux-gnu").SelectMany(directory => Directory.GetFiles(directory, "libssl.so.3"))];
        return Libraries([Greeting(artifacts), .. tls]).Union(tls).Select(library => Copy(library, library));
    }

    private const string Node = "/usr/bin/node";

    private static string Greeting(string artifacts) => Path.Combine(artifacts, "greeting-function/GreetingFunction");

    private static LayerFile Copy(string source, string path) => new(path) { Content = File.ReadAllBytes(source), Mode = File.GetUnixFileMode(source) };

    /// <summary>The libraries of programs, and the dynamic linker.</summary>
    private static string[] Libraries(IEnumerable<string> programs)
    {
        using Process ldd = Process.Start(new ProcessStartInfo("ldd", programs) { RedirectStandardOutput = true })!;
        string[] found = [.. Library().Matches(ldd.StandardOutput.ReadToEnd()).Select(match => match.Groups[1].Value).Distinct().Order(StringComparer.Ordinal)];
        ldd.WaitForExit();
        return found;
    }

    // NAME => PATH (ADDRESS), or PATH (ADDRESS) for the linker.
    [GeneratedRegex(@"(/\S+) \(0x", RegexOptions.CultureInvariant)]
    private static partial Regex Library();
}
