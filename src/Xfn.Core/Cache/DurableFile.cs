using Xfn.Core.Interop;

namespace Xfn.Core.Cache;

/// <summary>Files that are whole whenever they are there.</summary>
internal static class DurableFile
{
    /// <summary>Writes a file under a temporary name, has it on disk, and renames it.</summary>
    public static void Write(string path, string temporary, ReadOnlySpan<byte> content)
    {
        try
        {
            using (var file = new FileStream(temporary, FileMode.CreateNew, FileAccess.Write, FileShare.Read, bufferSize: 0))
            {
                file.Write(content);
                Posix.SyncFile(file);
            }

            File.Move(temporary, path, overwrite: true);
        }
        catch
        {
            File.Delete(temporary);
            throw;
        }
    }
}
