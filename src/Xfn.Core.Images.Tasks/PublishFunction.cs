using System.Globalization;
using Microsoft.Build.Framework;

namespace Xfn.Core.Images.Tasks;

/// <summary>Makes an image of a project that was published: the target PublishFunction.</summary>
public sealed class PublishFunction : Microsoft.Build.Utilities.Task, ICancelableTask, IDisposable
{
    private readonly CancellationTokenSource _cancelled = new();

    /// <summary>Gets or sets what was published: the executable or the assembly.</summary>
    [Required]
    public string Program { get; set; } = "";

    /// <summary>Gets or sets where the image goes.</summary>
    [Required]
    public string Image { get; set; } = "";

    /// <summary>Gets or sets the base. Empty for none.</summary>
    public string BaseImage { get; set; } = "";

    /// <summary>Gets or sets package.yaml, or the directory with crossplane.yaml. Empty for none.</summary>
    public string Package { get; set; } = "";

    /// <summary>Gets or sets the user. Empty for the base's.</summary>
    public string User { get; set; } = "";

    /// <summary>Gets or sets the arguments.</summary>
    public string[] Arguments { get; set; } = [];

    /// <summary>Gets or sets whether this machine's runtime is added.</summary>
    public bool AddRuntime { get; set; }

    /// <summary>Gets or sets environment variables, with a Value each.</summary>
    public ITaskItem[] Environment { get; set; } = [];

    /// <summary>Gets or sets labels, with a Value each.</summary>
    public ITaskItem[] Labels { get; set; } = [];

    /// <summary>Gets or sets the ports.</summary>
    public string[] Ports { get; set; } = [];

    /// <summary>Gets the image's reference, with its digest.</summary>
    [Output]
    public string Reference { get; private set; } = "";

    /// <summary>Makes the image.</summary>
    /// <returns>Whether it is made.</returns>
    public override bool Execute()
    {
        try
        {
            Reference = Builder(Path.GetFullPath(Program)).WriteToAsync(Image, cancellationToken: _cancelled.Token).GetAwaiter().GetResult().ToString();
            Log.LogMessage(MessageImportance.High, "{0}", Reference);
            return true;
        }
        catch (Exception e) when (e is XfnException or ArgumentException or FormatException or OperationCanceledException)
        {
            Log.LogError("{0}", e.Message);
            return false;
        }
    }

    /// <summary>Ends the work.</summary>
    public void Cancel() => _cancelled.Cancel();

    /// <summary>Frees what the work was ended by.</summary>
    public void Dispose() => _cancelled.Dispose();

    private ImageBuilder Builder(string program)
    {
        // With what lies beside it: an executable goes in alone.
        ImageBuilder builder = new ImageBuilder().AddProgram(program).AddDirectory(Path.GetDirectoryName(program)!, "/app");
        if (BaseImage.Length > 0)
            builder.From(BaseImage);
        if (Package.Length > 0)
            builder.WithPackage(Package);
        if (User.Length > 0)
            builder.WithUser(User);
        if (Arguments.Length > 0)
            builder.WithArguments(Arguments);
        if (AddRuntime)
            builder.AddDotnetRuntime();
        foreach (ITaskItem variable in Environment)
            builder.WithEnvironment(variable.ItemSpec, variable.GetMetadata("Value"));
        foreach (ITaskItem label in Labels)
            builder.WithLabel(label.ItemSpec, label.GetMetadata("Value"));
        foreach (string port in Ports)
            builder.WithPort(int.TryParse(port, NumberStyles.None, CultureInfo.InvariantCulture, out int number) ? number : throw new ArgumentException($"cannot use port '{port}': it is no number. Write it like 9443."));
        return builder;
    }
}
