#!/usr/bin/env bash
# Feeds what reads hostile bytes with inputs made by chance, guided by the code that they reach. See "Tests by chance" in docs/architecture.md.
#   eng/fuzz.sh TARGET SECONDS [RUNS]   ends after so long or so many runs; the status is 1 when something was found
#   eng/fuzz.sh all SECONDS [RUNS]      every target, one behind another
#   eng/fuzz.sh unpacks RUNS            whole archives, unpacked to disk, by the tests of tests/Xfn.Core.Spark.Tests
#   eng/fuzz.sh TARGET FILE             one input, such as one that was found
# Findings, and inputs that reached new code, are kept in artifacts/fuzz/TARGET.
. "$(dirname "$0")/common.sh"

[ $# -ge 2 ] || { sed -n 's/^#   //p' "$0" >&2; fail "expected a target and a time"; }
need_dotnet
need "${build_packages[@]}"

if [ "$1" = unpacks ]; then
  say "Building the tests of spark"
  dotnet build -c Release -v quiet -clp:NoSummary tests/Xfn.Core.Spark.Tests
  # Two tests of 500 rounds each, as often as that makes RUNS.
  XFN_FUZZ_FACTOR=$((($2 + 999) / 1000)) XFN_FUZZ_SEED=${XFN_FUZZ_SEED:-$RANDOM$RANDOM} tests/Xfn.Core.Spark.Tests/bin/Release/net10.0/Xfn.Core.Spark.Tests \
    --filter "FullyQualifiedName~FuzzTests" --progress off --no-ansi --results-directory artifacts/fuzz/unpacks
  exit
fi

say "Building xfn-fuzz"
dotnet build -c Release -v quiet -clp:NoSummary tests/Xfn.Core.Fuzzing
fuzz=tests/Xfn.Core.Fuzzing/bin/Release/net10.0/xfn-fuzz
[ "$1" = all ] || exec "$fuzz" "$@"

shift
status=0
for target in $("$fuzz" list all); do
  "$fuzz" "$target" "$@" || status=1
done
exit $status
