using System.Text;
using System.Text.Json.Nodes;
using static Xfn.Core.Tests.Bundles.BundleContexts;

namespace Xfn.Core.Tests.Bundles;

internal sealed class ImageUserTests
{
    private const string Passwd = """
        root:x:0:0:root:/root:/bin/sh
        app:x:1000:1001:The "app", user:/home/app:/bin/sh
        4242:x:7:7::/:/bin/sh
        wide:x:70000:70000::/:/bin/sh
        nogid:x:12
        bad:x:99999999999:0::/:/bin/sh
        """;

    private const string Group = """
        root:x:0:
        wheel:x:10:root,app
        app:x:1001:
        staff:x:50:other , app
        wide:x:70000:
        """;

    [TestCase("", 0, 0)]
    [TestCase("0", 0, 0)]
    [TestCase("root", 0, 0)]
    [TestCase("app", 1000, 1001)]
    [TestCase("1000", 1000, 1001)]
    [TestCase("0001000", 1000, 1001)]
    [TestCase("1000:wheel", 1000, 10)]
    [TestCase("app:50", 1000, 50)]
    [TestCase("app:staff", 1000, 50)]
    [TestCase("1234", 1234, 0)]
    [TestCase("1234:4321", 1234, 4321)]
    [TestCase("65535:65535", 65535, 65535)]
    [TestCase(":", 0, 0)]
    [TestCase("app:", 1000, 1001)]
    [TestCase("1000:", 1000, 1001)]
    [TestCase(":wheel", 0, 10)]
    [TestCase(":50", 0, 50)]
    [TestCase(" ", 0, 0)]
    [TestCase(" 1000", 1000, 1001)]
    [TestCase("1000 ", 1000, 1001)]
    [TestCase("app\n", 1000, 1001)]
    public void A_user_is_resolved(string user, int uid, int gid)
    {
        JsonNode found = Resolve(user);
        using (Assert.EnterMultipleScope())
        {
            Assert.That((int)found["uid"]!, Is.EqualTo(uid));
            Assert.That((int)found["gid"]!, Is.EqualTo(gid));
        }
    }

    [TestCase("a:b:c")]
    [TestCase("app :wheel")]
    [TestCase(":nobody")]
    [TestCase("\u0661\u0662")]
    [TestCase("-1")]
    [TestCase("+5")]
    [TestCase("0x10")]
    [TestCase("nobody")]
    [TestCase("ROOT")]
    [TestCase("nogid")]
    [TestCase("bad")]
    [TestCase("app:nobody")]
    [TestCase("2147483648")]
    [TestCase("4294967295")]
    [TestCase("4294967296")]
    [TestCase("18446744073709551616")]
    [TestCase("99999999999999999999")]
    [TestCase("app:4294967296")]
    [TestCase("65536")]
    [TestCase("wide")]
    [TestCase("app:wide")]
    public void What_is_no_user_is_refused_and_never_becomes_root(string user)
    {
        InvalidImageException error = Assert.Throws<InvalidImageException>(() => Resolve(user))!;
        using (Assert.EnterMultipleScope())
        {
            Assert.That(error.Stage, Is.EqualTo(RunStage.Bundle));
            Assert.That(error.Message, Does.StartWith($"cannot use user '{user}' of image 'example.org/functions/echo:v1': "));
        }
    }

    [Test]
    public void Digits_are_a_number_even_where_a_user_has_that_name() =>
        Assert.That((int)Resolve("4242")["uid"]!, Is.EqualTo(4242));

    [Test]
    public void A_user_brings_its_supplementary_groups_and_its_own() =>
        Assert.That(Groups("app"), Is.EqualTo([10, 50, 1001]));

    [Test]
    public void An_empty_group_is_as_if_it_were_not_there() => Assert.That(Groups("app:"), Is.EqualTo(Groups("app")));

    [Test]
    public void A_group_that_is_named_replaces_the_supplementary_ones() =>
        Assert.That(Groups("app:50"), Is.EqualTo([50]));

    [Test]
    public void A_user_without_a_name_has_its_own_group_only() =>
        Assert.That(Groups("1234:77"), Is.EqualTo([77]));

    [Test]
    public void With_one_id_root_runs_without_supplementary_groups() =>
        Assert.That(Resolve("root", mapping: SingleMapping)["additionalGids"]!.AsArray(), Is.Empty);

    [TestCase("app")]
    [TestCase("1")]
    [TestCase("0:1")]
    public void With_one_id_other_users_are_an_error_that_says_how_there_are_more(string user) =>
        Assert.That(() => Resolve(user, mapping: SingleMapping), Throws.TypeOf<ContainerEnvironmentException>()
            // A user may have ids already.
            .With.Message.Matches(Environment.IsPrivilegedProcess ? @"\(option IdMapping\)" : @"\(option IdMapping\)|subuid"));

