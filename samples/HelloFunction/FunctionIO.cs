using System.Text;
using YamlDotNet.Core;
using YamlDotNet.RepresentationModel;

namespace HelloFunction;

/// <summary>The document that composition functions exchange. It is kept as YAML nodes and not read into types of our
/// own: so fields that this function has never heard of, and their order, are passed on.</summary>
internal sealed class FunctionIO
{
    private const string ApiVersion = "apiextensions.crossplane.io/v1alpha1";
    private const string Kind = "FunctionIO";

    private FunctionIO(YamlMappingNode root) => Root = root;

    public YamlMappingNode Root { get; }

    /// <exception cref="FunctionIOException">The input is no FunctionIO document.</exception>
    public static FunctionIO Read(TextReader reader)
    {
        var stream = new YamlStream();
        try
        {
            stream.Load(new CheckedParser(new Parser(reader)));
        }
        catch (YamlException e)
        {
            throw new FunctionIOException($"cannot read {Kind}: line {e.Start.Line}, column {e.Start.Column}: {e.Message.ReplaceLineEndings(" ").TrimEnd('.')}.", e);
        }
        catch (DecoderFallbackException e)
        {
            throw new FunctionIOException($"cannot read {Kind}: the input is not UTF-8.", e);
        }

        if (stream.Documents.Count != 1)
            throw new FunctionIOException($"cannot read {Kind}: expected one YAML document, found {stream.Documents.Count}.");
        if (stream.Documents[0].RootNode is not YamlMappingNode root)
            throw new FunctionIOException($"cannot read {Kind}: expected a mapping, found a {Yaml.Name(stream.Documents[0].RootNode)}.");

        Expect(root, "apiVersion", ApiVersion);
        Expect(root, "kind", Kind);
        return new FunctionIO(root);
    }

    public void Write(TextWriter writer)
    {
        // A width without bound: folded lines mean the same, but are harder to read and to compare.
        var emitter = new Emitter(writer, EmitterSettings.Default.WithBestWidth(int.MaxValue));
        new YamlStream(new YamlDocument(Root)).Save(new ImplicitEnd(emitter), assignAnchors: false);
    }

    private static void Expect(YamlMappingNode root, string field, string expected)
    {
        string found = root.RequireString(field);
        if (found != expected)
            throw new FunctionIOException($"cannot read {Kind}: expected {field} '{expected}', found '{found}'.");
    }
}
