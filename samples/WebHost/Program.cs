using OpenTelemetry.Metrics;
using OpenTelemetry.Trace;
using Xfn.Core;

// A runner in ASP.NET Core: POST /run?image=IMAGE runs a function on the body, GET /health says whether that works, and
// GET /metrics has the measurements for Prometheus.
// Its options are in the configuration's section Xfn: --Xfn:MaxConcurrency=8 or Xfn__MaxConcurrency in the environment.
WebApplicationBuilder builder = WebApplication.CreateBuilder(args);
builder.Services.AddContainerRunner(builder.Configuration.GetSection("Xfn"));
builder.Services.AddHealthChecks().AddContainerRunnerCheck();
builder.Services.AddOpenTelemetry()
    // A run is a child of its request, and is recorded with it: without ASP.NET Core's own spans it is not.
    .WithTracing(tracing => tracing.AddSource("Microsoft.AspNetCore", XfnTelemetry.SourceName).AddConsoleExporter())
    .WithMetrics(metrics => metrics.AddMeter(XfnTelemetry.MeterName).AddConsoleExporter().AddPrometheusExporter());

WebApplication application = builder.Build();
application.MapHealthChecks("/health");
application.MapPrometheusScrapingEndpoint();
application.MapPost("/run", RunAsync);
await application.RunAsync();

static async Task<IResult> RunAsync(string image, HttpRequest request, IContainerRunner runner, CancellationToken cancellationToken)
{
    using var input = new MemoryStream();
    await request.Body.CopyToAsync(input, cancellationToken);
    try
    {
        RunFunctionResponse response = await runner.RunFunctionAsync(new RunFunctionRequest { Image = image, Input = input.ToArray() }, cancellationToken);
        return Results.Bytes(response.Output);
    }
    catch (XfnException ex)
    {
        return Results.Problem(ex.Message, statusCode: ex switch
        {
            InvalidRequestException => StatusCodes.Status400BadRequest,
            ImageNotFoundException => StatusCodes.Status404NotFound,
            FunctionTimedOutException => StatusCodes.Status504GatewayTimeout,
            FunctionFailedException => StatusCodes.Status422UnprocessableEntity,
            RunnerBusyException => StatusCodes.Status503ServiceUnavailable,
            _ => StatusCodes.Status502BadGateway,
        });
    }
}
