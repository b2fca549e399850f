namespace Xfn.Core.Composition.Tests;

internal sealed class LayeringTests() : LayeringFixture("Xfn.Core.Composition", "Xfn.Core.Composition", "Xfn.Core.Composition");
