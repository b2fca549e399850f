using System.CommandLine;
using Xfn.Image;
using Xfn.Core;

var program = new Argument<FileInfo>("PROGRAM") { Description = "An executable for Linux, published as NativeAOT or self-contained. Its directory goes into the image whole." };
var layout = new Argument<string>("oci:PATH[:TAG]") { Description = "The OCI layout directory to write the image to; it is made when it does not exist." };
var arguments = new Argument<string[]>("ARGUMENT") { Description = "Arguments that the program is always given; write '--' before the first that begins with '-'.", Arity = ArgumentArity.ZeroOrMore };
var user = new Option<string>("--user") { Description = "Who the program runs as: uid, or uid:gid. By default the container's root." };
var env = new Option<string[]>("--env", "-e") { Description = "NAME=VALUE for the program's environment. May be repeated." };
var command = new RootCommand("Makes an OCI image of a published program and the shared libraries it needs: no daemon, no base image, the same bytes every time.")
{
    program, layout, arguments, user, env,
};

command.SetAction(parsed =>
{
    try
    {
        ImageReference reference = ImageReference.Parse(parsed.GetValue(layout)!);
        if (reference.Transport != "oci")
            throw new ImageWriterException($"cannot write image '{reference}': expected an OCI layout directory. Write oci:PATH or oci:PATH:TAG.");

        var image = new ProgramImage(parsed.GetValue(program)!.FullName)
        {
            Arguments = parsed.GetValue(arguments) ?? [],
            User = parsed.GetValue(user),
            Environment = parsed.GetValue(env) ?? [],
        };
        Digest manifest = image.WriteTo(OciLayout.OpenOrCreate(reference.Repository), reference.Tag);
        Console.WriteLine(reference.WithDigest(manifest));
        return 0;
    }
    catch (Exception e) when (e is ImageWriterException or FormatException or IOException or UnauthorizedAccessException)
    {
        Console.Error.WriteLine($"xfn-image: error: {e.Message}");
        return 1;
    }
});

return command.Parse(args).Invoke();
