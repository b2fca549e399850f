using System.Text.Json;

namespace Xfn.Core;

/// <summary>Says what is wrong with a JSON document in the document's own terms: the serializer speaks of .NET's
/// types.</summary>
internal static class JsonFault
{
    // Of the serializer's messages: that a property is missing, that one is null, and that a null is read for a number.
    private const string Missing = "including:";
    private const string Null = "null values";
    private const string NullToken = "'Null'";

    /// <summary>What is wrong, to follow "cannot read X: ".</summary>
    public static string Describe(JsonException exception)
    {
        string where = exception.Path is null or "$" or "" ? "it" : $"its {exception.Path.TrimStart('$').TrimStart('.')}";
        int missing = exception.Message.IndexOf(Missing, StringComparison.Ordinal);
        if (missing >= 0)
            return $"{where} lacks {exception.Message[(missing + Missing.Length)..].Split(". ")[0].Trim().TrimEnd('.')}";

        if (exception is UnexpectedValueException unexpected)
            return $"{where} is not what it must be: expected {unexpected.Expected}";

        // The reader's own exceptions, of an internal type, are about JSON as such; the serializer's about its meaning.
        if (exception.GetType() != typeof(JsonException) || exception.InnerException is JsonException)
            return $"it is no valid JSON (line {exception.LineNumber + 1}, byte {exception.BytePositionInLine + 1})";
        if (exception.Message.Contains(Null, StringComparison.Ordinal) || exception.InnerException?.Message.Contains(NullToken, StringComparison.Ordinal) == true)
            return $"{where} is null";
        return $"{where} is of another kind than it must be, or comes twice";
    }
}

/// <summary>A value of a JSON document is of the right kind, and is none that it may be.</summary>
/// <param name="expected">What was expected, to follow "expected ".</param>
internal sealed class UnexpectedValueException(string expected) : JsonException($"expected {expected}")
{
    public string Expected => expected;
}
