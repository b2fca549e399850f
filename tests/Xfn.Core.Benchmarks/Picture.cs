using System.Globalization;
using System.Net;
using System.Text;

namespace Xfn.Core.Benchmarks;

/// <summary>Draws ratios as bars: from equality, faster goes left and slower right, by a factor of 2 a step.</summary>
internal static class Picture
{
    private const int Names = 470;
    private const int Step = 48;
    private const int LineHeight = 20;
    private const int Top = 34;

    /// <summary>The scale: from 1/32 to 16.</summary>
    private const int Least = -5;
    private const int Most = 4;
    private const int Zero = Names - Least * Step;
    private const int Width = Zero + Most * Step + 50;

    public static string Draw(IReadOnlyList<Row> rows)
    {
        int bottom = Top + rows.Count * LineHeight;
        var svg = new StringBuilder();
        svg.Append(CultureInfo.InvariantCulture, $"<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{Width}\" height=\"{bottom + 8}\" font-family=\"sans-serif\" font-size=\"12\">\n");
        svg.Append("<rect width=\"100%\" height=\"100%\" fill=\"#fff\"/>\n");
        for (int power = Least; power <= Most; power++)
        {
            int x = Zero + power * Step;
            string label = power < 0 ? $"1/{1 << -power}" : $"{1 << power}";
            svg.Append(CultureInfo.InvariantCulture, $"<path d=\"M{x} {Top - 6}V{bottom}\" stroke=\"{(power == 0 ? "#333" : "#ddd")}\"/><text x=\"{x}\" y=\"{Top - 12}\" text-anchor=\"middle\" fill=\"#555\">{label}</text>\n");
        }

        for (int i = 0; i < rows.Count; i++)
        {
            double ratio = rows[i].Ratio!.Value;
            int y = Top + i * LineHeight;
            int end = Zero + (int)Math.Round(Math.Clamp(Math.Log2(ratio), Least, Most) * Step);
            (int x, int width) = end < Zero ? (end, Zero - end) : (Zero, end - Zero);
            string name = WebUtility.HtmlEncode($"{rows[i].Name} / {rows[i].Peer} ({rows[i].Caller})");
            svg.Append(CultureInfo.InvariantCulture, $"<text x=\"{Names - 8}\" y=\"{y + 14}\" text-anchor=\"end\" fill=\"#111\">{name}</text>");
            svg.Append(CultureInfo.InvariantCulture, $"<rect x=\"{x}\" y=\"{y + 3}\" width=\"{Math.Max(1, width)}\" height=\"{LineHeight - 6}\" fill=\"{(ratio <= 1 ? "#3a9d5d" : "#d08a2e")}\"/>");
            svg.Append(CultureInfo.InvariantCulture, $"<text x=\"{Math.Max(end, Zero) + 5}\" y=\"{y + 14}\" fill=\"#111\">{ratio:f2}</text>\n");
        }

        return svg.Append("</svg>\n").ToString();
    }
}
