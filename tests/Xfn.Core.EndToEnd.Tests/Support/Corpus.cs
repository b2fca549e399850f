using System.Formats.Tar;
using System.IO.Compression;
using System.Text;

namespace Xfn.Core.EndToEnd.Tests.Support;

/// <summary>One program from every builder to be had: it says who it is, where, with what, what it sees.</summary>
/// <remarks>podman and buildah run in a mount namespace with one cgroup version: crun refuses both at once.</remarks>
internal sealed class Corpus(string directory)
{
    /// <summary>Names, arguments and environment, less what engines add; then all files below directories.</summary>
    public const string View = """
        b=/bin/busybox
        [ -e $b ] || b=/app/busybox
        dirs='bin srv own usr app lib lib64'
        echo "$($b id -u):$($b id -g) $(pwd) $# $*"
        $b env | $b sort | $b grep -E '^(A|B|EMPTY|PATH)='
        cd / && $b find $dirs -print 2>/dev/null | $b sort | while read -r f; do $b stat -c '%n %F %a %u:%g' "$f"; done
        $b find . -maxdepth 1 -type f | $b sort
        $b find $dirs -type f -print 2>/dev/null | $b sort | $b xargs $b stat -c '%n links=%h bytes=%s'
        $b find $dirs -type f 2>/dev/null | $b sort | $b xargs $b md5sum
        $b readlink /srv/link
        exit 0
        """;

    // What they remember of blobs, in /var/lib, would make one test depend on another.
    private const string OwnNamespace = "umount -l /sys/fs/cgroup/unified 2>/dev/null; mount -t tmpfs none /var/lib && exec \"$@\"";

    private const string Name = "localhost/fn:stable";

    private string At(string name) => Path.Combine(directory, name);

    private string[] Storage => StorageAt("storage");

    private string[] Podman => ["podman", .. Storage, "--runtime-flag=cgroup-manager=disabled"];

    /// <summary>podman's view, in its own storage: of images with one configuration, that keeps the last.</summary>
    public async Task<string> RunByPodmanAsync(string reference, CancellationToken token) =>
        await RunAsync(["podman", .. StorageAt("storage-of-runs"), "--runtime-flag=cgroup-manager=disabled", "run", "--rm", "--quiet", reference], token);

    /// <summary>The image of a Dockerfile, in buildah's storage, which podman shares.</summary>
    public async Task BuildAsync(CancellationToken token)
    {
        await File.WriteAllTextAsync(At("containers.conf"), $"""
            [containers]
            cgroups = "disabled"
            netns = "none"
            default_ulimits = ["nofile=1024:1024", "nproc=1024:1024"]
            [engine]
            cgroup_manager = "cgroupfs"
            events_logger = "none"
            lock_type = "file"
            runtime = "crun"
            tmp_dir = "{At("libpod")}"
            """, token);
        string root = At("context/root");
        Directory.CreateDirectory(At("context/root/bin"));
        Directory.CreateDirectory(At("context/root/srv/work"));
        Directory.CreateDirectory(At("context/root/usr/share"));
        File.Copy("/bin/busybox", At("context/root/bin/busybox"));
        foreach (string applet in new[] { "sh", "id", "env", "cat" })
            File.CreateSymbolicLink(Path.Combine(root, "bin", applet), "busybox");
        await File.WriteAllTextAsync(At("context/root/bin/view"), View, token);
        await File.WriteAllTextAsync(At("context/root/srv/a"), "a", token);
        await File.WriteAllTextAsync(At("context/root/srv/b"), "b", token);
        await File.WriteAllTextAsync(At("context/root/usr/share/gone"), "gone", token);
        await File.WriteAllTextAsync(At("context/root/usr/share/stays"), "stays", token);
        File.CreateSymbolicLink(At("context/root/srv/link"), "../usr/share");
        await File.WriteAllTextAsync(At("context/Dockerfile"), """
            FROM scratch
            COPY root /
            RUN ["/bin/busybox","sh","-c","b=/bin/busybox; $b rm /usr/share/gone; $b mkdir -p /own/deep; $b chmod 1777 /own; $b ln /srv/a /srv/hard; $b chown 1000:50 /srv/b; $b chmod 2755 /srv/b"]
            ENV A=1 B="two words" EMPTY=
            WORKDIR /srv/work
            USER 1000:50
            ENTRYPOINT ["/bin/sh","/bin/view"]
            CMD ["one","two words"]
            """, token);
        await RunAsync(["buildah", .. Storage, "bud", "--quiet", "--isolation=chroot", "--layers", "--tag", Name, At("context")], token);
    }

