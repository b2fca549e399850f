using System.Net.Http.Headers;

namespace Xfn.Core.Registry;

/// <summary>Whose requests for what share an authorization.</summary>
/// <param name="Registry">Scheme, host and port.</param>
/// <param name="Repository">The repository.</param>
/// <param name="Auth">Credentials that came with the request; null for the runner's own.</param>
internal sealed record AuthorizationKey(string Registry, string Repository, ImagePullAuth? Auth);

/// <summary>What to send.</summary>
/// <param name="Header">The header.</param>
/// <param name="Challenge">What it answers, to get the next one.</param>
/// <param name="Expires">The timestamp at which it is not good any more; the greatest when it is good until it is
/// refused.</param>
internal sealed record Authorization(AuthenticationHeaderValue Header, Challenge Challenge, long Expires)
{
    public bool IsExpired(TimeProvider time) => time.GetTimestamp() >= Expires;
}

/// <summary>Where an authorization is kept.</summary>
internal sealed class AuthorizationSlot
{
    private Authorization? _current;
    private CredentialSearch? _search;

    /// <summary>Held by who gets another authorization.</summary>
    public SemaphoreSlim Gate { get; } = new(1, 1);

    public Authorization? Current
    {
        get => Volatile.Read(ref _current);
        set => Volatile.Write(ref _current, value);
    }

    /// <summary>The latest search for the credentials behind it; null before the registry has asked for any.</summary>
    public CredentialSearch? Search
    {
        get => Volatile.Read(ref _search);
        set => Volatile.Write(ref _search, value);
    }

    /// <summary>Drops what was refused, unless it was replaced meanwhile.</summary>
    public void Forget(Authorization? refused) => Interlocked.CompareExchange(ref _current, null, refused);
}

/// <summary>The authorizations in use, the least recently used of too many forgotten.</summary>
internal sealed class AuthorizationCache
{
    private const int Limit = 512;

    private readonly Lock _lock = new();
    private readonly Dictionary<AuthorizationKey, (AuthorizationSlot Slot, long Used)> _slots = [];
    private long _clock;

    public AuthorizationSlot Get(AuthorizationKey key)
    {
        lock (_lock)
        {
            AuthorizationSlot slot = _slots.TryGetValue(key, out (AuthorizationSlot Slot, long Used) entry) ? entry.Slot : new AuthorizationSlot();
            _slots[key] = (slot, ++_clock);
            if (_slots.Count > Limit)
                _slots.Remove(_slots.MinBy(s => s.Value.Used).Key);
            return slot;
        }
    }
}
