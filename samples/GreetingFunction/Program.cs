using System.Security.Cryptography.X509Certificates;
using Grpc.Health.V1;
using Grpc.HealthCheck;
using GreetingFunction;
using Microsoft.AspNetCore.Server.Kestrel.Core;
using Microsoft.AspNetCore.Server.Kestrel.Https;
using Xfn.Core.Composition;

// A composition function is a gRPC server: Crossplane, or xfn render, starts it and asks it again and again.
FunctionArguments arguments;
try
{
    arguments = FunctionArguments.Parse(args, Environment.GetEnvironmentVariable("TLS_SERVER_CERTS_DIR"));
}
catch (ArgumentException ex)
{
    Console.Error.WriteLine($"greeting-function: error: {ex.Message}\n{FunctionArguments.Usage}");
    return 2;
}

// Without this all files below the working directory are watched, for the sake of a configuration that may change. In an
// image that is often /, with /proc and /sys in it, and takes ten times as long as all else at the start.
WebApplicationBuilder builder = WebApplication.CreateSlimBuilder(new WebApplicationOptions { Args = ["--hostBuilder:reloadConfigOnChange=false"] });
builder.Logging.SetMinimumLevel(arguments.Debug ? LogLevel.Debug : LogLevel.Warning);
builder.WebHost.ConfigureKestrel(Listen);

// SIGTERM: calls under way get this long.
builder.Services.Configure<HostOptions>(host => host.ShutdownTimeout = TimeSpan.FromSeconds(5));

// A composite resource with all that it is composed of may be larger than the 4 MiB that gRPC allows by default.
builder.Services.AddGrpc(grpc => grpc.MaxReceiveMessageSize = 64 << 20);
builder.Services.AddSingleton<ICompositionFunction, Greeter>();
builder.Services.AddSingleton<CompositionFunctionService>().AddSingleton<HealthServiceImpl>();

WebApplication application = builder.Build();
application.MapGrpcService<CompositionFunctionService>();
application.MapGrpcService<HealthServiceImpl>();
application.Services.GetRequiredService<HealthServiceImpl>().SetStatus("", HealthCheckResponse.Types.ServingStatus.Serving);
await application.RunAsync();
return 0;

void Listen(KestrelServerOptions kestrel)
{
    if (arguments.Address is { } address)
        kestrel.Listen(address, arguments.Port, Configure);
    else
        kestrel.ListenAnyIP(arguments.Port, Configure);
}

void Configure(ListenOptions listen)
{
    // gRPC is HTTP/2, also without TLS.
    listen.Protocols = HttpProtocols.Http2;
    if (arguments.Certificates is not { } directory)
        return;

    var authorities = new X509Certificate2Collection();
    authorities.ImportFromPemFile(Path.Combine(directory, "ca.crt"));
    listen.UseHttps(new HttpsConnectionAdapterOptions
    {
        ServerCertificate = X509Certificate2.CreateFromPemFile(Path.Combine(directory, "tls.crt"), Path.Combine(directory, "tls.key")),
        ClientCertificateMode = ClientCertificateMode.RequireCertificate,
        ClientCertificateValidation = (caller, _, _) => IsTrusted(caller, authorities),
    });
}

// Only who has a certificate of that authority may ask.
static bool IsTrusted(X509Certificate2 caller, X509Certificate2Collection authorities)
{
    using var chain = new X509Chain();
    chain.ChainPolicy.TrustMode = X509ChainTrustMode.CustomRootTrust;
    chain.ChainPolicy.CustomTrustStore.AddRange(authorities);
    chain.ChainPolicy.RevocationMode = X509RevocationMode.NoCheck;
    chain.ChainPolicy.DisableCertificateDownloads = true;
    return chain.Build(caller);
}
