namespace Xfn.Core.Tests.Conventions;

internal sealed class LayeringTests() : LayeringFixture("Xfn.Core", "Xfn.Core", "Xfn.Core");
