using System.Text;
using HelloFunction;

// A function is an ordinary program: a document on stdin, a document on stdout, what went wrong on stderr.
try
{
    using var reader = new StreamReader(Console.OpenStandardInput(), new UTF8Encoding(false, throwOnInvalidBytes: true));
    FunctionIO io = FunctionIO.Read(reader);
    Greeter.Run(io);

    // Written whole or not at all: a runner must not see half an answer before an error.
    using var answer = new MemoryStream();
    using (var writer = new StreamWriter(answer, leaveOpen: true))
        io.Write(writer);
    using Stream stdout = Console.OpenStandardOutput();
    answer.WriteTo(stdout);
    return 0;
}
catch (FunctionIOException e)
{
    Console.Error.WriteLine($"hello-function: error: {e.Message}");
    return 1;
}
