using System.Formats.Tar;
using System.Text;
using Microsoft.Win32.SafeHandles;
using Xfn.Core.EndToEnd.Tests.Support;
using Xfn.Core.Spark;

namespace Xfn.Core.EndToEnd.Tests;

/// <summary>Copies into a container that lives, and out of it.</summary>
internal sealed class SparkCopyTests : LivingFixture
{
    private const long Many = 1 << 30;

    [Test, CancelAfter(60_000)]
    public async Task What_is_copied_in_comes_out_again(CancellationToken token)
    {
        await using Living living = await StartAsync("exec sleep 100", token);
        string name = new('n', 200), link = new('l', 150);
        byte[] archive = Archive(
            new PaxTarEntry(TarEntryType.Directory, "d/") { Mode = (UnixFileMode)0b111_101_000 },
            File("d/program", "#!/bin/sh\necho ran\n", (UnixFileMode)0b111_101_101),
            File($"d/{name}", "long"),
            new PaxTarEntry(TarEntryType.SymbolicLink, "d/link") { LinkName = link },
            new PaxTarEntry(TarEntryType.HardLink, "d/same") { LinkName = "d/program" },
            File("without/a/directory/of/its/own", "implied"));

        SparkCopied copied = await CopyInAsync<SparkCopied>(living, "/tmp/new/place", archive, token);
        Assert.That((copied.Entries, copied.Bytes, copied.Warnings), Is.EqualTo((6L, 30L, Array.Empty<string>())));
        Assert.That(await living.Spark.ExecAsync(["sh", "-c", "cd /tmp/new/place; ./d/same; cat without/*/*/*/*/*; busybox stat -c '%a %h %u' d d/program"], token), Is.EqualTo((0, "ran\nimplied750 2 0\n755 2 0\n", "")));
        (byte[] bytes, SparkCopied outcome) = await CopyOutAsync<SparkCopied>(living, "/tmp/new/../new/place/d", token);

        Assert.That(Read(bytes), Is.EquivalentTo([
            "Directory d/ 750 ", "RegularFile d/program 755 #!/bin/sh\necho ran\n", "RegularFile d/same 755 #!/bin/sh\necho ran\n",
            $"RegularFile d/{name} 644 long", $"SymbolicLink d/link 777 {link}"]));
        Assert.That((outcome.Entries, outcome.Bytes), Is.EqualTo((5L, 42L)));
        (bytes, _) = await CopyOutAsync<SparkCopied>(living, "/tmp/new/place/d/program", token);
        Assert.That(Read(bytes), Is.EqualTo(["RegularFile program 755 #!/bin/sh\necho ran\n"]));
    }

    [Test, CancelAfter(60_000)]
    public async Task A_file_takes_the_place_of_what_was_there_and_nothing_is_written_through(CancellationToken token)
    {
        await using Living living = await StartAsync("mkfifo /tmp/fifo; echo old >/tmp/old; ln /tmp/old /tmp/other; ln -s old /tmp/link; mkdir /tmp/directory; touch /tmp/ready; exec sleep 100", token);
        await UntilAsync(living, "test -e /tmp/ready", token);

        SparkCopied copied = await CopyInAsync<SparkCopied>(living, "/tmp", Archive(File("fifo", "1"), File("old", "2"), File("link", "3")), token);
        Assert.That(copied.Entries, Is.EqualTo(3));
        Assert.That((await living.Spark.ExecAsync(["sh", "-c", "cd /tmp; cat fifo old link other; ls -l fifo old link | cut -c1"], token)).Output, Is.EqualTo("123old\n-\n-\n-\n"));

        var refused = await CopyInAsync<SparkRefused>(living, "/tmp", Archive(File("directory", "4")), token);
        Assert.That(refused.Failure.Message, Does.Contain("cannot unpack archive entry 'directory'").And.Contain("Is a directory"));
        refused = await CopyInAsync<SparkRefused>(living, "/etc", Archive(File("new", "5")), token);
        Assert.That(refused.Failure.Message, Does.Contain("Read-only file system"));
    }

