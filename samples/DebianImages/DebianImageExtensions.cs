using System.Text.Json;
using Xfn.Core;

namespace DebianImages;

/// <summary>Images in memory, made of Debian's packages on this machine: for samples and tests without a registry.
/// Where there is one, a request names an image of it instead, such as <c>docker.io/library/redis:7</c>.</summary>
/// <remarks>Each throws a <see cref="FileNotFoundException"/> that names the package where it is missing.</remarks>
public static class DebianImageExtensions
{
    // PostgreSQL refuses to run as root.
    private const int PostgresUser = 70;

    private const string PostgresData = "/var/lib/postgresql/data";

    private const string StartPostgres = """
        #!/bin/sh
        # Makes an empty database cluster where there is none, and becomes the server.
        set -e
        [ -e "$PGDATA/PG_VERSION" ] || initdb --username=postgres --auth=trust --encoding=UTF8 --locale=C --no-sync --no-instructions
        exec postgres -k /tmp "$@"
        """;

    // It logs to stdout and stderr. One process does all, as root: to become another user takes a capability, and
    // containers have none.
    private const string NginxConfiguration = """
        user root root;
        daemon off;
        master_process off;
        pid /tmp/nginx.pid;
        events { }
        http {
            access_log /dev/stdout;
            types { text/html html; text/css css; image/svg+xml svg; }
            charset utf-8;
            client_body_temp_path /tmp/body;
            proxy_temp_path /tmp/proxy;
            fastcgi_temp_path /tmp/fastcgi;
            uwsgi_temp_path /tmp/uwsgi;
            scgi_temp_path /tmp/scgi;
            server {
                listen 80;
                root /usr/share/nginx/html;
            }
        }
        """;

    /// <summary>Adds redis, which listens on port 6379 and keeps nothing on a disk, with <c>redis-cli</c> and
    /// <c>redis-benchmark</c>.</summary>
    public static void AddRedis(this InMemoryImageFetcher images, string name) => images.AddImage(
        name,
        new ImageExecutionConfig { Entrypoint = ["/usr/bin/redis-server", "--save", ""], Env = ["PATH=/usr/bin"] },
        new ProgramFiles().Program("/usr/bin/redis-server", "redis-server").Program("/usr/bin/redis-cli", "redis-tools").Program("/usr/bin/redis-benchmark", "redis-tools").ToLayer());

    /// <summary>Adds PostgreSQL, which listens on port 5432, with <c>psql</c>. Whoever connects is user
    /// <c>postgres</c> without a password. It keeps its data in the volume <c>/var/lib/postgresql/data</c>.</summary>
    public static void AddPostgres(this InMemoryImageFetcher images, string name)
    {
        (int version, string programs) = ProgramFiles.Newest("/usr/lib/postgresql", "bin/postgres", "postgresql");
        images.AddImage(
            name,
            new ImageExecutionConfig
            {
                Entrypoint = ["/usr/local/bin/start-postgres"],
                User = $"{PostgresUser}:{PostgresUser}",
                Env = [$"PATH={programs}/bin:/usr/bin", $"PGDATA={PostgresData}"],
                Volumes = new Dictionary<string, JsonElement> { [PostgresData] = JsonElement.Parse("{}") },

                // SIGTERM lets those who are connected go on.
                StopSignal = "SIGINT",
            },
            new ProgramFiles()
                .Program($"{programs}/bin/postgres", "postgresql")
                .Program($"{programs}/bin/initdb", "postgresql")
                .Program($"{programs}/bin/psql", "postgresql-client")

                // Without the compiler of queries, which is larger than all the rest.
                .Tree($"{programs}/lib", "bitcode", "llvmjit.so")
                .Tree($"/usr/share/postgresql/{version}", "man")
                .Busybox("sh")
                .Directory(PostgresData, PostgresUser)
                .Text("/etc/passwd", $"postgres:x:{PostgresUser}:{PostgresUser}::{PostgresData}:/bin/sh\n")
                .Text("/usr/local/bin/start-postgres", StartPostgres)
                .ToLayer());
    }

    /// <summary>Adds nginx, which serves on port 80 what is put into <c>/usr/share/nginx/html</c>.</summary>
    public static void AddNginx(this InMemoryImageFetcher images, string name) => images.AddImage(
        name,
        new ImageExecutionConfig { Entrypoint = ["/usr/sbin/nginx", "-e", "stderr", "-c", "/etc/nginx.conf"] },
        new ProgramFiles()
            .Program("/usr/sbin/nginx", "nginx-light")
            .Text("/etc/nginx.conf", NginxConfiguration)
            .Text("/etc/passwd", "root:x:0:0::/:/bin/sh\n")
            .Text("/etc/group", "root:x:0:\n")
            .ToLayer());

    /// <summary>Adds Python 3 with its standard library, and a shell.</summary>
    public static void AddPython(this InMemoryImageFetcher images, string name)
    {
        string library = Directory.GetDirectories("/usr/lib", "python3.?*").MaxBy(path => path.Length)
            ?? throw new FileNotFoundException("cannot find '/usr/lib/python3.*' of Debian's package python3. Install it.");
        IEnumerable<string> unused = ["test", "tkinter", "idlelib", "ensurepip", "lib2to3", .. Directory.GetDirectories(library, "config-*").Select(d => Path.GetFileName(d))];
        images.AddImage(
            name,
            new ImageExecutionConfig { Cmd = ["/usr/bin/python3"], Env = ["PATH=/usr/bin", "LANG=C.UTF-8"] },
            new ProgramFiles()
                .Program("/usr/bin/python3", "python3")
                .Tree(library, [.. unused])
                .Busybox("sh", "sleep", "cat", "ls")
                .ToLayer());
    }
}
