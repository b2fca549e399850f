namespace Xfn.Core.Spark.Tests;
