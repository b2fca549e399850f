using System.Security.Cryptography;
using System.Text;
using Microsoft.Extensions.Logging.Abstractions;
using Xfn.Core.Cache;
using Xfn.Core.Layers;
using Xfn.Core.Spark;

namespace Xfn.Core.Tests.Layers;

/// <summary>A stored layer is whole, and named by what it is. It belongs to whoever has its blob.</summary>
[CancelAfter(60_000)]
internal sealed class LayerStoreTests
{
    private static readonly IdMapping Mapping = new() { Uids = [new(0, 0, 1)], Gids = [new(0, 0, 1)], Method = IdMappingMethod.Self };
    private static readonly Digest One = Digest.Compute("one"u8), Two = Digest.Compute("two"u8);

    private TemporaryDirectory _directory = null!;
    private CacheDirectory _cache = null!;
    private SparkLauncher _sparks = null!;
    private LayerStore _store = null!;

    private string Layers => Path.Combine(_directory["cache"], "store", Mapping.Key, "layers");

    private string Incoming => Directory.GetDirectories(Path.Combine(_directory["cache"], "incoming")).Single();

    [SetUp]
    public void Make()
    {
        _directory = new TemporaryDirectory();
        _cache = new CacheDirectory(_directory["cache"], Mapping);
        // Files that a test writes are its own: no spark is needed to remove them.
        _sparks = new SparkLauncher(new NamespaceSpawner(), () => Task.FromException<SparkFile>(new InvalidOperationException("a spark was wanted")), Mapping);
        _store = new LayerStore(_cache, _sparks, TimeProvider.System, NullLogger.Instance);
    }

    [TearDown]
    public async Task Remove()
    {
        await _store.FinishAsync();
        _sparks.Dispose();
        _cache.Dispose();
        _directory.Dispose();
    }

    [Test]
    public async Task A_layer_is_made_once_for_all_who_want_it(CancellationToken token)
    {
        using var cache = new CacheDirectory(_directory["cache"], Mapping);
        var another = new LayerStore(cache, _sparks, TimeProvider.System, NullLogger.Instance);
        int made = 0;
        StoredLayer[] layers = await Task.WhenAll(Enumerable.Range(0, 20).Select(i => (i % 2 == 0 ? _store : another).MakeAsync(LayerNames.Of(One), directory =>
        {
            Interlocked.Increment(ref made);
            File.WriteAllText(Path.Combine(directory, "file"), "content");
            return Task.FromResult(Record(One));
        }, token)));
        await another.FinishAsync();
        Assert.That(made, Is.EqualTo(1));
        Assert.That(layers.Select(l => (l.Id, l.Record.DiffId)), Is.All.EqualTo((One.Hex, $"{One}")));
        Assert.That(File.ReadAllText(Path.Combine(Layers, One.Hex, "file")), Is.EqualTo("content"));
        Assert.That(_store.List(), Is.EqualTo(new Dictionary<string, long> { [One.Hex] = 5 }));
    }

    [Test]
    public async Task What_could_not_be_made_leaves_nothing_and_can_be_made_later(CancellationToken token)
    {
        await Assert.ThatAsync(() => _store.MakeAsync(LayerNames.Of(One), directory =>
        {
            File.WriteAllText(Path.Combine(directory, "half"), "");
            throw new IOException("full");
        }, token), Throws.TypeOf<IOException>().With.Message.EqualTo("full"));
        Assert.That((_store.Find(LayerNames.Of(One)), Directory.GetFileSystemEntries(Layers).Length, Directory.GetFileSystemEntries(Incoming).Length), Is.EqualTo(((StoredLayer?)null, 0, 0)));
        await MakeAsync(Record(One), token);
        Assert.That(_store.Find(LayerNames.Of(One)), Is.Not.Null);
    }

    [TestCase("another version")]
    [TestCase("cut off")]
    [TestCase("of a boot that is over")]
    [TestCase("of another mapping's higher ids")]
    public async Task A_layer_whose_record_is_not_believed_is_made_anew(string record, CancellationToken token)
    {
        await MakeAsync(Record(One), token);
        await _store.FinishAsync();
        string file = Path.Combine(Layers, One.Hex, "layer.json");
        byte[] good = await File.ReadAllBytesAsync(file, token);
        await File.WriteAllBytesAsync(file, record switch
        {
            "another version" => (Record(One) with { Format = LayerRecord.CurrentFormat + 1 }).ToJson(),
            "cut off" => good[..^1],
            "of a boot that is over" => (Record(One) with { Boot = "another" }).ToJson(),
            _ => (Record(One) with { HighestUid = 70_000, IdsBeyond = "another" }).ToJson(),
        }, token);
        Assert.That(_store.Find(LayerNames.Of(One)), Is.Null);
        await MakeAsync(Record(One) with { Entries = 7 }, token);
        Assert.That(_store.Find(LayerNames.Of(One))?.Record.Entries, Is.EqualTo(7));
        Assert.That(Directory.GetFileSystemEntries(Incoming), Is.Empty, "what stood there was not removed");
    }

