#!/usr/bin/env bash
# Writes what the analyzers report as missing from, or no longer in, the pinned public API into PublicAPI.Unshipped.txt.
# Read the difference before you commit it: it is what users will see. With --ship, at a release, it moves what is in
# PublicAPI.Unshipped.txt to PublicAPI.Shipped.txt instead.
set -euo pipefail
cd "$(dirname "$0")/.."

# Lines on stdin as such a file has them.
list() { echo '#nullable enable'; { grep -v -e '^#nullable' -e '^$' || true; } | LC_ALL=C sort -u; }

# The symbols of one kind of report.
reported() { grep -oP "$1: Symbol '\K.*(?=' is )" <<<"$log" | sort -u || true; }

for unshipped in src/*/PublicAPI.Unshipped.txt; do
  directory=$(dirname "$unshipped") shipped=${unshipped/Unshipped/Shipped}
  [ -s "$shipped" ] || list </dev/null >"$shipped"
  if [ "${1:-}" = --ship ]; then
    removed=$(sed -n 's/^\*REMOVED\*//p' "$unshipped")
    cat "$shipped" "$unshipped" | grep -v '^\*REMOVED\*' | grep -vxF -e "${removed:-$'\t'}" | list >"$shipped.new"
    mv "$shipped.new" "$shipped"
    list </dev/null >"$unshipped"
    continue
  fi
  log=$(dotnet build "$directory" --no-incremental -p:TreatWarningsAsErrors=false -p:SkipSpark=true 2>&1 || true)
  # RS0016: not declared yet. RS0017: declared, but gone. RS0050: declared as removed, but there.
  added=$(reported RS0016) gone=$(reported RS0017) back=$(reported RS0050)
  { grep -vxF -e "${gone:-$'\t'}" "$unshipped" || true
    printf '%s\n' "$added"
    { grep -xF -e "${gone:-$'\t'}" "$shipped" || true; } | sed 's/^/*REMOVED*/'
  } | grep -vxF -e "$(sed 's/^/*REMOVED*/' <<<"${back:-$'\t'}")" | list >"$unshipped.new"
  mv "$unshipped.new" "$unshipped"
  echo "$directory: $(grep -c . <<<"$added" || true) added, $(grep -c . <<<"$gone" || true) removed"
done
