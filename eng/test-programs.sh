# How test programs are run and counted. Sourced by test.sh and long-tests.sh.

# The longest that one test program may take, in seconds. It ends a test that hangs by itself, after its own limit: this
# is for what comes before and after tests.
limit=${XFN_TEST_LIMIT:-1200}
results=$PWD/artifacts/test-results
passed=0 failed=0 skipped=0
# What every test program and all that it starts has in its environment, and this script has not: so what a program
# leaves behind is found.
mark=XFN_TEST_RUN=$$.$(date +%s)

# What tests start besides what building and running takes.
need_for_tests() {
  need_dotnet
  need "${build_packages[@]}" "${run_packages[@]}" crun:crun node:nodejs /usr/bin/java:default-jre-headless newuidmap:uidmap setpriv:util-linux flock:util-linux mount:mount xargs:findutils \
    docker-registry:docker-registry htpasswd:apache2-utils skopeo:skopeo umoci:umoci /bin/busybox:busybox-static strace:strace /usr/bin/python3:python3 xz:xz-utils zstd:zstd bzip2:bzip2 podman:podman buildah:buildah \
    protoc:protobuf-compiler /usr/include/google/protobuf/duration.proto:libprotobuf-dev /usr/lib/python3/dist-packages/grpc:python3-grpcio \
    /usr/lib/python3/dist-packages/google/protobuf:python3-protobuf
}

empty_results() {
  rm -rf "$results"
  mkdir -p "$results"
}

# finish: the summary, and the status: 0 when something passed and nothing failed.
finish() {
  say "Results are in ${results#"$PWD"/}, after $SECONDS seconds"
  echo "$passed passed, $failed failed, $skipped skipped"
  [ "$failed" -eq 0 ] && [ "$passed" -gt 0 ]
  exit
}

build_all() {
  say "Building the solution"
  dotnet build -c Release -v quiet -clp:NoSummary Xfn.Core.sln || { failed=$((failed + 1)); finish; }
}

# count NAME STATUS: adds up what the log of a test program says; one that ends without a summary failed, whatever it
# was. Status 8 is that of a program of which no test was chosen.
count() {
  local log=$results/$1.log p f s
  [ "$2" -ne 8 ] || [ "${chosen_only:-0}" -eq 0 ] || return 0
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

# sweep NAME: ends what a test program left running, and counts it as a failure. What is about to end has five seconds
# for it.
sweep() {
  local pid left=()
  for _ in {1..50}; do
    mapfile -t left < <(grep -slzxF "$mark" /proc/[0-9]*/environ | cut -d/ -f3)
    [ ${#left[@]} -gt 0 ] || return 0
    sleep 0.1
  done
  for pid in "${left[@]}"; do
    echo "$1: left process $pid running: $({ tr '\0' ' ' <"/proc/$pid/cmdline"; } 2>/dev/null || true)"
  done
  kill -KILL "${left[@]}" 2>/dev/null || true
  failed=$((failed + 1))
}

# run_tests NAME COMMAND...: runs a test program, shows what failed, and counts.
run_tests() {
  local name=$1 status=0 begin=$SECONDS
  shift
  say "$name"
  # Its own standard input: a test must not wait for, or take, what was meant for this script.
  timeout --kill-after=20 "$limit" env "$mark" "$@" --progress off --no-ansi --results-directory "$test_results" </dev/null >"$results/$name.log" 2>&1 || status=$?
  if [ "$status" -eq 8 ] && [ "${chosen_only:-0}" -eq 1 ]; then
    echo "None of its tests was chosen."
  else
    grep -vE '^(NUnit Adapter|Running (all|selected) tests| *NUnit3TestExecutor|$)' "$results/$name.log" || true
  fi
  count "$name" "$status"
  sweep "$name"
  echo "$((SECONDS - begin)) $name" >>"$results/seconds"
}

# What is not among the ordinary tests.
not_long='TestCategory!=Long'

program() { echo "tests/$1/bin/Release/net10.0/$1"; }

# for_each_program ARGUMENT...: runs every test program but that of the end-to-end tests, which has ways.
for_each_program() {
  local project name
  for project in tests/*.Tests/*.Tests.csproj; do
    name=$(basename "$project" .csproj)
    [ "$name" != Xfn.Core.EndToEnd.Tests ] || continue
    test_results=$results run_tests "$name" "$(program "$name")" "$@"
  done
}