    /// <summary>Makes an image in a builder's way.</summary>
    /// <returns>A reference to it, for us and for podman.</returns>
    public async Task<string> MakeAsync(string builder, CancellationToken token)
    {
        string file = At(builder.Replace(' ', '-'));
        switch (builder)
        {
            case "buildah push oci-archive":
                await RunAsync(["buildah", .. Storage, "push", "--quiet", Name, $"oci-archive:{file}:{Name}"], token);
                return $"oci-archive:{file}:{Name}";
            case "buildah push docker-archive":
                await RunAsync(["buildah", .. Storage, "push", "--quiet", Name, $"docker-archive:{file}:{Name}"], token);
                return $"docker-archive:{file}:{Name}";
            case "podman save oci-dir":
                await RunAsync([.. Podman, "save", "--quiet", "--format=oci-dir", "--output", file, Name], token);
                return $"oci:{file}";
            case "podman save docker-archive":
                await RunAsync([.. Podman, "save", "--quiet", "--format=docker-archive", "--output", file, Name], token);
                return $"docker-archive:{file}";
            case "podman commit":
                string container = (await RunAsync([.. Podman, "create", "--user=0", "--entrypoint=[\"/bin/busybox\",\"sh\",\"-c\",\"/bin/busybox rm -r /own/deep; /bin/busybox mkdir /app; echo x >/app/x\"]", Name], token)).Trim();
                await RunAsync([.. Podman, "start", "--attach", container], token);
                await RunAsync([.. Podman, "commit", "--quiet", "--change=USER 1000:50", "--change=ENTRYPOINT [\"/bin/sh\",\"/bin/view\"]", "--change=CMD [\"committed\"]", container, "localhost/committed:v1"], token);
                await RunAsync([.. Podman, "save", "--quiet", "--format=oci-archive", "--output", file, "localhost/committed:v1"], token);
                return $"oci-archive:{file}:localhost/committed:v1";
            case "podman import":
                await RunAsync(["tar", "-C", At("context/root"), "-cf", file + ".rootfs.tar", "."], token);
                await RunAsync([.. Podman, "import", "--quiet", "--change=ENTRYPOINT [\"/bin/sh\",\"/bin/view\"]", file + ".rootfs.tar", "localhost/imported:v1"], token);
                await RunAsync([.. Podman, "save", "--quiet", "--format=docker-archive", "--output", file, "localhost/imported:v1"], token);
                return $"docker-archive:{file}:localhost/imported:v1";
            case "umoci":
                await RunAsync(["umoci", "init", "--layout", file], token);
                await RunAsync(["umoci", "new", "--image", file + ":v1"], token);
                foreach (string part in new[] { "bin", "srv", "usr" })
                    await RunAsync(["umoci", "insert", "--image", file + ":v1", Path.Combine(At("context/root"), part), "/" + part], token);
                await RunAsync(["umoci", "insert", "--image", file + ":v1", "--whiteout", "/usr/share/gone"], token);
                await RunAsync(["umoci", "config", "--image", file + ":v1", "--config.entrypoint=/bin/sh", "--config.cmd=/bin/view", "--config.cmd=by umoci", "--config.user=1000:50", "--config.workingdir=/srv"], token);
                return $"oci:{file}:v1";
            case { } copy when copy.StartsWith("skopeo ", StringComparison.Ordinal):
                return await CopyAsync(copy.Split(' '), file, token);
            case "buildkit docker types in oci":
                // oci-mediatypes=false: an OCI layout of docker's manifest and layers.
                await RunAsync(["skopeo", "copy", "--quiet", "--insecure-policy", "--format=v2s2", "--dest-compress", "--dest-compress-format=gzip", StoredImage, $"dir:{file}.dir"], token);
                return await WriteLayoutAsync(file, file + ".dir", token);
            case "estargz":
                return Estargz.Image(new()
                {
                    Entrypoint = ["/bin/sh", "/bin/view"],
                    Cmd = ["lazily"],
                    User = "1000:50",
                    WorkingDir = "/srv",
                }).WriteTo(file);
            case "xfn build":
                return await BuildByXfnAsync(file, token);
            case "dotnet publish OCI" or "dotnet publish Docker":
                return await PublishByDotnetAsync(file, builder.Split(' ')[^1], token);
            case "kaniko":
                // go-containerregistry's tarball, by digests; kaniko's whiteouts, also in directories of no layer.
                return WriteDockerArchive(file, "kaniko", compress: true,
                    (Rootfs(), null),
                    (new LayerTar().Directory("usr/").Directory("usr/share/").File("usr/share/.wh.gone", "").Directory("own/").Directory("own/deep/").File("own/deep/.wh.ghost", "").ToArray(), null));
            case "jib":
                return WriteDockerArchive(file, "jib", compress: true, (Rootfs(), null), (new LayerTar().Directory("/app/").Directory("/app/classes/").File("/app/classes/Main.class", "class").ToArray(), null));
            case "nix":
                // dockerTools: layers in directories, uncompressed; ./ names, read-only files of second 1, store links.
                return WriteDockerArchive(file, "nix", compress: false,
                    (new LayerTar().Directory("./").Directory("./usr/", Read).Directory("./usr/store/", Read).File("./usr/store/x", "x", (UnixFileMode)0b100_100_100).Link("./app", "usr/store").ToArray(), "store"),
                    (Rootfs(), "root"));
            default:
                throw new ArgumentException($"no builder '{builder}'");
        }
    }

