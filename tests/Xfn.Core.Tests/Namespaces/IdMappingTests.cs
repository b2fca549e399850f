using Xfn.Core.Namespaces;
using Xfn.Core.Tests.Preflight;

namespace Xfn.Core.Tests.Namespaces;

/// <summary>Which ids functions get, by what a machine says of ids. What newuidmap and the kernel make of them is
/// tested end to end.</summary>
public class IdMappingTests
{
    private const string Capable = "Uid:\t0\t0\t0\t0\nCapEff:\t00000000800000c0\n";
    private const string Whole = "2010000000+137483648";

    private FakeSystem _system = null!;

    [SetUp]
    public void Make_a_system() => _system = new FakeSystem().Put("/etc/passwd", "root:x:0:0::/root:/bin/sh\nalice:x:1000:1000::/:/bin/sh\n");

    [TearDown]
    public void Remove_the_system() => _system.Dispose();

    [TestCase(null, null, null, Whole)]
    [TestCase(null, 200_000u, null, "200000+65536")]
    [TestCase(null, 2_010_000_000u, null, Whole)]
    [TestCase("0 0 4294967295", null, null, Whole)]
    // As podman has it for an ordinary user, as a pod has it, and as a pod with twice as many.
    [TestCase("0 1000 1\n1 100000 65536", null, "user 'alice'", "1+65536")]
    [TestCase("0 65536 65536", null, "user 'alice'", "1+65535")]
    [TestCase("0 65536 131072", null, null, "65536+65536")]
    [TestCase("0 65536 131072", 131_000u, "images with higher ids cannot be unpacked", "131000+72")]
    [TestCase("0 65536 1000\n5000 900000 1000", null, "images with higher ids cannot be unpacked", "1+999_5000+1000")]
    public void With_capabilities_the_ids_are_the_default_ones_or_the_last_of_the_namespace(string? map, uint? root, string? warning, string ids)
    {
        IdMappingDecision decision = Decide(Capable, map, new() { RootUid = root, RootGid = root });
        Assert.That(decision.Mapping!.Method, Is.EqualTo(IdMappingMethod.Capabilities));

        // The user is played. The group is who runs this, which no function gets.
        if (Environment.IsPrivilegedProcess)
            Assert.That(decision.Mapping.Uids, Is.EqualTo(decision.Mapping.Gids));
        Assert.That(string.Join('_', decision.Mapping.Uids.Select(r => $"{r.Outside}+{r.Count}")), Is.EqualTo(ids));
        if (warning is null)
            Assert.That(decision.Lacking.Concat(decision.Shared), Is.Empty);
        else
            Assert.That(decision.Lacking.Select(l => l.Found), Has.Some.Contains(warning));
    }

    [Test]
    public void In_a_container_of_one_id_that_one_is_mapped_unless_many_were_asked_for()
    {
        IdMappingDecision decision = Decide(Capable, "0 1000 1", new());
        Assert.That(decision.Mapping!.Method, Is.EqualTo(IdMappingMethod.Self));
        Assert.That(decision.Lacking.Single().Found, Does.Contain("no user ids besides the caller's own"));
        Assert.That(Decide(Capable, "0 1000 1", new() { Method = IdMappingMethod.Capabilities }).Refusal!.Remedy, Does.Contain("give the container around it more"));
    }

    [Test]
    public void Root_that_may_not_even_map_its_own_id_is_told_what_would_help_there() =>
        Assert.That(Decide("Uid:\t0\t0\t0\t0\nCapEff:\t00000000000000c0\n", "0 1000 1", new()).Refusal!.Remedy, Does.Contain("give the container around it more").And.Not.Contain("CAP_SETUID"));

    [Test]
    public void A_root_that_the_namespace_lacks_is_refused_with_what_it_has()
    {
        IdMappingDecision decision = Decide(Capable, "0 65536 65536", new() { RootUid = 65_536, RootGid = 1 });
        Assert.That(decision.Refusal!.Found, Does.Contain("user id 65536").And.Contain("0-65535 only"));
    }

    [TestCase(null, null, "100000+65536-100000+65536")]
    [TestCase(2_010_000_000u, 2_010_000_000u, "2010000000+65536-2010000000+65536")]
    [TestCase(200_000u, null, "200000+65536-2010000000+65536")]
    public void A_cache_of_the_former_default_keeps_its_ids_and_says_how_to_move_on(uint? uid, uint? gid, string key)
    {
        IdMappingDecision decision = Decide(Capable, null, new() { RootUid = uid, RootGid = gid, CacheDirectory = "/cache", HasLayers = m => m.Key == "100000+65536-100000+65536" });
        Assert.That(decision.Mapping!.Key, Is.EqualTo(key));
        Assert.That(decision.Shared.Select(s => s.Remedy), (uid ?? gid) is null ? Has.Exactly(1).Contains("prune the cache") : Is.Empty);
    }

