using System.Collections.Concurrent;
using System.Diagnostics;
using System.Globalization;
using System.Runtime.InteropServices;
using System.Text;
using NUnit.Framework.Interfaces;
using NUnit.Framework.Internal;

namespace Xfn.Core.TestSupport;

/// <summary>Ends a test program that hangs: says which test did and where it stands, and ends what the program started.
/// Part of every test program.</summary>
/// <remarks>
/// A test that takes too long is asked to end first, by its token (<see cref="CancelAfterAttribute"/>). This is for one
/// that does not listen: it has half a minute more than that, and two and a half minutes where nothing asks it. What
/// comes before and after tests has ten minutes.
/// On a machine that is so many times slower, such as an emulated one, <c>XFN_TEST_SLOWNESS</c> multiplies what tests say
/// themselves. <c>XFN_TEST_PATIENCE</c> is another limit for all of these, in seconds. Where <c>XFN_FUZZ_FACTOR</c> or
/// <c>XFN_SOAK_SECONDS</c> make tests longer, a test takes as long as it takes.
/// </remarks>
[AttributeUsage(AttributeTargets.Assembly)]
internal sealed partial class WatchdogAttribute : Attribute, ITestAction
{
    /// <summary>The status of a program that was ended by this.</summary>
    public const int Status = 75;

    /// <summary>The variable by which what a test program started is known, whoever its parent is by now.</summary>
    private const string Mark = "XFN_TEST_RUN";

    private static readonly TimeSpan Between = TimeSpan.FromMinutes(10);
    private static readonly TimeSpan Extra = TimeSpan.FromSeconds(30);
    private static readonly TimeSpan Usual = TimeSpan.FromMinutes(2);
    private static readonly ConcurrentDictionary<string, Running> Tests = new();
    private static readonly ConcurrentDictionary<TestStatus, int> Ends = new();
    private static string s_last = "the start";
    private static long s_lastEvent = Stopwatch.GetTimestamp();
    private static int s_started;

    public ActionTargets Targets => ActionTargets.Test | ActionTargets.Suite;

    private static bool TakesLong { get; } = new[] { "XFN_FUZZ_FACTOR", "XFN_SOAK_SECONDS" }.Any(name => Environment.GetEnvironmentVariable(name) is not null);

    private static TimeSpan? Patience { get; } =
        int.TryParse(Environment.GetEnvironmentVariable("XFN_TEST_PATIENCE"), CultureInfo.InvariantCulture, out int seconds) ? TimeSpan.FromSeconds(seconds) : null;

    public void BeforeTest(ITest test)
    {
        if (Interlocked.Exchange(ref s_started, 1) == 0)
        {
            Start();
            Stretch(test);
        }

        Happened("the begin of " + test.FullName);
        if (!test.IsSuite)
            Tests[test.Id] = new Running(test.FullName, TestExecutionContext.CurrentContext, Stopwatch.GetTimestamp(), Patience ?? LimitOf(test) + Extra);
    }

    public void AfterTest(ITest test)
    {
        Happened("the end of " + test.FullName);
        if (Tests.TryRemove(test.Id, out _))
            Ends.AddOrUpdate(TestExecutionContext.CurrentContext.CurrentResult.ResultState.Status, 1, (_, count) => count + 1);
    }

    private static void Happened(string what)
    {
        s_last = what;
        Volatile.Write(ref s_lastEvent, Stopwatch.GetTimestamp());
    }

    /// <summary>Gives all tests the time that they take on a slow machine. NUnit would take it for the cases of a test
    /// from the attribute, and not from here, if it were not each one's own.</summary>
    private static void Stretch(ITest test, int? above = null)
    {
        int? limit = test.Properties.Get(PropertyNames.Timeout) as int? ?? above;
        if (!test.IsSuite && limit is { } milliseconds)
        {
            test.Properties.Set(PropertyNames.Timeout, milliseconds * LongMode.Slowness);
            test.Properties.Set(PropertyNames.UseCancellation, true);
        }

        foreach (ITest one in test.Tests)
            Stretch(one, limit);
    }

    /// <summary>What its own <c>[CancelAfter]</c> says, or that of its fixture, on a slow machine.</summary>
    private static TimeSpan LimitOf(ITest test)
    {
        if (TakesLong)
            return TimeSpan.MaxValue - Extra;
        return test.Properties.Get(PropertyNames.Timeout) is int milliseconds ? TimeSpan.FromMilliseconds(milliseconds) : Usual * LongMode.Slowness;
    }

