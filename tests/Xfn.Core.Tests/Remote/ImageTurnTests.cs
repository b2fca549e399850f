using Xfn.Core.Remote;

namespace Xfn.Core.Tests.Remote;

/// <summary>The order of servers that an image has, and how far its runs go in it.</summary>
internal sealed class ImageTurnTests
{
    [TestCase(1), TestCase(2), TestCase(9)]
    public void Of_a_few_busy_servers_all_are_asked_before_a_run_may_wait(int servers)
    {
        Assert.That(Asked(servers, out int waitsAt).Distinct(), Is.EquivalentTo(Enumerable.Range(0, servers)));
        Assert.That(waitsAt, Is.EqualTo(Asked(servers, out _)[0]), "it waits elsewhere than where it began");
    }

    [Test]
    public void Of_a_thousand_busy_servers_thirty_one_are_asked() => Assert.That(Asked(1000, out _), Is.Unique.And.Length.EqualTo(31));

    [Test]
    public void The_order_is_the_same_in_every_process() => Assert.That(Asked(5, out _), Is.EqualTo((int[])[2, 1, 4, 3, 0]));

    [Test]
    public void A_run_begins_one_before_the_server_that_took_the_last_and_one_that_waited_says_nothing_of_places()
    {
        var turns = new ImageTurns();
        ulong[] servers = Servers(20);
        ImageTurn Run(int refusals)
        {
            ImageTurn turn = turns.Begin("a", mayWait: false);
            turn.ChooseFrom(servers);
            for (int i = 0; i < refusals; i++)
            {
                turn.Next();
                turn.ChooseFrom(servers);
            }

            turns.Remember(turn);
            return turn;
        }

        Assert.That(Run(3).Place, Is.EqualTo(3));
        Assert.That(Run(0).Place, Is.EqualTo(2));
        Assert.That(Run(0).Place, Is.EqualTo(1));
        Assert.That(Run(4).Place, Is.EqualTo(4));
        Assert.That(Run(13), Has.Property(nameof(ImageTurn.MayWait)).True.And.Property(nameof(ImageTurn.Place)).EqualTo(3));
        Assert.That(Run(0).Place, Is.EqualTo(3));
        Assert.That(turns.Begin("b", mayWait: false).Place, Is.Zero);
    }

    private static ulong[] Servers(int count) => [.. Enumerable.Range(1, count).Select(i => ImageTurn.HashOf($"10.0.{i >> 8}.{i & 255}:5000"))];

    /// <summary>The servers in the order in which they are asked for a place.</summary>
    private static int[] Asked(int count, out int waitsAt)
    {
        ulong[] servers = Servers(count);
        var turn = new ImageTurn("registry.example.org/function:v1", 0);
        var asked = new List<int>();
        while (!turn.MayWait)
        {
            asked.Add(turn.ChooseFrom(servers));
            turn.Next();
        }

        waitsAt = turn.ChooseFrom(servers);
        return [.. asked];
    }
}
