using System.Buffers.Binary;
using System.Collections.Concurrent;
using System.Security.Cryptography;
using System.Text;

namespace Xfn.Core.Remote;

/// <summary>Remembers for each image how far in its order of servers its runs went to find a place.</summary>
/// <remarks>An image with more runs than one server takes would ask the servers before that in vain for each of them. A
/// run begins one before the last, so they come back when there is less to do. docs/fleet.md has what comes of
/// it.</remarks>
internal sealed class ImageTurns
{
    /// <summary>Of more images that is forgotten, and found out anew.</summary>
    private const int MostImages = 10_000;

    private readonly ConcurrentDictionary<string, int> _places = new();

    /// <summary>The turn of a run that begins.</summary>
    /// <param name="image">The image, as the caller writes it.</param>
    /// <param name="mayWait">Whether the first server may have it wait.</param>
    public ImageTurn Begin(string image, bool mayWait) => new(image, Math.Max(0, _places.GetValueOrDefault(image) - 1)) { MayWait = mayWait };

    /// <summary>A server took the run.</summary>
    public void Remember(ImageTurn turn)
    {
        // One that may wait finds no place: it is given to where it began.
        if (turn.MayWait)
            return;
        if (turn.Place == 0)
        {
            _places.TryRemove(turn.Image, out _);
            return;
        }

        if (_places.Count >= MostImages)
            _places.Clear();
        _places[turn.Image] = turn.Place;
    }
}

/// <summary>One run's way through the servers, in the order of its image.</summary>
/// <param name="image">The image.</param>
/// <param name="begin">The place in that order where it begins.</param>
internal sealed class ImageTurn(string image, int begin)
{
    private static readonly AsyncLocal<ImageTurn?> InThisCall = new();

    private readonly ulong _hash = HashOf(image);
    private int _servers = 1;
    private int _step;

    /// <summary>Gets or sets the turn of the call that is made here: gRPC hands nothing of a caller's to what chooses
    /// the server. Null for a call that belongs to no image.</summary>
    public static ImageTurn? Current
    {
        get => InThisCall.Value;
        set => InThisCall.Value = value;
    }

    public string Image => image;

    /// <summary>Whether the server may have the run wait: when all have been asked for a place.</summary>
    public bool MayWait { get; set; }

    /// <summary>The place of the server in the image's order, the first of which is 0.</summary>
    public int Place => (begin + _step) % _servers;

    /// <summary>Goes on to a later server; to the first again when the last was asked. The steps grow, so that of a
    /// thousand busy servers 31 are asked, and of up to nine all.</summary>
    public void Next()
    {
        _step += Math.Max(1, _step / 4);
        if (_step < _servers)
            return;
        _step = 0;
        MayWait = true;
    }

    /// <summary>Chooses a server.</summary>
    /// <param name="servers">Hashes of the servers that there are, at least one.</param>
    /// <returns>Which of them.</returns>
    /// <remarks>Rendezvous hashing: the order is that of a hash of image and server, so a server that comes or goes
    /// changes nothing in the order of the others.</remarks>
    public int ChooseFrom(ReadOnlySpan<ulong> servers)
    {
        _servers = servers.Length;
        var weights = new ulong[servers.Length];
        var order = new int[servers.Length];
        for (int i = 0; i < servers.Length; i++)
            (weights[i], order[i]) = (Mix(_hash ^ servers[i]), i);
        Array.Sort(weights, order);
        return order[^(Place + 1)];
    }

    /// <returns>A hash that is the same in every process.</returns>
    public static ulong HashOf(string name) => BinaryPrimitives.ReadUInt64LittleEndian(SHA256.HashData(Encoding.UTF8.GetBytes(name)));

    /// <summary>Makes each bit depend on all bits, as SplitMix64 does.</summary>
    private static ulong Mix(ulong hash)
    {
        hash = (hash ^ (hash >> 30)) * 0xbf58476d1ce4e5b9;
        hash = (hash ^ (hash >> 27)) * 0x94d049bb133111eb;
        return hash ^ (hash >> 31);
    }
}