    private static void Start()
    {
        if (Environment.GetEnvironmentVariable(Mark) is null)
            Environment.SetEnvironmentVariable(Mark, $"{Environment.ProcessId}.{Stopwatch.GetTimestamp()}");
        // A thread of its own: a test may hold all those of the pool.
        new Thread(Watch) { IsBackground = true, Name = "watchdog" }.Start();
    }

    private static void Watch()
    {
        while (true)
        {
            Thread.Sleep(500);
            if (Tests.Values.FirstOrDefault(t => Stopwatch.GetElapsedTime(t.Begun) > t.Limit) is { } hanging)
                End($"{hanging.Name} hangs: it runs for {Stopwatch.GetElapsedTime(hanging.Begun).TotalSeconds:0} seconds. Its output so far:\n{OutputOf(hanging.Context)}");
            else if (Tests.IsEmpty && Stopwatch.GetElapsedTime(Volatile.Read(ref s_lastEvent)) > (Patience ?? Between))
                End($"The program hangs: nothing happened since {s_last}.");
        }
    }

    private static string OutputOf(TestExecutionContext context)
    {
        try
        {
            return context.CurrentResult.Output;
        }
        catch (Exception ex) when (ex is ArgumentException or InvalidOperationException)
        {
            return $"(cannot be read while it is written: {ex.Message})";
        }
    }

    /// <summary>Tells, ends what this program started, and ends it: nothing of it is asked any more, since it might
    /// hang too.</summary>
    private static void End(string what)
    {
        var text = new StringBuilder().AppendLine().AppendLine(what).AppendLine("Its threads:");
        foreach (string task in Directory.GetDirectories("/proc/self/task"))
            text.AppendLine(CultureInfo.InvariantCulture, $"  {Path.GetFileName(task)} {Read(task, "comm")}, {State(task)}, in {Read(task, "wchan")}");
        text.AppendLine("What it started, and is ended with it:");
        string mark = $"{Mark}={Environment.GetEnvironmentVariable(Mark)}";
        foreach (int pid in Marked(mark))
        {
            string process = $"/proc/{pid}";
            text.AppendLine(CultureInfo.InvariantCulture, $"  {pid} {Read(process, "cmdline").Replace('\0', ' ')}, {State(process)}, in {Read(process, "wchan")}");
            // Not by Process, which might wait for a lock that the hanging test holds.
            Signals.Send(pid, Signals.Kill);
        }

        // As test.sh counts them.
        text.AppendLine(CultureInfo.InvariantCulture, $"  succeeded: {Ends.GetValueOrDefault(TestStatus.Passed)}");
        text.AppendLine(CultureInfo.InvariantCulture, $"  failed: {Ends.GetValueOrDefault(TestStatus.Failed) + 1}");
        text.AppendLine(CultureInfo.InvariantCulture, $"  skipped: {Ends.GetValueOrDefault(TestStatus.Skipped)}");
        // Not by Console, which is NUnit's while a test runs.
        using (Stream stdout = Console.OpenStandardOutput())
            stdout.Write(Encoding.UTF8.GetBytes(text.ToString()));
        Exit(Status);
    }

    /// <summary>All that was started with the mark, but this process and its ancestors, which may have it.</summary>
    private static IEnumerable<int> Marked(string mark)
    {
        var ancestors = new HashSet<int>();
        for (int pid = Environment.ProcessId; pid > 1 && ancestors.Add(pid); pid = Parent(pid))
        {
        }

        foreach (string directory in Directory.GetDirectories("/proc"))
        {
            if (int.TryParse(Path.GetFileName(directory), CultureInfo.InvariantCulture, out int pid) && !ancestors.Contains(pid) && Read(directory, "environ").Split('\0').Contains(mark))
                yield return pid;
        }
    }

    private static int Parent(int pid) => int.TryParse(Fields($"/proc/{pid}").ElementAtOrDefault(1), CultureInfo.InvariantCulture, out int parent) ? parent : 0;

    private static string State(string directory) => "state " + Fields(directory).ElementAtOrDefault(0);

    /// <summary>The fields of <c>stat</c> behind the name, which may hold blanks.</summary>
    private static string[] Fields(string directory) => Read(directory, "stat").Split(") ")[^1].Split(' ');

    private static string Read(string directory, string file)
    {
        try
        {
            return File.ReadAllText(Path.Combine(directory, file)).Trim();
        }
        catch (Exception ex) when (ex is IOException or UnauthorizedAccessException)
        {
            // It has just ended, or is another user's.
            return "?";
        }
    }

    [LibraryImport("libc", EntryPoint = "_exit")]
    private static partial void Exit(int status);

    private sealed record Running(string Name, TestExecutionContext Context, long Begun, TimeSpan Limit);
}
