namespace Xfn.Core.TestSupport;

/// <summary>An assembly keeps to its map in docs/architecture.md.</summary>
/// <param name="assembly">Its file beside the tests, without the extension.</param>
/// <param name="project">Its folder in <c>src</c>.</param>
/// <param name="root">The namespace of that folder.</param>
internal abstract class LayeringFixture(string assembly, string project, string root)
{
    private readonly Layering _rooms = Layering.Read(assembly, project, root);

    [Test]
    public void Each_file_is_in_a_room_of_the_map() => Assert.That(_rooms.Unmapped(), Is.Empty);

    [Test]
    public void A_room_uses_none_below_it() => Assert.That(_rooms.Upward(), Is.Empty);

    [Test]
    public void A_folder_is_a_namespace() => Assert.That(_rooms.Misplaced(), Is.Empty);
}