    [Test]
    public void A_user_beyond_the_granted_ids_is_an_error_that_names_the_file_and_the_remedy()
    {
        IdMapping few = new() { Uids = [new IdRange(0, 100_000, 1000)], Gids = FullMapping.Gids, Method = IdMappingMethod.SubordinateIds };
        Assert.That(() => Resolve("1000", mapping: few), Throws.TypeOf<ContainerEnvironmentException>()
            // The files are this machine's, and a user may have enough in them.
            .With.Message.Matches("as user 1000: user 1000 is above 999, the highest that is mapped, since /etc/subuid grants no more. "
                + (Environment.IsPrivilegedProcess ? "As root: " : "(As root: |More are granted by now: make a new runner)")));
    }

    [Test]
    public void A_supplementary_group_that_is_not_mapped_is_refused() =>
        Assert.That(() => Resolve("app", group: "huge:x:65536:app\n"), Throws.TypeOf<InvalidImageException>().With.Message.Contains("supplementary group 65536 is above 65535"));

    [TestCase("app:x:5:6::/:/bin/sh", 5)]
    [TestCase("app:x:5:6", 5)]
    [TestCase("app:x:5:6:::::", 5)]
    [TestCase("\n\n#app:x:1:1::/:\n+::::::\napp:x:5:6::/:", 5)]
    [TestCase("other:x:1:1::/:\r\napp:x:5:6::/:\r\n", 5)]
    [TestCase("\"app:x:1:1\napp:x:5:6:it's \"quoted:/:\n", 5)]
    [TestCase("app:x:-1:6::/:\napp:x:5:6::/:", 5)]
    [TestCase("app:x:5:6::/:\napp:x:0:0::/:", 5)]
    public void A_passwd_file_is_read_with_tolerance(string passwd, int uid) =>
        Assert.That((int)Resolve("app", passwd, group: "")["uid"]!, Is.EqualTo(uid));

    [Test]
    public void Without_files_numbers_work_and_names_are_refused()
    {
        using (Assert.EnterMultipleScope())
        {
            Assert.That((int)Resolve("1000", "", "")["gid"]!, Is.Zero);
            Assert.That(() => Resolve("root", "", ""), Throws.TypeOf<InvalidImageException>());
        }
    }

    [Test]
    public void Files_of_ten_mebibytes_take_no_more_time_for_each_byte()
    {
        string endless = new('x', 10 << 20);
        var lines = new StringBuilder();
        for (int i = 0; lines.Length < 10 << 20; i++)
            lines.Append('u').Append(i).Append(":x:").Append(i % 60000).Append(":1:::\n");
        var colons = new string(':', 10 << 20);
        using (Assert.EnterMultipleScope())
        {
            Assert.That(() => Resolve("app", endless, endless), Throws.TypeOf<InvalidImageException>());
            Assert.That(() => Resolve("app", colons, colons), Throws.TypeOf<InvalidImageException>());
            Assert.That(() => Resolve("app", lines.ToString(), Group), Throws.TypeOf<InvalidImageException>());
            Assert.That((int?)Resolve("app", "app:x:1:1:::\n", "g:x:5:" + new string(',', 10 << 20))["uid"], Is.EqualTo(1));
        }
    }

    [TestCase("", false)]
    [TestCase("app", true)]
    [TestCase("0", true)]
    [TestCase("1000:1000", true)]
    [TestCase("1000:app", true)]
    [TestCase("1000:", true)]
    [TestCase(":app", true)]
    [TestCase(":50", false)]
    [TestCase(":", false)]
    [TestCase(" ", false)]
    public void Files_are_needed_only_where_they_can_tell_something(string user, bool needed)
    {
        var image = Context(new ImageExecutionConfig { User = user }).Image;
        Assert.That(new RuntimeBundleBuilder().NeedsUserFiles(image), Is.EqualTo(needed));
    }

    [Test]
    public void Files_are_not_needed_for_numbers_with_a_home_given()
    {
        var image = Context(new ImageExecutionConfig { User = "1000:1000", Env = [null!, "HOME=/srv"] }).Image;
        Assert.That(new RuntimeBundleBuilder().NeedsUserFiles(image), Is.False);
    }

    [TestCase("", "/root")]
    [TestCase("app", "/home/app")]
    [TestCase("1000:1000", "/home/app")]
    [TestCase("1234", "/")]
    public void Home_is_the_users(string user, string home)
    {
        ContainerSpecification container = new RuntimeBundleBuilder().Build(Context(new ImageExecutionConfig { Entrypoint = ["x"], User = user }, passwd: Passwd, group: Group));
        Assert.That(container.Process.Environment["HOME"], Is.EqualTo(home));
    }

    private static int[] Groups(string user) => [.. Resolve(user)["additionalGids"]!.AsArray().Select(g => (int)g!)];

    private static JsonNode Resolve(string user, string passwd = Passwd, string group = Group, IdMapping? mapping = null) =>
        new RuntimeBundleBuilder().Build(Context(new ImageExecutionConfig { Entrypoint = ["x"], User = user }, mapping, passwd, group)).Json()["process"]!["user"]!;
}
