namespace Xfn.Core.Spark.Tests;

internal sealed class LayeringTests() : LayeringFixture("xfn-spark", "Xfn.Core.Spark", "Xfn.Core.Spark");
