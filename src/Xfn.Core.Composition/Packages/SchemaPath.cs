using System.Text;

namespace Xfn.Core.Composition.Packages;

/// <summary>Writes and reads the path of a field: <c>spec.items[0].labels['a.b/c']</c>.</summary>
internal static class SchemaPath
{
    public static string Field(string path, string name) =>
        name.Length == 0 || name.AsSpan().IndexOfAny(".[]'") >= 0 ? $"{path}['{name.Replace("'", "''", StringComparison.Ordinal)}']" : path.Length == 0 ? name : $"{path}.{name}";

    public static string Item(string path, int index) => $"{path}[{index}]";

    /// <summary>The names and numbers that a path is made of.</summary>
    public static IEnumerable<string> Parts(string path)
    {
        for (int i = 0; i < path.Length;)
        {
            var part = new StringBuilder();
            if (path[i] == '.')
            {
                i++;
                continue;
            }

            if (path[i] != '[')
            {
                while (i < path.Length && path[i] is not ('.' or '['))
                    part.Append(path[i++]);
            }
            else if (path[++i] != '\'')
            {
                while (path[i] != ']')
                    part.Append(path[i++]);
                i++;
            }
            else
            {
                for (i++; path[i] != '\'' || path[i + 1] == '\''; i++)
                {
                    if (path[i] == '\'')
                        i++;
                    part.Append(path[i]);
                }

                i += 2;
            }

            yield return part.ToString();
        }
    }
}