    [Test]
    public async Task A_layer_is_not_given_to_an_image_that_only_claims_its_DiffID(CancellationToken token)
    {
        Descriptor blob = Blob("blob"), other = Blob("other");
        await MakeAsync(Record(One, blob), token);
        Assert.That(_store.Find([blob], [One], 0)?.Id, Is.EqualTo(One.Hex));
        Assert.That(_store.Find([other], [One], 0), Is.Null);
    }

    [Test]
    public async Task A_layer_that_hides_things_below_it_is_found_above_those_where_it_is_known_to(CancellationToken token)
    {
        Descriptor blob = Blob("blob");
        Descriptor[] blobs = [Blob("base"), blob];
        await MakeAsync(Record(Two, blob) with { WhiteoutDirectories = ["etc"] }, token);
        Assert.That(_store.Find(blobs, [One, Two], 1), Is.Null, "nothing is known of what lies below");
        await _store.FinishAsync();
        _store.Update(LayerNames.Of(Two), Record(Two, blob) with { WhiteoutDirectories = ["etc"], Above = [LayerNames.OfChain([One], 0)] });
        Assert.That(_store.Find(blobs, [One, Two], 1)?.Id, Is.EqualTo(Two.Hex));
        Assert.That(_store.Find(blobs, [Digest.Compute("another"u8), Two], 1), Is.Null, "it lies above another");

        // Unpacked with regard to what lies below, it has another name.
        string chain = LayerNames.OfChain([Digest.Compute("another"u8), Two], 1);
        await _store.MakeAsync(chain, _ => Task.FromResult(Record(Two, blob)), token);
        Assert.That(_store.Find(blobs, [Digest.Compute("another"u8), Two], 1)?.Id, Is.EqualTo(chain));
    }

    [Test]
    public async Task What_an_image_wants_by_then_and_what_somebody_holds_is_not_removed(CancellationToken token)
    {
        Digest held = Digest.Compute("held"u8);
        foreach (Digest diffId in new[] { One, Two, held })
            await MakeAsync(Record(diffId), token);
        await _store.FinishAsync();
        using (await _store.LockAsync(LayerNames.Of(held), null, token))
        {
            RemovedLayers removed = await _store.RemoveAsync([One.Hex, Two.Hex, held.Hex], () =>
            {
                Assert.That(_store.List().Keys, Is.EqualTo((string[])[held.Hex]), "they are out of sight when it is asked who wants them");
                return new HashSet<string> { Two.Hex };
            }, token);
            Assert.That(removed.Count, Is.EqualTo(1));
        }

        Assert.That(_store.List().Keys, Is.EquivalentTo((string[])[Two.Hex, held.Hex]));
        Assert.That(Directory.GetFiles(Path.Combine(_directory["cache"], "locks")).Select(Path.GetFileName), Is.EquivalentTo((string[])[Two.Hex, held.Hex]));
    }

    [Test]
    public void Names_are_the_specifications_ids()
    {
        Digest chain = Digest.FromHash("sha256", SHA256.HashData(Encoding.ASCII.GetBytes($"{One} {Two}")));
        Assert.That(LayerNames.OfChain([One, Two], 0), Is.EqualTo($"chain-{One.Hex}"));
        Assert.That(LayerNames.OfChain([One, Two], 1), Is.EqualTo($"chain-{chain.Hex}"));
        string flattened = LayerNames.OfFlattened(LayerNames.OfChain([One, Two], 1), "x.flat");
        Assert.That(LayerNames.AllOf([One, Two]), Is.EqualTo((string[])[One.Hex, Two.Hex, $"chain-{One.Hex}", $"chain-{chain.Hex}", LayerNames.BaseOf(flattened)]));
        foreach (string name in LayerNames.AllOf([One, Two]).Append(flattened))
            Assert.That(LayerNames.IsName(name), name);
        foreach (string name in new[] { "", "chain-", "image-" + One.Hex, One.Hex[1..], "sha512-" + One.Hex })
            Assert.That(LayerNames.IsName(name), Is.False, name);
    }

    [Test]
    public void Of_layers_upon_one_another_those_above_the_last_opaque_root_show_each_once()
    {
        StoredLayer Layer(string id, bool opaque = false) => new(id, Record(One) with { OpaqueRoot = opaque });
        string Shown(params StoredLayer[] baseFirst) => string.Join(' ', StoredLayer.VisibleLayers(baseFirst).Select(l => l.Id));
        Assert.That(Shown(Layer("a"), Layer("b"), Layer("c")), Is.EqualTo("c b a"));
        Assert.That(Shown(Layer("a"), Layer("b", opaque: true), Layer("c")), Is.EqualTo("c b"));
        Assert.That(Shown(Layer("a"), Layer("b"), Layer("a")), Is.EqualTo("a b"));
    }

    private static Descriptor Blob(string content) => new() { MediaType = MediaTypes.OciLayer, Digest = Digest.Compute(Encoding.UTF8.GetBytes(content)), Size = content.Length };

    private static LayerRecord Record(Digest diffId, Descriptor? blob = null) => new() { DiffId = $"{diffId}", Blobs = [$"{(blob ?? Blob("blob")).Digest}"], Entries = 1, Bytes = 5 };

    private Task<StoredLayer> MakeAsync(LayerRecord record, CancellationToken token) => _store.MakeAsync(LayerNames.Of(Digest.Parse(record.DiffId)), _ => Task.FromResult(record), token);
}
