using System.Globalization;
using System.Runtime.InteropServices;
using System.Text;
using System.Text.RegularExpressions;
using Xfn.Core.Spark.Containers;

namespace Xfn.Core.Spark.Tests;

/// <summary>What spark has of each processor, compared with what compilers and the kernel's headers say of it.</summary>
[TestFixture(Architecture.X64)]
[TestFixture(Architecture.Arm64)]
[CancelAfter(60_000)]
internal sealed partial class ProcessorTests(Architecture processor)
{
    private readonly string _directory = Directory.CreateTempSubdirectory("xfn-processor-").FullName;

    private static string Source => Path.Combine(SourceTree.Root(), "src");

    [OneTimeTearDown]
    public void Delete() => Directory.Delete(_directory, recursive: true);

    [Test]
    public async Task The_numbers_are_those_of_the_C_librarys_and_the_kernels_headers(CancellationToken token)
    {
        string[] files = [.. Directory.EnumerateFiles(Path.Combine(Source, "Xfn.Core.Interop"), "Libc*.cs"), Path.Combine(Source, "Xfn.Core.Interop", $"{processor}.cs")];
        (string Name, string Value)[] numbers = [.. files.SelectMany(file => Constant().Matches(File.ReadAllText(file)))
            .Select(match => (match.Groups[1].Value, match.Groups[2].Value.Replace("_", "", StringComparison.Ordinal)))];
        Assert.That(numbers, Has.Length.GreaterThan(100));

        // What is no macro is of an enumeration, and the same everywhere.
        string checks = string.Concat(numbers.Select(number => $"""
            #ifdef {number.Name}
            _Static_assert({number.Name} == {number.Value}, "{number.Name}");
            #endif

            """));
        await CompileAsync("numbers.c", $"""
            #define _GNU_SOURCE
            #include <errno.h>
            #include <fcntl.h>
            #include <poll.h>
            #include <sched.h>
            #include <signal.h>
            #include <stddef.h>
            #include <unistd.h>
            #include <linux/magic.h>
            #include <linux/mount.h>
            #include <linux/openat2.h>
            #include <sys/epoll.h>
            #include <sys/prctl.h>
            #include <sys/resource.h>
            #include <sys/stat.h>
            #include <sys/statfs.h>
            #include <sys/syscall.h>
            #include <sys/wait.h>
            {checks}
            #define AT(type, field, offset) _Static_assert(offsetof(type, field) == offset, #field)
            AT(struct statfs, f_frsize, 72);
            AT(struct statfs, f_flags, 80);
            AT(struct rusage, ru_maxrss, 32);
            AT(struct statx, stx_ino, 32);
            AT(struct statx, stx_mtime.tv_nsec, 120);
            AT(struct statx, stx_dev_minor, 140);
            AT(siginfo_t, si_pid, 16);
            AT(siginfo_t, si_status, 24);
            _Static_assert(sizeof(struct rusage) == 144 && sizeof(siginfo_t) == 128 && sizeof(struct statx) == 256, "sizes");
            _Static_assert(sizeof(struct open_how) == 24 && sizeof(struct mount_attr) == 32 && sizeof(struct pollfd) == 8, "sizes");
            _Static_assert(sizeof(struct epoll_event) == {(processor == Architecture.X64 ? 12 : 16)}, "epoll_event");

            """, ["-fsyntax-only"], token);
    }

    [Test]
    public async Task The_gates_machine_code_is_what_its_comments_say(CancellationToken token)
    {
        string[] lines = await File.ReadAllLinesAsync(Path.Combine(Source, "Xfn.Core.Spark", "Containers", $"GateStub.{processor}.cs"), token);
        byte[] image = [.. lines.SkipWhile(line => line.Trim() != "[").Skip(1).TakeWhile(line => line.Trim() != "];")
            .SelectMany(line => line.Split("//")[0].Split(',', StringSplitOptions.TrimEntries | StringSplitOptions.RemoveEmptyEntries)).Select(Byte)];
        const int entry = 0xb0, fileSize = 0x60;
        Assert.That(BitConverter.ToInt64(image, fileSize), Is.EqualTo(image.Length), "the size that the loader is told");
        if (processor == RuntimeInformation.ProcessArchitecture)
            Assert.That(GateStub.Image.ToArray(), Is.EqualTo(image));

        var assembly = new StringBuilder(processor == Architecture.X64 ? ".intel_syntax noprefix\n" : "").AppendLine("#include <sys/syscall.h>");
        foreach (string line in lines.Where(line => Instruction().IsMatch(line)))
            assembly.AppendLine(Instruction().Match(line).Groups[1].Value.Replace(": ", ":\n", StringComparison.Ordinal));
        foreach (GateState state in Enum.GetValues<GateState>().OrderDescending())
            assembly.Replace($"GateState.{state}", ((int)state).ToString(CultureInfo.InvariantCulture));
        string code = Path.Combine(_directory, "code");
        await CompileAsync("gate.S", assembly.ToString(), ["-c", "-DF_SETFD=2", "-DFD_CLOEXEC=1", "-DEINTR=4", "-o", code], token);
        if (!Programs("llvm-objcopy"))
            Assert.Ignore("There is no llvm-objcopy (package llvm) to read foreign object files.");
        Assert.That(await Tool.RunAsync("llvm-objcopy", ["-O", "binary", "-j", ".text", code], token), Is.EqualTo(new ToolResult(0, "", "")));
        Assert.That(await File.ReadAllBytesAsync(code, token), Is.EqualTo(image[entry..]));
    }

    /// <summary>Compiles a file for the processor. Skips the test where its headers are not here.</summary>
    private async Task CompileAsync(string name, string content, string[] arguments, CancellationToken token)
    {
        string file = Path.Combine(_directory, name), sysroot = Path.Combine(Source, "..", "artifacts", "sysroot", $"linux-{processor.ToString().ToLowerInvariant()}");
        string[] target = [];
        if (processor != RuntimeInformation.ProcessArchitecture)
        {
            if (!Directory.Exists(sysroot))
                Assert.Ignore("The headers of the other processor are not here. eng/sysroot.sh fetches them.");
            target = [processor == Architecture.Arm64 ? "--target=aarch64-linux-gnu" : "--target=x86_64-linux-gnu", $"--sysroot={sysroot}"];
        }

        await File.WriteAllTextAsync(file, content, token);
        Assert.That(await Tool.RunAsync("clang", [.. target, .. arguments, file], token), Is.EqualTo(new ToolResult(0, "", "")));
    }

    private static byte Byte(string literal) =>
        literal.StartsWith("0x", StringComparison.Ordinal) ? byte.Parse(literal.AsSpan(2), NumberStyles.AllowHexSpecifier, CultureInfo.InvariantCulture) : byte.Parse(literal, CultureInfo.InvariantCulture);

    private static bool Programs(string name) => Environment.GetEnvironmentVariable("PATH")!.Split(':').Any(directory => File.Exists(Path.Combine(directory, name)));

    [GeneratedRegex(@"public const \w+ ([A-Z][A-Za-z0-9_]+) = (-?[0-9][0-9A-Fa-fx_]*);")]
    private static partial Regex Constant();

    [GeneratedRegex(@"^ +0x[0-9a-fx, ]+// +(.+)$")]
    private static partial Regex Instruction();
}
