using System.Globalization;
using System.Text;

namespace Xfn.Core.Benchmarks;

/// <summary>Shows rows: as Markdown, as JSON, as a picture.</summary>
internal static class Table
{
    private static readonly string[] Head = ["", "as", "ms", "p90", "p95", "p99"];
    private static readonly string[] Tail = ["ratio", "KiB a run", "peak MiB"];

    /// <returns>The status of the program: 0 when nothing of ours failed.</returns>
    public static int Show(string json, string svg, string[] files)
    {
        Row[] rows = [.. files.SelectMany(Row.Read)];
        foreach (IGrouping<string, Row> table in rows.GroupBy(r => r.Table))
        {
            Console.WriteLine($"\n### {char.ToUpperInvariant(table.Key[0])}{table.Key[1..]}\n");
            Console.Write(Markdown([.. table.Where(r => r.LeftOut is null)], table.Key == Row.Comparison));
            foreach (Row row in table.Where(r => r.LeftOut is not null))
                Console.WriteLine($"\nLeft out: {row.Name}, as {row.Caller}{(row.Peer.Length == 0 ? "" : $", against {row.Peer}")}: {row.LeftOut}");
        }

        if (json.Length > 0)
            Row.Write(json, rows);
        if (svg.Length > 0)
            File.WriteAllText(svg, Picture.Draw([.. rows.Where(r => r is { Table: Row.Comparison, Ratio: not null })]));
        return rows.Any(r => r.LeftOut is not null && r.Peer.Length == 0) ? 1 : 0;
    }

    private static string Markdown(IReadOnlyList<Row> rows, bool isComparison)
    {
        // What grows is held against the first of its own rows.
        string[][] cells =
        [
            isComparison ? [.. Head, "against", "ms", .. Tail] : [.. Head, .. Tail],
            .. rows.Select(r => (string[])
            [
                r.Name, r.Caller, Number(r.Median), Number(r.P90), Number(r.P95), Number(r.P99),
                .. isComparison ? (string[])[r.Peer.Replace("|", "\\|", StringComparison.Ordinal), Number(r.PeerMedian)] : [],
                Number(r.Ratio), Number(r.AllocatedKiB), Number(r.PeakMiB),
            ]),
        ];
        int[] widths = [.. Enumerable.Range(0, cells[0].Length).Select(column => cells.Max(row => row[column].Length))];
        var text = new StringBuilder();
        for (int row = 0; row < cells.Length; row++)
        {
            text.Append('|').AppendJoin('|', cells[row].Select((cell, column) => $" {(IsText(column) ? cell.PadRight(widths[column]) : cell.PadLeft(widths[column]))} ")).Append("|\n");
            if (row == 0)
                text.Append('|').AppendJoin('|', widths.Select((width, column) => new string('-', width + 1) + (IsText(column) ? "-" : ":"))).Append("|\n");
        }

        return text.ToString();

        bool IsText(int column) => column is 0 or 1 || (isComparison && column == Head.Length);
    }

    private static string Number(double? value) => value?.ToString(Math.Abs(value.Value) < 100 ? "f2" : "f0", CultureInfo.InvariantCulture) ?? "";
}
