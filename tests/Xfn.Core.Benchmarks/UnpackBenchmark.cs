extern alias spark;

using System.Diagnostics;
using System.Globalization;
using System.IO.Compression;
using Microsoft.Win32.SafeHandles;
using spark::Xfn.Core.Spark.Files;
using spark::Xfn.Core.Spark.Layers;
using spark::Xfn.Core.Spark;

namespace Xfn.Core.Benchmarks;

/// <summary>Unpacks archives with us and with GNU tar, in memory, out of a pipe as layers come.</summary>
internal static class UnpackBenchmark
{
    private const int Rounds = 15;

    public static int Run(string[] archives)
    {
        string work = Directory.CreateDirectory(Path.Combine("/dev/shm", "xfn-bench-" + Path.GetRandomFileName())).FullName;
        try
        {
            Console.WriteLine($"{"archive",-28} {"MiB",7} {"tar xf",9} {"ours",9} {"ratio",6} {"tar xzf",9} {"ours gz",9} {"ratio",6}   (medians of {Rounds}, ms)");
            foreach (string archive in archives)
                Compare(archive, work);
            return 0;
        }
        finally
        {
            Directory.Delete(work, recursive: true);
        }
    }

    /// <summary>One unpacking in this process, for a profiler.</summary>
    public static int Once(string archive, string directory)
    {
        using FileStream tar = File.OpenRead(archive);
        Ours(tar, directory);
        return 0;
    }

    private static void Compare(string archive, string work)
    {
        string plain = Path.Combine(work, "a.tar");
        string gzip = Path.Combine(work, "a.tar.gz");
        File.Copy(archive, plain, overwrite: true);
        using (FileStream from = File.OpenRead(plain))
        using (var to = new GZipStream(File.Create(gzip), CompressionLevel.Optimal))
            from.CopyTo(to);

        double[] times = Alternate(
            work,
            [
                directory => Tar($"cat {plain} | tar -x -p -f - -C {directory}"),
                directory => Ours(() => File.OpenRead(plain), directory),
                directory => Tar($"tar -x -z -p -f {gzip} -C {directory}"),
                directory => Ours(() => new GZipStream(File.OpenRead(gzip), CompressionMode.Decompress), directory),
            ]);
        Console.WriteLine(string.Create(
            CultureInfo.InvariantCulture,
            $"{Path.GetFileName(archive),-28} {new FileInfo(archive).Length / 1048576.0,7:f1} {times[0],9:f1} {times[1],9:f1} {times[1] / times[0],6:f2} {times[2],9:f1} {times[3],9:f1} {times[3] / times[2],6:f2}"));
    }

    private static double[] Alternate(string work, Action<string>[] ways)
    {
        var times = ways.Select(_ => new List<double>()).ToArray();
        for (int round = -1; round < Rounds; round++)
        {
            for (int i = 0; i < ways.Length; i++)
            {
                string directory = Directory.CreateDirectory(Path.Combine(work, "out")).FullName;
                long start = Stopwatch.GetTimestamp();
                ways[i](directory);
                // The first round warms up.
                if (round >= 0)
                    times[i].Add(Stopwatch.GetElapsedTime(start).TotalMilliseconds);
                using Process rm = Process.Start("rm", ["-rf", directory]);
                rm.WaitForExit();
            }
        }

        return [.. times.Select(t => t.Order().ElementAt(t.Count / 2))];
    }

    /// <summary>A thread writes to a pipe what the unpacker reads, as the runner does for spark.</summary>
    private static void Ours(Func<Stream> open, string directory)
    {
        using var pipe = new System.IO.Pipes.AnonymousPipeServerStream(System.IO.Pipes.PipeDirection.Out);
        using var reader = new SafeFileHandle((nint)pipe.ClientSafePipeHandle.DangerousGetHandle(), ownsHandle: false);
        var writer = new Thread(() =>
        {
            using Stream source = open();
            source.CopyTo(pipe, 256 << 10);
            pipe.Dispose();
        });
        writer.Start();
        Unpack(reader, directory);
        writer.Join();
    }

    private static void Ours(FileStream tar, string directory) => Unpack(tar.SafeFileHandle, directory);

    private static void Unpack(SafeFileHandle tar, string directory)
    {
        using var root = new SafeFileHandle(Directories.Open(directory), ownsHandle: true);
        LayerUnpacker.Unpack((int)tar.DangerousGetHandle(), (int)root.DangerousGetHandle(), new SparkUnpack { MaxBytes = long.MaxValue, MaxEntries = long.MaxValue }, -1);
    }

    private static void Tar(string command)
    {
        using Process process = Process.Start("/bin/sh", ["-c", command]);
        process.WaitForExit();
        if (process.ExitCode != 0)
            throw new InvalidOperationException($"{command} ended with {process.ExitCode}");
    }
}
