namespace Xfn.Core.Spark.Tests;

/// <summary>spark keeps to its map in docs/architecture.md.</summary>
internal sealed class LayeringTests
{
    private readonly Layering _rooms = Layering.Read("xfn-spark", "Xfn.Core.Spark", "Xfn.Core.Spark");

    [Test]
    public void Each_file_is_in_a_room_of_the_map() => Assert.That(_rooms.Unmapped(), Is.Empty);

    [Test]
    public void A_room_uses_none_below_it() => Assert.That(_rooms.Upward(), Is.Empty);

    [Test]
    public void A_folder_is_a_namespace() => Assert.That(_rooms.Misplaced(), Is.Empty);
}