    [Test]
    public void A_cache_that_has_moved_on_stays_there() =>
        Assert.That(Decide(Capable, null, new() { HasLayers = _ => true }).Mapping!.Uids[0].Outside, Is.EqualTo(IdMappings.DefaultRoot));

    [TestCase("/etc/subuid", "bob:2010065000:1000", "2010065000-2010065999, subordinate ids of 'bob' (/etc/subuid, line 1)", "from 2010066000 on (option RootUid, option RootGid)")]
    [TestCase("/etc/subgid", "\nbob:2100000000:400000000", "2100000000-2147483647, subordinate ids of 'bob' (/etc/subgid, line 2)", "from 2010000000 on (option RootUid, option RootGid)")]
    [TestCase("/etc/passwd", "eve:x:2010000007:100::/:/bin/sh", "2010000007, user 'eve' (/etc/passwd)", "from 2010000008 on (option RootUid, option RootGid)")]
    [TestCase("/etc/passwd", "eve:x:7:2010000007::/:/bin/sh", "2010000007, the group of user 'eve' (/etc/passwd)", "from 2010000008 on (option RootUid, option RootGid)")]
    public void Ids_that_others_have_too_are_told_and_nothing_moves(string file, string content, string found, string remedy)
    {
        _system.Put(file, content + "\n");
        IdMappingDecision decision = Decide(Capable, null, new());
        Assert.That(decision.Mapping!.Uids[0].Outside, Is.EqualTo(IdMappings.DefaultRoot));
        Assert.That(decision.Shared.Single().Found, Does.Contain(found));
        Assert.That(decision.Shared.Single().Remedy, Does.Contain(remedy));
    }

    [TestCase("alice:100000:65536", "100000+65536", "100000+65536")]
    [TestCase("1000:100000:65536\n#alice:1:1\nalice:300000:10", "100000+65536_300000+10", "100000+65536")]
    [TestCase("alice:100000:1000\nalice:100500:1000", "100000+1000_101000+500", "100000+1000_101000+500")]
    [TestCase("alice:100000:1000\nalice:99000:3000", "100000+1000_99000+1000_101000+1000", "100000+1000_99000+1000_101000+1000")]
    [TestCase("alice:4294967290:65536\nalice:4294967295:10", "4294967290+5", "4294967290+5")]
    [TestCase("alice:100000:99999999999999999", "100000+4294867295", "100000+65536")]
    [TestCase("alice:100000:40000\nalice:200000:40000\nalice:300000:40000", "100000+40000_200000+40000_300000+40000", "100000+40000_200000+25536")]
    public void All_granted_ids_are_mapped_and_the_first_ones_name_the_store(string lines, string ids, string key)
    {
        IdMapping mapping = Subordinate(lines, lines).Mapping!;
        Assert.That(mapping.Uids[0].Inside, Is.Zero);
        Assert.That(string.Join('_', mapping.Uids.Select(r => $"{r.Outside}+{r.Count}")), Is.EqualTo(ids));
        Assert.That(mapping.Key, Is.EqualTo($"{key}-{key}"));
    }

    [Test]
    public void Users_and_groups_may_have_different_numbers_of_ids()
    {
        IdMapping mapping = Subordinate("alice:100000:65536\nalice:200000:5", "alice:500000:70000").Mapping!;
        Assert.That((mapping.Uids.Sum(r => r.Count), mapping.Gids.Sum(r => r.Count), mapping.Key), Is.EqualTo((65_541, 70_000, "100000+65536-500000+65536")));
        Assert.That(mapping.KeyBeyond(65_537, 65_536), Is.EqualTo("200000+2-565536+1"));
        Assert.That(mapping.KeyBeyond(3, 65_535), Is.EqualTo("-"));
    }

    [Test]
    public void More_ranges_than_the_kernel_takes_are_told()
    {
        string lines = string.Concat(Enumerable.Range(0, 400).Select(i => $"alice:{100_000 + 10 * i}:9\n"));
        IdMappingDecision decision = Subordinate(lines, lines);
        Assert.That(decision.Mapping!.Uids, Has.Count.InRange(100, 340));
        Assert.That(decision.Lacking.Select(l => l.Found), Has.Some.Contains("no room"));
    }

    [TestCase("0 1000 1\n1 100000 65536", "alice:1:999\nalice:1001:64535", "1+999_1001+64535", null)]
    [TestCase("0 65536 65536", "alice:60000:10000", "60000+5536", "grants 65536-69999 besides, which this process's user namespace lacks")]
    [TestCase("0 65536 65536", "alice:100000:65536", null, "this process's user namespace has none of them")]
    public void Granted_ids_count_where_the_namespace_has_them(string map, string lines, string? ids, string? found)
    {
        IdMappingDecision decision = Subordinate(lines, lines, map);
        Assert.That(decision.Mapping!.Method, Is.EqualTo(ids is null ? IdMappingMethod.Self : IdMappingMethod.SubordinateIds));
        if (ids is not null)
            Assert.That(string.Join('_', decision.Mapping.Uids.Select(r => $"{r.Outside}+{r.Count}")), Is.EqualTo(ids));
        if (found is not null)
            Assert.That(decision.Lacking.Select(l => l.Found), Has.Some.Contains(found));
    }

