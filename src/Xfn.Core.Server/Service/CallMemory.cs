namespace Xfn.Core.Server;

/// <summary>Counts the memory of calls in progress: requests as they come, answers until they are taken.</summary>
/// <remarks>When it is full, the largest call whose request still arrives is turned away, among equals the oldest. So
/// large requests that never end block nobody for long, and small calls get in even then.</remarks>
internal sealed class CallMemory(long mostBytes)
{
    // What was turned away is freed a moment later. It may be so much of the whole at once.
    private const int LeavingShare = 4;

    private readonly Lock _lock = new();

    // Calls whose request still arrives, by the power of two that their bytes have, the oldest first.
    private readonly LinkedList<CallShare>[] _arriving = [.. Enumerable.Range(0, 64).Select(_ => new LinkedList<CallShare>())];
    private long _bytes;
    private long _leaving;

    /// <summary>Counts a call that has begun. One without memory is turned away as it reads its request.</summary>
    public void Enter(CallShare share, long bytes)
    {
        lock (_lock)
            share.Place = _arriving[Size(share)].AddLast(share);
        TryAdd(share, bytes);
    }

    /// <summary>Counts bytes that a call takes besides what it has.</summary>
    /// <returns>Whether there is memory for them. If not, the call has been turned away.</returns>
    public bool TryAdd(CallShare share, long bytes)
    {
        List<CallShare>? turnedAway = null;
        bool fits;
        lock (_lock)
            fits = !share.IsTurnedAway && TryMakeRoom(share, bytes, ref turnedAway);
        turnedAway?.ForEach(other => other.TellTurnedAway());
        return fits;
    }

    /// <summary>Counts bytes that a call takes in any case; who comes after it has to wait for them.</summary>
    public void Add(CallShare share, long bytes)
    {
        lock (_lock)
            Count(share, bytes);
    }

    /// <summary>The request of a call has arrived; it is not turned away any more.</summary>
    /// <returns>False when it has been already.</returns>
    public bool Arrive(CallShare share)
    {
        lock (_lock)
        {
            Unlist(share);
            return !share.IsTurnedAway;
        }
    }

    public void Leave(CallShare share)
    {
        lock (_lock)
        {
            Unlist(share);
            if (share.IsTurnedAway)
                _leaving -= share.Bytes;
            else
                _bytes -= share.Bytes;
            share.Bytes = 0;
        }
    }

    private bool TryMakeRoom(CallShare share, long bytes, ref List<CallShare>? turnedAway)
    {
        // A call that is alone always fits.
        while (_bytes + bytes > mostBytes && _bytes > share.Bytes)
        {
            CallShare goes = _leaving > mostBytes / LeavingShare ? share : Largest(share, bytes);
            TurnAway(goes);
            if (goes == share)
                return false;
            (turnedAway ??= []).Add(goes);
        }

        Count(share, bytes);
        return true;
    }

    /// <summary>The call that holds most, and of those of one size the oldest; this one when none is larger.</summary>
    private CallShare Largest(CallShare share, long bytes)
    {
        for (int size = _arriving.Length - 1; size >= Size(share.Bytes + bytes); size--)
        {
            for (LinkedListNode<CallShare>? place = _arriving[size].First; place is not null; place = place.Next)
            {
                if (place.Value != share)
                    return place.Value;
            }
        }

        return share;
    }

    private void TurnAway(CallShare share)
    {
        Unlist(share);
        share.IsTurnedAway = true;
        _bytes -= share.Bytes;
        _leaving += share.Bytes;
    }

    private void Count(CallShare share, long bytes)
    {
        int before = Size(share);
        share.Bytes += bytes;
        if (share.IsTurnedAway)
            _leaving += bytes;
        else
            _bytes += bytes;
        if (share.Place is { } place && Size(share) is var after && after != before)
        {
            _arriving[before].Remove(place);
            _arriving[after].AddLast(place);
        }
    }

    private void Unlist(CallShare share)
    {
        if (share.Place is { } place)
            _arriving[Size(share)].Remove(place);
        share.Place = null;
    }

    private static int Size(CallShare share) => Size(share.Bytes);

    private static int Size(long bytes) => System.Numerics.BitOperations.Log2((ulong)bytes | 1);
}
