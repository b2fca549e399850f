using Xfn.Core.Benchmarks;

namespace Xfn.Core.Tests.Benchmarks;

/// <summary>What <c>eng/bench.sh --compare</c> calls a change.</summary>
public class ComparisonTests
{
    [TestCase(10, 10, "Same")]
    [TestCase(10, 11, "Same")]
    [TestCase(11, 10, "Same")]
    [TestCase(10, 13, "Worse")]
    [TestCase(13, 10, "Better")]
    public void What_is_outside_the_middle_half_of_both_changed(double before, double after, string result) =>
        Assert.That(Compare([Row(before, 2)], [Row(after, 2)]), Is.EqualTo((string[])[result]));

    [Test]
    public void A_measurement_that_spreads_widely_proves_nothing()
    {
        Assert.That(Compare([Row(10, 1)], [Row(13, 8)]), Is.EqualTo((string[])["Same"]));
        Assert.That(Compare([Row(10, 8)], [Row(13, 1)]), Is.EqualTo((string[])["Same"]));
    }

    [Test]
    public void A_machine_that_is_slower_now_is_not_taken_for_a_change()
    {
        Row[] before = [Row(10, 2, "crun", 20), Row(10, 2, "podman", 100)], after = [Row(20, 4, "crun", 40), Row(20, 4, "podman", 200)];
        Assert.That(Compare(before, after), Is.EqualTo((string[])["Same"]));
        Assert.That(Compare(before, [Row(20, 4, "crun", 20), Row(20, 4, "podman", 100)]), Is.EqualTo((string[])["Worse"]));
        Assert.That(Compare(before, [Row(10, 2, "crun", 40), Row(10, 2, "podman", 200)]), Is.EqualTo((string[])["Better"]));
    }

    [Test]
    public void What_grows_is_held_against_its_own_old_times_since_its_peer_is_ours_too()
    {
        Row before = Row(10, 2, "1 layer", 10) with { Table = "layers" }, after = Row(20, 2, "1 layer", 20) with { Table = "layers" };
        Assert.That(Compare([before], [after]), Is.EqualTo((string[])["Worse"]));
    }

    [Test]
    public void Rows_without_quartiles_are_judged_by_their_ninth_decile()
    {
        Row old = Row(10, 0) with { P25 = null, P75 = null, P90 = 12 };
        Assert.That(Compare([old], [Row(11, 0.1)]), Is.EqualTo((string[])["Same"]));
        Assert.That(Compare([old], [Row(11.5, 0.1)]), Is.EqualTo((string[])["Worse"]));
    }

    [Test]
    public void What_is_measured_no_more_or_for_the_first_time_is_told()
    {
        Row failed = Row(10, 2) with { Median = null, LeftOut = "it failed" };
        Assert.That(Compare([Row(10, 2)], [failed]), Is.EqualTo((string[])["Lost"]));
        Assert.That(Compare([], [Row(10, 2)]), Is.EqualTo((string[])["Added"]));
        Assert.That(Compare([Row(10, 2)], [Row(10, 2) with { Caller = "user" }]), Is.EqualTo((string[])["Lost", "Added"]));
    }

    private static IEnumerable<string> Compare(Row[] before, Row[] after) => Comparison.Of(before, after).Select(c => c.Result.ToString());

    private static Row Row(double median, double spread, string peer = "crun", double? peerMedian = null) =>
        new() { Name = "warm run", Caller = "root", Peer = peer, PeerMedian = peerMedian, P25 = median - (spread / 2), Median = median, P75 = median + (spread / 2), P90 = median + spread };
}