    [Test, CancelAfter(60_000)]
    public async Task Links_are_followed_inside_the_root_only(CancellationToken token)
    {
        string outside = Path.Combine(Scratch, "outside");
        Directory.CreateDirectory(outside);
        await System.IO.File.WriteAllTextAsync(Path.Combine(outside, "secret"), "secret", token);
        string script = $"""
            cd /tmp
            mkdir inside
            ln -s /tmp/inside absolute
            ln -s ../../../../../../tmp/inside relative
            ln -s {outside} host
            ln -s /../../../../..{outside} up
            ln -s /proc/1/root/tmp/inside magic
            touch ready
            exec sleep 100
            """;
        await using Living living = await StartAsync(script, token);
        await UntilAsync(living, "test -e /tmp/ready", token);

        await CopyInAsync<SparkCopied>(living, "/tmp", Archive(File("absolute/a", "1"), File("relative/b", "2")), token);
        Assert.That((await living.Spark.ExecAsync(["sh", "-c", "cat /tmp/inside/a /tmp/inside/b"], token)).Output, Is.EqualTo("12"));
        foreach (string link in new[] { "host", "up", "magic" })
        {
            await CopyInAsync<SparkRefused>(living, "/tmp", Archive(File($"{link}/c", "3")), token);
            await CopyInAsync<SparkRefused>(living, $"/tmp/{link}", Archive(File("c", "3")), token);
            await CopyOutAsync<SparkRefused>(living, $"/tmp/{link}/secret", token);
            await CopyOutAsync<SparkRefused>(living, $"/tmp/{link}", token);
        }

        Assert.That(Directory.GetFileSystemEntries(outside), Has.Length.EqualTo(1));
        (byte[] bytes, _) = await CopyOutAsync<SparkCopied>(living, "/tmp/absolute", token);
        Assert.That(Read(bytes), Has.Member("RegularFile absolute/a 644 1"));
    }

    [Test, CancelAfter(60_000)]
    public async Task What_is_no_file_directory_or_link_is_left_out_with_a_warning(CancellationToken token)
    {
        await using Living living = await StartAsync("mkdir /tmp/d; mkfifo /tmp/d/fifo; touch /tmp/d/file; exec sleep 100", token);
        await UntilAsync(living, "test -e /tmp/d/file", token);

        (byte[] bytes, SparkCopied copied) = await CopyOutAsync<SparkCopied>(living, "/tmp/d", token);
        Assert.That(Read(bytes), Is.EquivalentTo(["Directory d/ 755 ", "RegularFile d/file 644 "]));
        Assert.That(copied.Warnings, Is.EqualTo(["'d/fifo' was left out: it is neither a file nor a directory nor a link"]));
        await CopyOutAsync<SparkRefused>(living, "/tmp/d/fifo", token);
        await CopyOutAsync<SparkRefused>(living, "/dev/null", token);
        await CopyOutAsync<SparkRefused>(living, "/proc", token);
        (bytes, copied) = await CopyOutAsync<SparkCopied>(living, "/dev", token);
        Assert.That(Read(bytes), Has.Some.StartsWith("SymbolicLink dev/stdin").And.None.Contains("dev/null"));

        copied = await CopyInAsync<SparkCopied>(living, "/tmp/in", Archive(
            new PaxTarEntry(TarEntryType.Fifo, "fifo"), new PaxTarEntry(TarEntryType.CharacterDevice, "device") { DeviceMajor = 1, DeviceMinor = 3 }, File("file", "")), token);
        Assert.That((copied.Entries, copied.Warnings.Count), Is.EqualTo((3L, 2)));
        Assert.That((await living.Spark.ExecAsync(["ls", "/tmp/in"], token)).Output, Is.EqualTo("file\n"));
    }

    [Test, CancelAfter(60_000)]
    public async Task Limits_hold_both_ways(CancellationToken token)
    {
        await using Living living = await StartAsync("mkdir /tmp/d; echo 1234567 >/tmp/d/a; busybox truncate -s 3000000000 /tmp/d/huge; exec sleep 100", token);
        await UntilAsync(living, "test -e /tmp/d/huge", token);
        byte[] two = Archive(File("a", "12345678"), File("b", "12345678"));

        Assert.That((await CopyInAsync<SparkRefused>(living, "/tmp", two, token, maxBytes: 15)).Failure.Message, Does.Contain("more than 15"));
        Assert.That((await CopyInAsync<SparkRefused>(living, "/tmp", two, token, maxEntries: 1)).Failure.Kind, Is.EqualTo(SparkFailureKind.Limit));
        await CopyInAsync<SparkCopied>(living, "/tmp", two, token, maxBytes: 16, maxEntries: 2);
        Assert.That((await CopyOutAsync<SparkRefused>(living, "/tmp/d", token)).Outcome.Failure.Message, Does.Contain("'d/huge'").And.Contain("more than"));
        Assert.That((await CopyOutAsync<SparkRefused>(living, "/tmp/d", token, maxEntries: 2)).Outcome.Failure.Kind, Is.EqualTo(SparkFailureKind.Limit));
        await CopyInAsync<SparkRefused>(living, "/tmp", two[..700], token);
    }