    /// <summary>The image of the Dockerfile.</summary>
    private string StoredImage => $"containers-storage:[vfs@{At("storage")}+{At("run")}]{Name}";

    private string[] StorageAt(string name) => ["--root", At(name), "--runroot", At("run"), "--storage-driver=vfs"];

    private const UnixFileMode Read = (UnixFileMode)0b101_101_101;

    /// <param name="words"><c>skopeo</c>, the target's transport, then the format, the compression.</param>
    /// <param name="file">Where to.</param>
    /// <param name="token">Ends it.</param>
    private async Task<string> CopyAsync(string[] words, string file, CancellationToken token)
    {
        string[] compression = words[3] switch
        {
            "plain" => ["--dest-decompress"],
            "gzip" => ["--dest-compress", "--dest-compress-format=gzip"],
            "zstd" or "zstd:chunked" => ["--dest-compress", $"--dest-compress-format={words[3]}"],
            var other => throw new ArgumentException($"no compression '{other}'"),
        };

        // Only directories take uncompressed layers on request; what is made of one keeps them.
        string made = words[1] == "oci" ? $"oci:{file}:v1" : $"{words[1]}:{file}:{Name}";
        string via = words[1] == "oci" && words[3] != "plain" ? StoredImage : $"dir:{file}.dir";
        if (via != StoredImage)
            await RunAsync(["skopeo", "copy", "--quiet", "--insecure-policy", $"--format={words[2]}", .. compression, StoredImage, via], token);
        await RunAsync(["skopeo", "copy", "--quiet", "--insecure-policy", .. via == StoredImage ? [$"--format={words[2]}", .. compression] : Array.Empty<string>(), via, made], token);
        return made;
    }

