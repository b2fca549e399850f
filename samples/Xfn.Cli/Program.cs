using Xfn.Cli;
using Xfn.Core;

return await new CommandLine(options => new ContainerRunner(options)).InvokeAsync(args);
