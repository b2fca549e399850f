using System.Text.RegularExpressions;
using k8s;
using k8s.Models;

namespace Xfn.Core.Hosting.Tests;

/// <summary>The manifests of deploy/kubernetes, read as the types of Kubernetes' API.</summary>
internal sealed partial class KubernetesManifestTests
{
    private static readonly string[] Names = ["fleet.yaml", "host.yaml", "sidecar.yaml"];

    private static readonly Dictionary<string, Type> Kinds = new()
    {
        ["v1/Pod"] = typeof(V1Pod),
        ["v1/Service"] = typeof(V1Service),
        ["apps/v1/Deployment"] = typeof(V1Deployment),
        ["autoscaling/v2/HorizontalPodAutoscaler"] = typeof(V2HorizontalPodAutoscaler),
        ["policy/v1/PodDisruptionBudget"] = typeof(V1PodDisruptionBudget),
        ["networking.k8s.io/v1/NetworkPolicy"] = typeof(V1NetworkPolicy),
    };

    [Test]
    public void All_manifests_are_looked_at() =>
        Assert.That(Directory.EnumerateFiles(Folder(), "*").Select(Path.GetFileName), Is.EquivalentTo(Names));

    [TestCaseSource(nameof(Names))]
    public void Every_field_is_one_of_the_api(string name) => Assert.That(Read(name), Is.Not.Empty.And.All.Not.Null);

    [Test]
    public void A_field_that_the_api_lacks_is_found()
    {
        string[] documents = ReadText("sidecar.yaml").Split("hostUsers:");
        Assert.That(() => Read(string.Join("hostUser:", documents), strict: true), Throws.Exception.With.Message.Contains("hostUser"));
    }

    [TestCaseSource(nameof(Names))]
    public void A_selector_finds_the_pods_beside_it(string name)
    {
        List<object> all = Read(name);
        IDictionary<string, string>[] pods = [.. all.OfType<V1Deployment>().Select(d => d.Spec.Template.Metadata.Labels)];
        IEnumerable<IDictionary<string, string>> selectors =
        [
            .. all.OfType<V1Service>().Select(s => s.Spec.Selector),
            .. all.OfType<V1Deployment>().Select(d => d.Spec.Selector.MatchLabels),
            .. all.OfType<V1PodDisruptionBudget>().Select(b => b.Spec.Selector.MatchLabels),
            .. all.OfType<V1NetworkPolicy>().Select(p => p.Spec.PodSelector.MatchLabels),
        ];
        foreach (IDictionary<string, string> selector in selectors)
            Assert.That(pods.Any(labels => selector.All(wanted => labels.Contains(wanted))), string.Join(',', selector));
    }

    [TestCaseSource(nameof(Names))]
    public void A_port_and_a_volume_that_is_named_is_there(string name)
    {
        List<object> all = Read(name);
        V1PodSpec[] pods = [.. all.OfType<V1Deployment>().Select(d => d.Spec.Template.Spec), .. all.OfType<V1Pod>().Select(p => p.Spec)];
        string[] ports = [.. pods.SelectMany(p => p.Containers).SelectMany(c => c.Ports ?? []).Select(p => p.Name)];
        IEnumerable<string> named =
        [
            .. pods.SelectMany(p => p.Containers).Select(c => c.ReadinessProbe).SelectMany(p => new[] { p?.TcpSocket?.Port.Value, p?.HttpGet?.Port.Value }).OfType<string>(),
            .. all.OfType<V1Service>().SelectMany(s => s.Spec.Ports).Select(p => p.TargetPort?.Value).OfType<string>(),
            .. all.OfType<V1NetworkPolicy>().SelectMany(p => p.Spec.Ingress).SelectMany(r => r.Ports).Select(p => p.Port.Value),
        ];
        Assert.That(named.Distinct(), Is.SubsetOf(ports));
        foreach (V1PodSpec pod in pods)
            Assert.That(pod.Containers.SelectMany(c => c.VolumeMounts).Select(m => m.Name).Distinct(), Is.SubsetOf(pod.Volumes.Select(v => v.Name)));
    }

    [Test]
    public void The_autoscaler_reads_a_measurement_that_is_exported_and_scales_what_is_there()
    {
        List<object> all = Read("host.yaml");
        V2HorizontalPodAutoscaler scaler = all.OfType<V2HorizontalPodAutoscaler>().Single();
        V1Deployment deployment = all.OfType<V1Deployment>().Single();
        Assert.That((scaler.Spec.ScaleTargetRef.Kind, scaler.Spec.ScaleTargetRef.Name), Is.EqualTo((deployment.Kind, deployment.Metadata.Name)));
        Assert.That(deployment.Spec.Replicas, Is.Null, "the autoscaler's");

        // docs/telemetry.md lists the instruments, and a test in a real Prometheus the names that these have there.
        string[] instruments = [.. Instrument().Matches(File.ReadAllText(Path.Combine(SourceTree.Root(), "docs/telemetry.md"))).Select(m => m.Groups[1].Value.Replace('.', '_'))];
        Assert.That(scaler.Spec.Metrics.Select(m => m.Pods.Metric.Name).Distinct(), Is.SubsetOf(instruments).And.Not.Empty);
    }

    private static string Folder() => Path.Combine(SourceTree.Root(), "deploy/kubernetes");

    private static string ReadText(string name) => File.ReadAllText(Path.Combine(Folder(), name));

    private static List<object> Read(string name) => Read(ReadText(name), strict: true);

    private static List<object> Read(string yaml, bool strict) => KubernetesYaml.LoadAllFromString(yaml, Kinds.ToDictionary(), strict);

    [GeneratedRegex(@"^\| `(xfn\.[a-z.]+)` \| up-down counter", RegexOptions.CultureInvariant | RegexOptions.Multiline)]
    private static partial Regex Instrument();
}
