namespace Xfn.Core.Layers;

/// <summary>Holds images to <see cref="UnpackLimits"/>, as far as the runner counts. Entries and what files take are counted where they are written.</summary>
internal static class UnpackLimitChecks
{
    extension(UnpackLimits limits)
    {
        /// <summary>Holds the archive of a layer to the limits while it is decompressed.</summary>
        /// <param name="source">The layer.</param>
        /// <param name="packed">What was read of it.</param>
        /// <param name="unpacked">What that made.</param>
        public void CheckArchive(LayerSource source, long packed, long unpacked)
        {
            if (unpacked > limits.MaxLayerBytes)
                throw Over($"layer {source.Blob.Digest} of image '{source.Reference}'", $"its archive has more than {limits.MaxLayerBytes} bytes", nameof(limits.MaxLayerBytes));
            if ((unpacked - limits.CompressionSlackBytes) / limits.MaxCompressionRatio > packed)
            {
                throw Over(
                    $"layer {source.Blob.Digest} of image '{source.Reference}'",
                    $"{packed} bytes of it make more than {unpacked}, over {limits.MaxCompressionRatio} times as many",
                    nameof(limits.MaxCompressionRatio));
            }
        }

        /// <summary>Adds up the layers of an image.</summary>
        /// <param name="reference">The image.</param>
        /// <param name="layers">Its layers; null for those that are not there yet.</param>
        public void CheckImage(ImageReference reference, IEnumerable<StoredLayer?> layers)
        {
            long bytes = 0, entries = 0;
            foreach (StoredLayer? layer in layers)
            {
                bytes += layer?.Record.Bytes ?? 0;
                entries += layer?.Record.Entries ?? 0;
            }

            if (bytes > limits.MaxImageBytes)
                throw Over($"image '{reference}'", $"its layers take more than {limits.MaxImageBytes} bytes", nameof(limits.MaxImageBytes));
            if (entries > limits.MaxImageEntries)
                throw Over($"image '{reference}'", $"its layers have more than {limits.MaxImageEntries} entries", nameof(limits.MaxImageEntries));
        }
    }

    private static InvalidImageException Over(string what, string found, string option) =>
        new(RunStage.Unpack, $"cannot unpack {what}: {found}. If it is to be trusted, raise the limit (UnpackLimits.{option}).");
}