    /// <summary>Makes an OCI layout of a directory of skopeo's, whatever the types of its manifest.</summary>
    private static async Task<string> WriteLayoutAsync(string layout, string directory, CancellationToken token)
    {
        string blobs = Directory.CreateDirectory(Path.Combine(layout, "blobs", "sha256")).FullName;
        foreach (string blob in Directory.GetFiles(directory).Where(file => Path.GetFileName(file).Length == 64))
            File.Move(blob, Path.Combine(blobs, Path.GetFileName(blob)));
        byte[] manifest = await File.ReadAllBytesAsync(Path.Combine(directory, "manifest.json"), token);
        Digest digest = Digest.Compute(manifest);
        await File.WriteAllBytesAsync(Path.Combine(blobs, digest.Hex), manifest, token);
        await File.WriteAllTextAsync(Path.Combine(layout, "oci-layout"), """{"imageLayoutVersion":"1.0.0"}""", token);
        await File.WriteAllTextAsync(Path.Combine(layout, "index.json"), $$$"""
            {"schemaVersion":2,"manifests":[{"mediaType":"{{{MediaTypes.DockerManifest}}}","digest":"{{{digest}}}","size":{{{manifest.Length}}},
             "annotations":{"io.containerd.image.name":"{{{Name}}}","org.opencontainers.image.ref.name":"stable"}}]}
            """, token);
        
        // podman finds no such image by its name.
        return $"oci:{layout}";
    }

    /// <summary>A program that needs no library, one that does, and what the first is to say.</summary>
    private async Task<string> BuildByXfnAsync(string file, CancellationToken token)
    {
        string published = Directory.CreateDirectory(file + ".published").FullName;
        File.Copy("/bin/busybox", Path.Combine(published, "busybox"));
        File.Copy("/bin/cat", Path.Combine(published, "cat"));
        await File.WriteAllTextAsync(Path.Combine(published, "view"), View, token);
        await RunAsync(
            [Path.Combine(AppContext.BaseDirectory, "xfn"), "build", "--user", "1000:50", "--env", "A=1", "--tag", $"oci:{file}:v1", "--copy", $"{published}:/app", "--entrypoint", "/app/busybox", Path.Combine(published, "cat"), "--", "sh", "/app/view", "by xfn build"], token);
        return $"oci:{file}:v1";
    }

    /// <summary>The SDK's own containers, on the Dockerfile's image. Its base images must be in a registry.</summary>
    private async Task<string> PublishByDotnetAsync(string file, string format, CancellationToken token)
    {
        if (!(await RunAsync(["sh", "-c", "dotnet --list-sdks 2>/dev/null || true"], token)).StartsWith($"{Environment.Version.Major}.", StringComparison.Ordinal))
            Assert.Ignore("There is no .NET SDK in the tests' PATH.");
        string project = Directory.CreateDirectory(file + ".project").FullName, archive = file + ".tar";
        using var registry = new DockerRegistry();
        await RunAsync(["skopeo", "copy", "--quiet", "--insecure-policy", "--dest-tls-verify=false", "--dest-compress", "--dest-compress-format=gzip", StoredImage, $"docker://{registry.Host}/base:v1"], token);
        await File.WriteAllTextAsync(Path.Combine(project, "program.cs"), "System.Console.WriteLine();", token);
        await File.WriteAllTextAsync(Path.Combine(project, "program.csproj"), $"""
            <Project Sdk="Microsoft.NET.Sdk">
              <PropertyGroup>
                <TargetFramework>net{Environment.Version.ToString(2)}</TargetFramework>
                <OutputType>Exe</OutputType>
                <UseAppHost>false</UseAppHost>
                <RestoreSources>$(MSBuildProjectDirectory)</RestoreSources>
                <ContainerImageFormat>{format}</ContainerImageFormat>
                <ContainerBaseImage>{registry.Host}/base:v1</ContainerBaseImage>
                <ContainerRepository>fn</ContainerRepository>
                <ContainerImageTag>v1</ContainerImageTag>
                <ContainerArchiveOutputPath>{archive}</ContainerArchiveOutputPath>
              </PropertyGroup>
              <ItemGroup>
                <ContainerEntrypoint Include="/bin/sh;/bin/view" />
                <ContainerDefaultArgs Include="by dotnet" />
                <ContainerEnvironmentVariable Include="A" Value="2" />
              </ItemGroup>
            </Project>
            """, token);

        // Nothing of the build stays behind: no node, no compiler.
        await RunAsync(
            ["env", $"DOTNET_CONTAINER_INSECURE_REGISTRIES={registry.Host}", "dotnet", "publish", project, "-t:PublishContainer", "-v:quiet", "-nologo", "-nodeReuse:false", "-p:UseSharedCompilation=false"], token);
        return format == "OCI" ? $"oci-archive:{archive}" : $"docker-archive:{archive}:fn:v1";
    }

