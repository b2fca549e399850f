namespace Xfn.Core.Tests.Conventions;

internal sealed class LayeringTests() : LayeringFixture("Xfn.Core", "Xfn.Core", "Xfn.Core")
{
    /// <summary>The command line looks after its own console; everything else is declared once.</summary>
    [Test]
    public void The_C_library_is_declared_in_the_rooms_for_it() => Assert.That(
        SourceTree.Code(SourceTree.Root()).Where(file => file.Code.Contains("[LibraryImport(\"libc\"", StringComparison.Ordinal))
            .Select(file => $"{file.Project}/{file.Room}").Distinct(),
        Is.EquivalentTo(["Xfn.Core.Interop/", "Xfn.Core/Interop", "Xfn.Cli/"]));
}