    [TestCase("", "", "", "usermod --add-subuids 100000-165535 --add-subgids 100000-165535 alice.")]
    [TestCase("bob:100000:65536\n", "", "", "usermod --add-subuids 165536-231071 --add-subgids 165536-231071 alice.")]
    [TestCase("", "bob:100000:65536\neve:231072:9\n", "", "--add-subuids 165536-231071 --add-subgids 165536-231071 alice.")]
    [TestCase("", "", "eve:x:100500:5::/:/bin/sh\n", "--add-subuids 100501-166036 --add-subgids 100501-166036 alice.")]
    [TestCase("alice:100000:1000\n", "alice:100000:65536\n", "", "As root: usermod --add-subuids 165536-230071 alice.")]
    [TestCase("alice:100000:1000\n", "alice:100000:65000\n", "", "As root: usermod --add-subuids 165000-229535 --add-subgids 165000-165535 alice.")]
    public void The_remedy_names_ids_that_nobody_has(string subuid, string subgid, string passwd, string remedy)
    {
        _system.Append("/etc/passwd", passwd);
        Assert.That(Subordinate(subuid, subgid).Lacking[0].Remedy, Does.Contain(remedy));
    }

    [Test]
    public void The_remedy_makes_missing_files_first_and_does_without_usermod_for_users_of_a_directory()
    {
        _system.Put("/proc/self/status", "CapEff:\t0\n");
        var carol = new SystemUser(5000, @"CORP\carol");
        Assert.That(Remedy(new(1000, "alice")), Is.EqualTo("As root: touch /etc/subuid /etc/subgid && usermod --add-subuids 100000-165535 --add-subgids 100000-165535 alice."));
        _system.Put("/etc/subuid", "bob:1:1").Put("/etc/subgid", "bob:1:1\n");
        Assert.That(Remedy(carol), Is.EqualTo(@"As root: printf '\n%s:100000:65536\n' 'CORP\carol' >>/etc/subuid && printf '%s:100000:65536\n' 'CORP\carol' >>/etc/subgid."));
        Assert.That(Remedy(new(5000, "")), Is.EqualTo("Give user id 5000 a name in /etc/passwd."));

        string Remedy(SystemUser user) => IdMappings.Decide(new(), new IdMachine(_system.Files, user)).Lacking[0].Remedy;
    }

    [Test]
    public void An_id_beyond_the_mapping_has_the_remedy_that_maps_it()
    {
        IdMapping few = Subordinate("alice:100000:65536\n", "alice:100000:65536\n").Mapping!;
        var machine = new IdMachine(_system.Files, new(1000, "alice"));
        Assert.That(IdRemedies.ForHigher(few, IdKind.User, 3_000_000, machine), Is.EqualTo("As root: usermod --add-subuids 165536-3100000 --add-subgids 165536-3100000 alice."));
        _system.Put("/etc/subuid", "alice:100000:131072\n").Put("/etc/subgid", "alice:100000:131072\n");
        Assert.That(IdRemedies.ForHigher(few, IdKind.User, 70_000, new IdMachine(_system.Files, new(1000, "alice"))), Is.EqualTo("More are granted by now: make a new runner."));
        IdMapping chosen = Decide(Capable, null, new() { RootUid = 200_000, RootGid = 200_000 }).Mapping!;
        Assert.That(IdRemedies.ForHigher(chosen, IdKind.User, 3_000_000, machine), Does.Contain("from 2010000000 on").And.Contain("(option RootUid, option RootGid)"));
        Assert.That(IdRemedies.ForHigher(chosen, IdKind.User, 200_000_000, machine), Does.Contain("a lower id in the image, 137483647 at most"));
    }

    private IdMappingDecision Decide(string status, string? map, IdMappingWish wish)
    {
        _system.Put("/proc/self/status", status);
        if (map is not null)
            _system.Put("/proc/self/uid_map", map + "\n").Put("/proc/self/gid_map", map + "\n");
        return IdMappings.Decide(wish, new IdMachine(_system.Files, new(0, "root")));
    }

    private IdMappingDecision Subordinate(string subuid, string subgid, string? map = null)
    {
        _system.Put("/etc/subuid", subuid).Put("/etc/subgid", subgid).Put("/proc/self/status", "CapEff:\t0\n");
        if (map is not null)
            _system.Put("/proc/self/uid_map", map + "\n").Put("/proc/self/gid_map", map + "\n");
        return IdMappings.Decide(new(), new IdMachine(_system.Files, new(1000, "alice")));
    }
}
