using Xfn.Cli;
using Xfn.Core;

StandardDescriptors.Fill();
return await new CommandLine(options => new ContainerRunner(options)).InvokeAsync(args);
