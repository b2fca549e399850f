#!/usr/bin/env bash
# Writes what the analyzers report as missing from, or no longer in, the pinned public API into PublicAPI.Unshipped.txt.
# Read the difference before you commit it: it is what users will see.
set -euo pipefail
cd "$(dirname "$0")/.."

for project in src/*/PublicAPI.Unshipped.txt; do
  directory=$(dirname "$project")
  [ -s "$directory/PublicAPI.Shipped.txt" ] || echo '#nullable enable' >"$directory/PublicAPI.Shipped.txt"
  [ -s "$project" ] || echo '#nullable enable' >"$project"
  log=$(dotnet build "$directory" --no-incremental -p:TreatWarningsAsErrors=false -p:SkipSpark=true 2>&1 || true)
  # RS0016: not declared yet. RS0017: declared, but gone.
  added=$(grep -oP "RS0016: Symbol '\K.*(?=' is not part of the declared public API)" <<<"$log" | sort -u || true)
  gone=$(grep -oP "RS0017: Symbol '\K.*(?=' is part of the declared API)" <<<"$log" | sort -u || true)
  { echo '#nullable enable'; { grep -v '^#nullable' "$project" || true; printf '%s\n' "$added"; } | sed '/^$/d' | grep -vxF -e "${gone:-$'\t'}" | LC_ALL=C sort -u; } >"$project.new"
  mv "$project.new" "$project"
  echo "$directory: $(grep -c . <<<"$added" || true) added, $(grep -c . <<<"$gone" || true) removed"
done
