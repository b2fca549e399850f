#!/usr/bin/env bash
# Runs every test. Ends with "N passed, N failed, N skipped"; the status is 0 when something passed and nothing failed.
. "$(dirname "$0")/common.sh"

need_dotnet
need "${build_packages[@]}" "${run_packages[@]}" crun:crun newuidmap:uidmap setpriv:util-linux \
  docker-registry:docker-registry htpasswd:apache2-utils skopeo:skopeo umoci:umoci /bin/busybox:busybox-static strace:strace /usr/bin/python3:python3 xz:xz-utils zstd:zstd \
  protoc:protobuf-compiler /usr/include/google/protobuf/duration.proto:libprotobuf-dev /usr/lib/python3/dist-packages/grpc:python3-grpcio /usr/lib/python3/dist-packages/google/protobuf:python3-protobuf

# The longest that one test program may take, in seconds.
limit=${XFN_TEST_LIMIT:-1200}
results=$PWD/artifacts/test-results
rm -rf "$results"
mkdir -p "$results"
passed=0 failed=0 skipped=0

finish() {
  say "Results are in ${results#"$PWD"/}"
  echo "$passed passed, $failed failed, $skipped skipped"
  [ "$failed" -eq 0 ] && [ "$passed" -gt 0 ]
  exit
}

say "Building the solution"
dotnet build -c Release -v quiet -clp:NoSummary Xfn.Core.sln || { failed=1; finish; }

# count NAME STATUS: adds up what the log of a test program says; one that ends without a summary failed, whatever it was.
count() {
  local log=$results/$1.log p f s
  p=$(sed -n 's/^ *succeeded: //p' "$log" | tail -1) f=$(sed -n 's/^ *failed: //p' "$log" | tail -1) s=$(sed -n 's/^ *skipped: //p' "$log" | tail -1)
  if [ -z "$p" ] || { [ "$2" -ne 0 ] && [ "${f:-0}" -eq 0 ]; }; then
    f=$((${f:-0} + 1))
    case $2 in
      124 | 137) echo "$1: stopped after $limit seconds" ;;
      8) echo "$1: no tests" ;;
      *) echo "$1: ended with status $2" ;;
    esac
  fi
  passed=$((passed + ${p:-0})) failed=$((failed + ${f:-0})) skipped=$((skipped + ${s:-0}))
}

# run_tests NAME COMMAND...: runs a test program, shows what failed, and counts.
run_tests() {
  local name=$1 status=0
  shift
  say "$name"
  # Its own standard input: a test must not wait for, or take, what was meant for this script.
  timeout --kill-after=20 "$limit" "$@" --progress off --no-ansi --results-directory "$test_results" </dev/null >"$results/$name.log" 2>&1 || status=$?
  grep -vE '^(NUnit Adapter|Running (all|selected) tests| *NUnit3TestExecutor|$)' "$results/$name.log" || true
  count "$name" "$status"
}

for project in tests/*.Tests/*.Tests.csproj; do
  name=$(basename "$project" .csproj)
  [ "$name" != Xfn.Core.EndToEnd.Tests ] || continue
  test_results=$results run_tests "$name" "tests/$name/bin/Release/net10.0/$name"
done

. eng/test-ways.sh

finish
