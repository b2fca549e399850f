# How test programs are run and counted. Sourced by test.sh and long-tests.sh.

# The longest that one test program may take, in seconds. It ends a test that hangs by itself, after its own limit: this
# is for what comes before and after tests.
limit=${XFN_TEST_LIMIT:-1200}
results=$PWD/artifacts/test-results
passed=0 failed=0 skipped=0
# How many test programs run at the same time. A test waits for processes and disks for a third of its time, so further
# programs have that processor time. What takes long by nature is measured alone.
lanes=${XFN_TEST_LANES:-3}
# The programs that run: process id, then name and beginning.
declare -A running=() begun=()
# Who stops the script stops them.
trap '[ ${#running[@]} -eq 0 ] || kill "${!running[@]}" 2>/dev/null; exit 130' INT TERM

# What every test program and all that it starts has in its environment, and this script has not: so what a program
# leaves behind is found.
started=$(date +%s)
mark() { echo "XFN_TEST_RUN=$$.$started.$1"; }

# What tests start besides what building and running takes.
need_for_tests() {
  need_dotnet
  need "${build_packages[@]}" "${run_packages[@]}" crun:crun node:nodejs npm:npm /usr/bin/java:default-jre-headless newuidmap:uidmap setpriv:util-linux flock:util-linux mount:mount xargs:findutils \
    docker-registry:docker-registry htpasswd:apache2-utils skopeo:skopeo umoci:umoci /bin/busybox:busybox-static strace:strace /usr/bin/python3:python3 xz:xz-utils zstd:zstd bzip2:bzip2 podman:podman buildah:buildah \
    protoc:protobuf-compiler /usr/include/google/protobuf/duration.proto:libprotobuf-dev /usr/lib/python3/dist-packages/grpc:python3-grpcio \
    /usr/lib/python3/dist-packages/google/protobuf:python3-protobuf \
    llvm-objcopy:llvm
  # Packages have spark for both processors.
  eng/sysroot.sh
  # What samples make images of: installed, they would start services.
  unpack "$PWD/artifacts/debian" /usr/bin/redis-server:redis-server /usr/bin/redis-cli:redis-tools /usr/sbin/nginx:nginx-light \
    "/usr/lib/postgresql/*/bin/postgres:postgresql" "/usr/lib/postgresql/*/bin/psql:postgresql-client"
}

empty_results() {
  rm -rf "$results"
  mkdir -p "$results"
}

# finish: waits for what runs, then says the sum; the status is 0 when something passed and nothing failed.
finish() {
  wait_for_all
  slowest >"$results/slowest" 2>/dev/null || true
  say "Results are in ${results#"$PWD"/}, after $SECONDS seconds"
  failures | sed 200q
  echo "$passed passed, $failed failed, $skipped skipped"
  [ "$failed" -eq 0 ] && [ "$passed" -gt 0 ]
  exit
}

# failures: each test that failed, with the first lines of what it said.
failures() {
  local log
  for log in "$results"/*.log; do
    awk -v program="$(basename "$log" .log)" '/^(passed|skipped|Test run summary)/ { left = 0 } /^failed / { left = 16; print ""; print program ": " $0; next } left && NF { print; left-- }' "$log"
  done
}

# slowest: the tests that took longest, with their seconds.
slowest() {
  awk '/^passed .*\)$/ {
    time = $0; sub(/.* \(/, "", time); count = split(time, parts, " "); seconds = 0
    for (i = 1; i <= count; i++)
      seconds += parts[i] * (parts[i] ~ /[0-9]ms/ ? 0.001 : parts[i] ~ /h/ ? 3600 : parts[i] ~ /m/ ? 60 : 1)
    program = FILENAME; sub(/.*\//, "", program); sub(/\.log$/, "", program)
    test = $0; sub(/^passed /, "", test); sub(/ \([^(]*$/, "", test)
    printf "%7.1f %s %s\n", seconds, program, test
  }' "$results"/*.log </dev/null | sort -rn | sed 50q
}

build_all() {
  # One compiler for all projects spares each the start of its own. It is this script's alone, and ends with the build.
  local -x UseSharedCompilation=true SharedCompilationId=xfn-$$-tests
  # Nor does a compiler run for so long that code which counts how it is used pays.
  local -x DOTNET_TieredPGO=0
  build_programs || failed=$((failed + 1))
  end_compiler
  [ "$failed" -eq 0 ] || finish
}

build_programs() {
  say "Building the solution"
  # By the graph of its projects each is read once.
  dotnet build -graph -c Release -v quiet -clp:NoSummary Xfn.Core.sln || return
  # Few filters choose tests that need these: they are made once, and only where npm is there.
  if [ -z "${filter-}" ] || { [ ! -e artifacts/node-function ] && command -v npm >/dev/null; }; then
    composition_functions
  fi
}

# end_compiler: ends the compiler that build_all had started. Brackets keep grep from finding itself.
end_compiler() {
  local pid
  for pid in $(grep -slE -- "[-]pipename:$SharedCompilationId" /proc/[0-9]*/cmdline | cut -d/ -f3); do
    kill "$pid" 2>/dev/null || true
  done
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
    mapfile -t left < <(grep -slzxF "$(mark "$1")" /proc/[0-9]*/environ | cut -d/ -f3)
    [ ${#left[@]} -gt 0 ] || return 0
    sleep 0.1
  done
  for pid in "${left[@]}"; do
    echo "$1: left process $pid running: $({ tr '\0' ' ' <"/proc/$pid/cmdline"; } 2>/dev/null || true)"
  done
  kill -KILL "${left[@]}" 2>/dev/null || true
  failed=$((failed + 1))
}

# run_tests NAME COMMAND...: runs a test program, beside others when there is a lane for it.
run_tests() {
  local name=$1
  shift
  while [ ${#running[@]} -ge "$lanes" ]; do wait_for_one; done
  echo "Running $name"
  # Its own standard input: a test must not wait for, or take, what was meant for this script. And the signals that a
  # shell has its background commands ignore: functions are sent them.
  (exec timeout --kill-after=20 "$limit" env --default-signal=INT,QUIT "$(mark "$name")" "$@" --output Detailed --progress off --no-ansi --results-directory "$test_results" </dev/null >"$results/$name.log" 2>&1) &
  running[$!]=$name begun[$!]=$SECONDS
}

# show LOG: what failed, what was skipped and why, and the sum; all of a log that has no sum.
show() {
  if grep -q '^Test run summary' "$1"; then
    awk '/^passed / { shown = 0 } /^skipped / { print; getline; print; shown = 0 } /^(failed |Test run summary)/ { shown = 1 } shown && NF' "$1"
  else
    cat "$1"
  fi
}

# wait_for_one: waits until one of the programs that run ends, shows what came of it, and counts.
wait_for_one() {
  local pid name status=0
  wait -n -p pid "${!running[@]}" || status=$?
  name=${running[$pid]}
  echo "$((SECONDS - begun[$pid])) $name" >>"$results/seconds"
  unset "running[$pid]" "begun[$pid]"
  say "$name"
  if [ "$status" -eq 8 ] && [ "${chosen_only:-0}" -eq 1 ]; then
    echo "None of its tests was chosen."
  else
    show "$results/$name.log"
  fi
  count "$name" "$status"
  sweep "$name"
}

wait_for_all() { while [ ${#running[@]} -gt 0 ]; do wait_for_one; done; }

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
