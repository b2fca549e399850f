using System.Text;
using Xfn.Core.Sources;

namespace Xfn.Core.Tests.Sources;

internal sealed class OciDocumentsTests
{
    /// <summary>Half of a surrogate pair can be escaped in JSON, and is no text.</summary>
    [TestCase("""{"schemaVersion":2,"artifactType":"\ud800","layers":[]}""")]
    [TestCase("""{"schemaVersion":2,"config":{"mediaType":"\udc00"},"layers":[]}""")]
    [TestCase("""{"schemaVersion":2,"mediaType":"\ud800","layers":[]}""")]
    public void A_type_that_is_no_text_is_refused_as_what_it_is(string json)
    {
        ImageReference image = ImageReference.Parse("registry.example/fn:v1");
        byte[] manifest = Encoding.UTF8.GetBytes(json);
        Assert.That(
            () =>
            {
                OciDocuments.KindOf(image, new FetchedManifest { Content = manifest });
                OciDocuments.CheckIsImage(image, manifest);
                OciDocuments.ParseManifest(image, manifest);
            },
            Throws.InstanceOf<InvalidImageException>().With.Message.Contains(image.ToString()));
    }
}
