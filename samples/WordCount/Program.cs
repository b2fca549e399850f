using WordCount;

string text = await Console.In.ReadToEndAsync();
if (text.Length == 0)
{
    await Console.Error.WriteLineAsync("no input");
    return 3;
}

var figures = TextFigures.Of(text);
Console.WriteLine($"{figures.Lines} {figures.Words}");
return 0;
