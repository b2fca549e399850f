using Google.Protobuf.WellKnownTypes;
using Xfn.Core.Composition.Protocol;

namespace Xfn.Core.Composition.Rendering;

/// <summary>The conditions of a composite resource.</summary>
internal static class CompositeConditions
{
    private const int MostNames = 3;

    /// <summary>Whether Crossplane alone sets a condition.</summary>
    public static bool IsSystem(string type) => type is "Ready" or "Synced" or "Healthy" or "UpToDate" or "Responsive";

    public static Struct Make(string type, string status, string reason, string message = "") =>
        new Struct().Set("lastTransitionTime", "now").Set("message", message).Set("reason", reason).Set("status", status).Set("type", type);

    public static string Text(Status status) => status switch
    {
        Status.ConditionTrue => "True",
        Status.ConditionFalse => "False",
        _ => "Unknown",
    };

    /// <summary>Why it is not ready.</summary>
    /// <param name="resources">The names of the resources that are not, sorted.</param>
    public static string Unready(string[] resources)
    {
        if (resources.Length == 0)
            return "";
        string more = resources.Length > MostNames ? $", and {resources.Length - MostNames} more" : "";
        return $"Unready resources: {string.Join(", ", resources.Take(MostNames))}{more}";
    }
}
