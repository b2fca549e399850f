using Xfn.Core.Spark;

namespace Xfn.Core.Tests.Spark;

/// <summary>A spark that a hostile layer took over may say anything.</summary>
internal sealed class SparkProcessTests
{
    private string _file = "";

    [SetUp]
    public void MakeFile() => _file = Path.GetTempFileName();

    [TearDown]
    public void DeleteFile() => File.Delete(_file);

    [Test, CancelAfter(60_000)]
    public async Task What_it_announces_and_does_not_send_takes_no_memory(CancellationToken token)
    {
        using var spawner = new Spawner([0, 0, 0, 3, 1, 0, 0, 0]);
        using var executable = new SparkFile(File.OpenRead(_file), _file);
        long before = GC.GetTotalAllocatedBytes(precise: true);
        Task<SparkProcess> starting = SparkProcess.StartAsync(spawner, executable, "run", "/", Mapping, token);
        await spawner.Waiting.WaitAsync(token);
        Assert.That(GC.GetTotalAllocatedBytes(precise: true) - before, Is.LessThan(16 << 20));
        spawner.Kill();
        await Assert.ThatAsync(() => starting, Throws.InstanceOf<ContainerEnvironmentException>().With.Message.Contains("killed"));
    }

    [TestCase(new byte[] { 255, 255, 255, 255, 1 })]
    [TestCase(new byte[] { 1, 0, 0, 0, 77 })]
    [TestCase(new byte[] { 2, 0, 0, 0, 1, 0 })]
    [CancelAfter(60_000)]
    public async Task What_cannot_be_understood_is_told_as_an_error_of_the_environment(byte[] said, CancellationToken token)
    {
        using var spawner = new Spawner(said);
        using var executable = new SparkFile(File.OpenRead(_file), _file);
        await Assert.ThatAsync(
            () => SparkProcess.StartAsync(spawner, executable, "run", "/", Mapping, token),
            Throws.InstanceOf<ContainerEnvironmentException>().With.Message.StartsWith("cannot understand xfn-spark: "));
    }

    private static IdMapping Mapping => new() { Uids = [new(0, 0, 1)], Gids = [new(0, 0, 1)], Method = IdMappingMethod.Self };

    /// <summary>Starts nothing, and says some bytes in its place.</summary>
    private sealed class Spawner(byte[] said) : SpawnedNamespace, INamespaceSpawner, IDisposable
    {
        private readonly TaskCompletionSource _waiting = new(TaskCreationOptions.RunContinuationsAsynchronously);
        private readonly TaskCompletionSource<string> _ended = new(TaskCreationOptions.RunContinuationsAsynchronously);
        private readonly MemoryStream _said = new(said);

        /// <summary>Ends when all has been read and more is asked for.</summary>
        public Task Waiting => _waiting.Task;

        public override Stream Input => Stream.Null;

        public override Stream Output => new Pieces(this);

        public override Task<string> Ended => _ended.Task;

        public Task<SpawnedNamespace> SpawnAsync(NamespaceRequest request, CancellationToken cancellationToken = default) => Task.FromResult<SpawnedNamespace>(this);

        public override Task MapIdsAsync(int processId, CancellationToken cancellationToken = default) => Task.CompletedTask;

        public override void Kill() => _ended.TrySetResult("killed");

        public override ValueTask DisposeAsync() => ValueTask.CompletedTask;

        public void Dispose() => _said.Dispose();

        private sealed class Pieces(Spawner spawner) : MemoryStream
        {
            public override async ValueTask<int> ReadAsync(Memory<byte> buffer, CancellationToken cancellationToken = default)
            {
                int count = spawner._said.Read(buffer.Span);
                if (count > 0)
                    return count;
                spawner._waiting.TrySetResult();
                await spawner._ended.Task.WaitAsync(cancellationToken);
                return 0;
            }
        }
    }
}