    private static byte[] Rootfs()
    {
        var tar = new LayerTar().Directory("bin/").File("bin/busybox", File.ReadAllBytes("/bin/busybox"), (UnixFileMode)0b111_101_101).File("bin/view", View)
            .Directory("srv/").File("srv/a", "a").File("srv/b", "b", uid: 1000, gid: 50).HardLink("srv/hard", "srv/a").Link("srv/link", "../usr/share").Directory("usr/").Directory("usr/share/").File("usr/share/gone", "gone");
        foreach (string applet in new[] { "sh", "id", "env", "cat" })
            tar.Link($"bin/{applet}", "busybox");
        return tar.ToArray();
    }

    /// <summary>Writes an archive as docker loads it.</summary>
    private static string WriteDockerArchive(string file, string how, bool compress, params (byte[] Tar, string? Directory)[] layers)
    {
        byte[] config = OciJson.Serialize(new ImageConfig
        {
            Os = "linux",
            Architecture = TestProcessor.Own.Name,
            Config = new() { Entrypoint = ["/bin/sh", "/bin/view"], Cmd = ["by " + how], Env = ["A=1", "B=two words"], User = "1000:50", WorkingDir = "/srv" },
            RootFs = new() { DiffIds = [.. layers.Select(l => Digest.Compute(l.Tar))] },
        });
        string configName = how switch { "kaniko" => Digest.Compute(config).ToString(), "jib" => "config.json", _ => Digest.Compute(config).Hex + ".json" };
        var names = new List<string>();
        using (var writer = new TarWriter(File.Create(file)))
        {
            Add(configName, config);
            foreach ((byte[] tar, string? directory) in layers)
            {
                byte[] content = compress ? Gzip(tar) : tar;
                names.Add(directory is null ? Digest.Compute(content).Hex + ".tar.gz" : directory + "/layer.tar");
                Add(names[^1], content);
            }

            Add("manifest.json", Encoding.UTF8.GetBytes($$"""[{"Config":"{{configName}}","RepoTags":["localhost/{{how}}:latest"],"Layers":[{{string.Join(',', names.Select(n => $"\"{n}\""))}}]}]"""));

            void Add(string name, byte[] content) => writer.WriteEntry(new UstarTarEntry(TarEntryType.RegularFile, name) { DataStream = new MemoryStream(content) });
        }

        return $"docker-archive:{file}:localhost/{how}:latest";
    }

    private static byte[] Gzip(byte[] content)
    {
        using var packed = new MemoryStream();
        using (var gzip = new GZipStream(packed, CompressionLevel.Fastest, leaveOpen: true))
            gzip.Write(content);
        return packed.ToArray();
    }

    private async Task<string> RunAsync(string[] command, CancellationToken token)
    {
        ToolResult result = await Tool.RunAsync(
            "unshare", ["--mount", "--propagation=private", $"--wd={directory}", "sh", "-c", OwnNamespace, "sh", .. command], token,
            environment: new() { ["CONTAINERS_CONF"] = At("containers.conf") });
        Assert.That(result.ExitCode, Is.Zero, $"{string.Join(' ', command)}\n{result.Error}");
        return result.Output;
    }
}
