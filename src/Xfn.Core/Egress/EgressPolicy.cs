using System.Net;
using System.Net.Sockets;

namespace Xfn.Core.Egress;

/// <summary>What a container may reach outside: a list of hosts and ports.</summary>
internal sealed class EgressPolicy
{
    /// <summary>How many rules a list may have.</summary>
    public const int MaxRules = 256;

    private readonly HashSet<EgressTarget> _exact = [];
    private readonly HashSet<(string Domain, int Port)> _below = [];

    private EgressPolicy()
    {
    }

    /// <summary>The hosts that are listed by their whole name.</summary>
    public IEnumerable<EgressTarget> Names => _exact.Where(target => target.Address is null);

    /// <summary>Whether hosts are listed by their number.</summary>
    public bool HasAddresses => _exact.Any(target => target.Address is not null);

    /// <summary>Reads rules: <c>HOST:PORT</c>, <c>*.DOMAIN:PORT</c> (every name below the domain, and not the domain
    /// itself), <c>192.0.2.1:PORT</c>, <c>[2001:db8::1]:PORT</c>.</summary>
    /// <exception cref="InvalidRequestException">One is none of these, or there are too many.</exception>
    public static EgressPolicy Parse(IReadOnlyCollection<string> rules)
    {
        if (rules.Count > MaxRules)
            throw new InvalidRequestException($"cannot use {rules.Count} rules of egress: expected at most {MaxRules}. List domains ('*.DOMAIN:PORT') in place of their hosts.");
        var policy = new EgressPolicy();
        foreach (string rule in rules)
            policy.Add(rule);
        return policy;
    }

    /// <summary>Whether a rule has this host and port. An address is listed by its number only.</summary>
    public bool Lists(EgressTarget target)
    {
        if (_exact.Contains(target))
            return true;
        string name = target.Name;
        for (int dot = name.IndexOf('.', StringComparison.Ordinal); dot > 0; dot = name.IndexOf('.', dot + 1))
        {
            if (_below.Contains((name[(dot + 1)..], target.Port)))
                return true;
        }

        return false;
    }

    private void Add(string? rule)
    {
        bool isBelow = rule?.StartsWith("*.", StringComparison.Ordinal) == true;
        string found = "it is empty";
        EgressTarget? target = string.IsNullOrEmpty(rule) ? null : EgressTarget.TryParse(isBelow ? rule.AsSpan(2) : rule, 0, out found);
        if (target is null)
            throw Refused(rule, found);
        if (isBelow && target.Address is not null)
            throw Refused(rule, "nothing is below an address");
        if (target.Address is { } address && IsNobodys(address))
            throw Refused(rule, "no single machine has this address");

        if (isBelow)
            _below.Add((target.Name, target.Port));
        else
            _exact.Add(target);
    }

    /// <summary>Unspecified, broadcast, multicast: the kernel would connect to something else, or to nothing.</summary>
    private static bool IsNobodys(IPAddress address) => address.AddressFamily == AddressFamily.InterNetwork
        ? address.GetAddressBytes()[0] is 0 or >= 224
        : address.IsIPv6Multicast || address.Equals(IPAddress.IPv6Any);

    private static InvalidRequestException Refused(string? rule, string found) =>
        new($"cannot use egress '{rule}': {found}. Write HOST:PORT, *.DOMAIN:PORT, ADDRESS:PORT or [IPV6-ADDRESS]:PORT; names of other alphabets in their ASCII form (xn--…).");
}
