namespace Xfn.Cli;

/// <summary>Waits until one of some files changes, or a file of one of some directories.</summary>
internal sealed class FileWatch : IDisposable
{
    /// <summary>How long a file must not change, once it has: editors write in several steps.</summary>
    private static readonly TimeSpan Quiet = TimeSpan.FromMilliseconds(10);

    private readonly SemaphoreSlim _changed = new(0);
    private readonly List<FileSystemWatcher> _watchers = [];

    public FileWatch(IEnumerable<string> paths)
    {
        // Directories, since many an editor puts a new file in the place of the old one.
        foreach (IGrouping<string, string> files in paths.Select(Path.GetFullPath).GroupBy(path => Directory.Exists(path) ? path : Path.GetDirectoryName(path)!))
        {
            HashSet<string> names = [.. files];
            bool isWhole = names.Contains(files.Key);
            var watcher = new FileSystemWatcher(files.Key) { IncludeSubdirectories = isWhole, NotifyFilter = NotifyFilters.FileName | NotifyFilters.LastWrite | NotifyFilters.Size };
            void Look(object sender, FileSystemEventArgs change)
            {
                if (isWhole || names.Contains(change.FullPath))
                    _changed.Release();
            }

            watcher.Changed += Look;
            watcher.Created += Look;
            watcher.Deleted += Look;
            watcher.Renamed += Look;

            // More has changed than it could tell of.
            watcher.Error += (_, _) => _changed.Release();
            watcher.EnableRaisingEvents = true;
            _watchers.Add(watcher);
        }
    }

    /// <summary>Ends when something has changed since the last time, and nothing does any more.</summary>
    public async Task ChangedAsync(CancellationToken cancellationToken)
    {
        await _changed.WaitAsync(cancellationToken);
        while (await _changed.WaitAsync(Quiet, cancellationToken))
        {
        }
    }

    public void Dispose()
    {
        _watchers.ForEach(watcher => watcher.Dispose());
        _changed.Dispose();
    }
}
