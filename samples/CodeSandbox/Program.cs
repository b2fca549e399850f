// An MCP server that gives an agent a place to run code: one container without a network (docs/security.md says what
// holds a program in it). It speaks on stdin and stdout, so an MCP client starts it:
//
//   CodeSandbox                                                  Python of this machine
//   CodeSandbox --Image=docker.io/library/python:3.13-slim       any image with sh, sleep and python3
//   CodeSandbox --Image=... --Command:0=node --Command:1=-       another language: a command that reads code on stdin
//
// SandboxOptions has all that can be set so.
using CodeSandbox;
using Microsoft.Extensions.DependencyInjection;
using Microsoft.Extensions.Hosting;
using Microsoft.Extensions.Logging;

HostApplicationBuilder builder = Host.CreateApplicationBuilder(args);

// Stdout is the protocol's.
builder.Logging.AddConsole(console => console.LogToStandardErrorThreshold = LogLevel.Trace);
builder.Services.Configure<SandboxOptions>(builder.Configuration);
builder.Services.AddSingleton<Sandbox>();
builder.Services.AddMcpServer().WithStdioServerTransport().WithTools<SandboxTools>();
await builder.Build().RunAsync();
