using System.Diagnostics;
using System.Globalization;
using SharpFuzz;

namespace Xfn.Core.Fuzzing;

/// <summary>
/// <c>xfn-fuzz TARGET SECONDS [RUNS]</c> feeds a parser bytes made by chance, and keeps those that reach new code.
/// </summary>
/// <remarks>
/// The first process makes a copy of the program in which the project's assemblies count their branches, and starts it.
/// When the copy dies, of a stack overflow say, the first process still has the input that killed it.
/// </remarks>
internal static class Program
{
    private const string Usage = "usage: xfn-fuzz TARGET SECONDS [RUNS], or xfn-fuzz TARGET FILE, which runs one input. Targets: ";

    private static readonly string[] Instrumented = ["Xfn.Core.dll", "Xfn.Core.Abstractions.dll", "Xfn.Core.Composition.dll", "Xfn.Core.Server.dll", "xfn-spark.dll"];

    public static int Main(string[] args)
    {
        FuzzLoop.PrepareCounters();
        if (args is ["list", "all"])
        {
            Console.WriteLine(string.Join('\n', Targets.All.Select(t => t.Name)));
            return 0;
        }

        if (args.Length is < 2 or > 4 || Targets.Find(args[0]) is not { } target)
        {
            Console.Error.WriteLine(Usage + string.Join(' ', Targets.All.Select(t => t.Name)));
            return 2;
        }

        if (File.Exists(args[1]))
        {
            try
            {
                target.Run(File.ReadAllBytes(args[1]));
                Console.WriteLine("the target took it");
            }
            catch (Exception ex) when (target.Allows(ex))
            {
                Console.WriteLine($"the target refused it: {ex.Message}");
            }

            return 0;
        }

        var limit = new FuzzLimit(
            TimeSpan.FromSeconds(double.Parse(args[1], CultureInfo.InvariantCulture)),
            args.Length > 2 ? long.Parse(args[2], CultureInfo.InvariantCulture) : long.MaxValue);
        string work = Path.GetFullPath(Path.Combine("artifacts", "fuzz", target.Name));
        Directory.CreateDirectory(work);
        return args.Length == 4 ? FuzzLoop.Run(target, limit, work) : RunCopy(args, work);
    }

    private static int RunCopy(string[] args, string work)
    {
        string copy = Directory.CreateTempSubdirectory("xfn-fuzz-").FullName;
        try
        {
            foreach (string file in Directory.GetFiles(AppContext.BaseDirectory, "*", SearchOption.AllDirectories))
            {
                string to = Path.Combine(copy, Path.GetRelativePath(AppContext.BaseDirectory, file));
                Directory.CreateDirectory(Path.GetDirectoryName(to)!);
                File.Copy(file, to);
            }

            foreach (string assembly in Instrumented)
                Fuzzer.Instrument(Path.Combine(copy, assembly), static type => type.StartsWith("Xfn.Core", StringComparison.Ordinal), SharpFuzz.Options.Value);

            using Process loop = Process.Start(
                Path.Combine(copy, "xfn-fuzz"), [args[0], args[1], args.Length > 2 ? args[2] : long.MaxValue.ToString(CultureInfo.InvariantCulture), "loop"]);
            loop.WaitForExit();
            if (loop.ExitCode is not (0 or 1))
            {
                string input = FuzzLoop.KeepCurrent(work, "died");
                Console.WriteLine($"FINDING: the process ended with status {loop.ExitCode}. The input is kept as {input}");
            }

            return loop.ExitCode == 0 ? 0 : 1;
        }
        finally
        {
            Directory.Delete(copy, recursive: true);
        }
    }
}