    [Test, CancelAfter(60_000)]
    public async Task A_copy_ends_with_the_container_and_when_it_is_stopped(CancellationToken token)
    {
        await using Living living = await StartAsync("exec sleep 100", token);
        var waiting = new SparkCopyIn { Id = living.Spark.NextId(), Directory = "/tmp", MaxBytes = Many, MaxEntries = Many };
        SparkOpened opened = await living.Spark.AskAsync<SparkOpened>(waiting.Id, waiting, token);
        await living.Spark.SendAsync(new SparkSignal(waiting.Id, Signals.Terminate), token);
        await living.Spark.AnswerAsync<SparkRefused>(waiting.Id, token);
        await living.Spark.SendAsync(new SparkClose(opened.Descriptors), token);

        waiting = waiting with { Id = living.Spark.NextId() };
        await living.Spark.AskAsync<SparkOpened>(waiting.Id, waiting, token);
        await living.Spark.SendAsync(new SparkSignal(0, Signals.Kill), token);
        var refused = await living.Spark.AnswerAsync<SparkRefused>(waiting.Id, token);
        Assert.That(refused.Failure.Message, Does.Contain("the container has ended"));
    }

    [Test, CancelAfter(120_000)]
    public async Task A_container_that_moves_its_files_meanwhile_leads_no_copy_out(CancellationToken token)
    {
        string outside = Path.Combine(Scratch, "outside");
        Directory.CreateDirectory(outside);
        string script = $"""
            cd /tmp
            mkdir a a/b
            echo file >a/b/file
            ln -s /../../../../../..{outside} c
            touch ready
            while :; do mv a/b a/x; mv c a/b; mv a/b c; mv a/x a/b; done
            """;
        await using Living living = await StartAsync(script, token);
        await UntilAsync(living, "test -e /tmp/ready", token);
        byte[] archive = Archive([.. Enumerable.Range(0, 50).Select(i => File($"a/b/{i}", "x")).Append(File("a/b/file", "again"))]);
        for (int i = 0; i < 20; i++)
        {
            // Either may find something that is gone; neither finds what is outside.
            _ = await CopyInAsync<object>(living, "/tmp", archive, token);
            (byte[] bytes, _) = await CopyOutAsync<object>(living, "/tmp/a", token);
            Assert.That(Encoding.UTF8.GetString(bytes), Does.Not.Contain(outside + "/"));
        }

        Assert.That(Directory.GetFileSystemEntries(outside), Is.Empty);
    }

    private static PaxTarEntry File(string name, string content, UnixFileMode mode = (UnixFileMode)0b110_100_100) =>
        new(TarEntryType.RegularFile, name) { DataStream = new MemoryStream(Encoding.UTF8.GetBytes(content)), Mode = mode };

    private static byte[] Archive(params ReadOnlySpan<PaxTarEntry> entries)
    {
        using var archive = new MemoryStream();
        using (var writer = new TarWriter(archive, leaveOpen: true))
        {
            foreach (PaxTarEntry entry in entries)
                writer.WriteEntry(entry);
        }

        return archive.ToArray();
    }

    private static List<string> Read(byte[] archive)
    {
        var entries = new List<string>();
        using var reader = new TarReader(new MemoryStream(archive));
        while (reader.GetNextEntry() is { } entry)
        {
            using var content = entry.DataStream is null ? null : new StreamReader(entry.DataStream);
            entries.Add($"{entry.EntryType} {entry.Name} {Convert.ToString((int)entry.Mode, 8)} {content?.ReadToEnd() ?? entry.LinkName}");
        }

        return entries;
    }

    private static async Task<T> CopyInAsync<T>(Living living, string directory, byte[] archive, CancellationToken token, long maxBytes = Many, long maxEntries = Many)
    {
        var request = new SparkCopyIn { Id = living.Spark.NextId(), Directory = directory, MaxBytes = maxBytes, MaxEntries = maxEntries };
        SafeFileHandle[] pipe = await living.Spark.TakeAsync(await living.Spark.AskAsync<SparkOpened>(request.Id, request, token), token);
        try
        {
            await using FileStream stream = TappedSpark.Open(pipe.Single(), FileAccess.Write);
            await stream.WriteAsync(archive, token);
        }
        catch (IOException)
        {
            // It was refused before all of it was read.
        }

        return await living.Spark.AnswerAsync<T>(request.Id, token);
    }

    private static async Task<(byte[] Archive, T Outcome)> CopyOutAsync<T>(Living living, string path, CancellationToken token, long maxEntries = Many)
    {
        var request = new SparkCopyOut { Id = living.Spark.NextId(), Path = path, MaxBytes = Many, MaxEntries = maxEntries };
        SafeFileHandle[] pipe = await living.Spark.TakeAsync(await living.Spark.AskAsync<SparkOpened>(request.Id, request, token), token);
        using var archive = new MemoryStream();
        await using FileStream stream = TappedSpark.Open(pipe.Single(), FileAccess.Read);
        await stream.CopyToAsync(archive, token);
        return (archive.ToArray(), await living.Spark.AnswerAsync<T>(request.Id, token));
    }

    private static async Task UntilAsync(Living living, string condition, CancellationToken token)
    {
        while ((await living.Spark.ExecAsync(["sh", "-c", condition], token)).ExitCode != 0)
            token.ThrowIfCancellationRequested();
    }
}
