namespace Xfn.Core.Registry;

/// <summary>A search for a registry's credentials: what it found, and where it looked, which the error of a refused
/// pull tells.</summary>
internal sealed class CredentialSearch
{
    /// <summary>Where a response keeps the search whose credentials it answers.</summary>
    public static readonly HttpRequestOptionsKey<CredentialSearch> Key = new("xfn.credentials");

    private readonly List<string> _places = [];

    /// <summary>What was found; anonymous when nothing was.</summary>
    public RegistryCredentials Credentials { get; private set; } = RegistryCredentials.Anonymous;

    public bool HasFound => !ReferenceEquals(Credentials, RegistryCredentials.Anonymous);

    /// <summary>Ends the search at a place that has credentials.</summary>
    public void Take(string place, RegistryCredentials credentials)
    {
        Credentials = credentials;
        _places.Add($"{place} (found)");
    }

    /// <summary>Notes that a place has none, and why.</summary>
    public void Pass(string place, string found) => _places.Add($"{place} ({found})");

    /// <summary>For behind what a registry answered: where credentials were looked for, in order, and what was
    /// there.</summary>
    public string Describe() => _places.Count == 0 ? "" : $"; credentials were looked for in {string.Join(", ", _places)}";
}
