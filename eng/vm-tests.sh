#!/usr/bin/env bash
# What only another machine shows: functions, containers that live, resource limits and the environment check on pure cgroup v2 under systemd, as an ordinary user with and without
# a delegated cgroup and as root, on older and newer kernels, and where user namespaces are forbidden. Not part of eng/test.sh: emulated, each machine takes minutes.
#
#   eng/vm-tests.sh [--arch x64|arm64] [--kernel KERNEL] [PART]...
#
#   living, e2e, unit   containers that live, functions, resource limits: these three when no part is named
#   whole               every end-to-end test but those that are long by nature and those listed below, as a user with a delegated cgroup
#   subset              those of them that depend on the processor, the kernel or the size of a page, as root and as such a user
#   library, spark      the tests of the library's own code as such a user, and those of spark's as root
#   chance              spark's tests by chance and by comparison; XFN_FUZZ_FACTOR multiplies their rounds, XFN_FUZZ_SEED is the first seed
#   --arch              the processor of the machine that XFN_VM_RUN boots; this one's by default. For the other one, whole, library and spark on a
#                       kernel with pages of 16 KiB (trixie:arm64-16k) and subset on the command's own kernel when no part is named
#   --kernel            the only kernel to try
#
# whole, subset, library, spark and chance run in pieces: what each test said is in artifacts/vm-results
# (XFN_VM_RESULTS), also of a machine that came to no end. With XFN_VM_RESUME=1 those that passed there are not run
# again; XFN_VM_PIECES names a file with other pieces for whole, a name and a filter a line. XFN_VM_LANES (3) pieces run
# at the same time. XFN_TEST_SLOWNESS (10) multiplies the time that tests may take, XFN_VM_SECONDS (5400) is the
# machine's, XFN_VM_MEMORY (5G) its memory. XFN_VM_PROGRAMS is a directory for the published tests; what is there is
# taken as it is.
#
# An emulated machine: a minute until a program's first test begins, so few pieces and one a lane. Processors of one
# machine wait for each other at each change of a page table: two machines of one processor, with half of the pieces and
# results of their own each, run a fifth more tests than one of two. The slowness of 30 is for such, two lanes each.
#
# XFN_VM_RUN names a command that boots a throw-away Debian machine around one command, with systemd and an ordinary user who has subordinate ids:
#   $XFN_VM_RUN exec [--user root] [--session service] [--kernel SUITE] [--restrict-userns[=clone|max]] [--mem SIZE] [--setup SHELLCOMMAND] [--env NAME=VALUE] --share HOSTDIR:GUESTDIR[:ro] --timeout SECONDS -- COMMAND…
# "--session service" runs the command in a delegated service of the user. Its exit status is the command's. The machine has crun, uidmap, busybox-static, python3, strace and,
# for whole and spark, docker-registry, apache2-utils, skopeo, umoci, xz-utils, bzip2 and clang: tests that want another program of it are skipped or fail.
# XFN_VM_KERNELS lists kernels to try besides the command's own, such as "bullseye trixie". On bullseye's, Linux 5.10, users may not mount overlayfs, and images are flattened.
set -euo pipefail
cd "$(dirname "$0")/.."
: "${XFN_VM_RUN:?set XFN_VM_RUN to a command that boots a throw-away Debian machine, see the head of this file}"
own=x64
[ "$(uname -m)" = x86_64 ] || own=arm64
arch=$own only=
while [ $# -gt 0 ]; do
  case $1 in
    --arch) arch=${2:?--arch takes x64 or arm64} && shift 2 ;;
    --kernel) only=${2:?--kernel takes a name} && shift 2 ;;
    *) break ;;
  esac
done
if [ $# -eq 0 ] && [ "$arch" != "$own" ] && [ -z "$only" ]; then
  status=0
  [ "$arch" != arm64 ] || "$0" --arch "$arch" --kernel trixie:arm64-16k whole library spark || status=1
  "$0" --arch "$arch" subset || status=1
  exit "$status"
fi
parts=" ${*:-living e2e unit} "
for part in $parts; do
  [[ " living e2e unit whole subset library spark chance " == *" $part "* ]] || { echo "vm-tests.sh: error: unknown part '$part', see the head of this file" >&2 && exit 1; }
done
wanted() { [[ $parts == *" $1 "* ]]; }

# For another processor: its .NET comes with the programs, and so does what they are compiled for.
publish=(--self-contained false) compiler=(cc)
if [ "$arch" != "$own" ]; then
  eng/sysroot.sh
  publish=(--self-contained -p:PublishAot=false)
  compiler=(clang "--target=$([ "$arch" = arm64 ] && echo aarch64 || echo x86_64)-linux-gnu" "--sysroot=$PWD/artifacts/sysroot/linux-$arch" -fuse-ld=lld)
fi

# Copies, so that a build meanwhile does not change what the machine sees.
if [ -n "${XFN_VM_PROGRAMS-}" ]; then
  copy=$XFN_VM_PROGRAMS/$arch
  mkdir -p "$copy"
else
  copy=$(mktemp -d)
  trap 'rm -rf "$copy"' EXIT
fi
chmod 0755 "$copy"
stage() { # PROJECT: what a machine needs of it
  [ ! -e "$copy/$1.staged" ] || return 0
  # Compiled ahead: an emulated processor compiles for longer than it tests.
  dotnet publish "tests/$1" -c Release -r "linux-$arch" "${publish[@]}" -p:PublishReadyToRun=true -p:ValidateExecutableReferencesMatchSelfContained=false -p:RunAnalyzers=false -p:BuildNative=false -v quiet --nologo -o "$copy/$1"
  # xfn as native code, as it is beside the tests here: a program in another's directory finds no .NET of its own.
  if [ "$1" = Xfn.Core.EndToEnd.Tests ] && [ "$arch" != "$own" ]; then
    dotnet publish src/Xfn.Cli -c Release -r "linux-$arch" -p:RunAnalyzers=false -v quiet --nologo -o "$copy/xfn"
    cp "$copy/xfn/xfn" "$copy/$1/xfn"
  fi
  # The machine has no compiler.
  for program in "$copy/$1"/*.c; do
    [ ! -e "$program" ] || "${compiler[@]}" -static -O1 -pthread -o "${program%.c}" "$program"
  done
  chmod -R a+rX "$copy"
  touch "$copy/$1.staged"
}

# Code that was compiled ahead stays as it is: an emulated processor takes longer to compile anew than it gains, and what
# changes under its hands it translates again.
lanes=${XFN_VM_LANES:-3}
runtime=(--env DOTNET_TieredCompilation=0 --env DOTNET_EnableWriteXorExecute=0 --env DOTNET_gcConcurrent=0)
failures=0
run() { # NAME WANTED-SKIPPED PROJECT FILTER SECONDS OPTION…: the tests, in a machine; skipped tests are allowed only where "some" is said
  local name=$1 skipped=$2 project=$3 filter=$4 seconds=$5 log
  shift 5
  log=$copy/$RANDOM.log
  # A directory of the guest's own disk: a shared one is no place for owners and locks. An emulated processor takes its
  # time: a test that ends late does not hang.
  # shellcheck disable=SC2016
  if "$XFN_VM_RUN" exec "$@" --share "$copy/$project:/tests:ro" --timeout "$seconds" -- \
    sh -c 'TMPDIR=$(mktemp -d /var/tmp/xfn.XXXXXX) && export TMPDIR XFN_TEST_SLOWNESS=10 DOTNET_TieredPGO=0 && exec "/tests/$0" --filter "$1" --progress off --no-ansi --results-directory "$TMPDIR"' "$project" "$filter" >"$log" 2>&1 &&
    { [ "$skipped" = some ] || grep -q '^  skipped: 0$' "$log"; }; then
    echo "passed: $name ($(sed -n 's/^  succeeded: //p' "$log") tests, $(sed -n 's/^  skipped: //p' "$log") skipped)"
  else
    echo "FAILED: $name"
    cat "$log"
    failures=$((failures + 1))
  fi
  grep -hE '^(Warning|Failed): ' "$log" | sed 's/^/  /' || true
  rm -f "$log"
}

# The machine's own kernel first.
kernels=("" ${XFN_VM_KERNELS:-})
[ -z "$only" ] || kernels=("$only")

# What lives: reached, executed in, copied to, linked, let out, out of memory, and looked into by a hostile one. Not:
# hundreds at once, and hosts that are killed at any moment, which takes an emulated host minutes to come to.
living='FullyQualifiedName~Tests.Container|FullyQualifiedName~.SparkAttackTests|FullyQualifiedName~.SparkCopyTests|FullyQualifiedName~.SparkRequestTests|FullyQualifiedName~.SparkTerminalTests'
living="($living|FullyQualifiedName~.EgressTests|FullyQualifiedName~.FunctionServiceTests|FullyQualifiedName~.MountTests)&TestCategory!=Long"

# What a function is, and what becomes of it when it fails. Not: much data or much computing in a given time, which is the emulator's speed.
core='FullyQualifiedName~.RunTests|FullyQualifiedName~.FailureTests|FullyQualifiedName~.ImageTests|FullyQualifiedName~.LimitTests|FullyQualifiedName~.FlattenedImageTests|FullyQualifiedName~.PreparedTests'
core="($core|FullyQualifiedName~.AttackTests|FullyQualifiedName~.ContainmentTests|FullyQualifiedName~.BundleOptionTests)"
core="$core&FullyQualifiedName!~copies_much&FullyQualifiedName!~passed_byte_for_byte&FullyQualifiedName!~no_more_processor_time"
# 80 MB into a directory in memory; a hundred turns of a shell around all processes' programs.
core="$core&FullyQualifiedName!~Tmp_can_be_larger&FullyQualifiedName!~cannot_be_overwritten"
# How long it takes until a function is killed.
core="$core&FullyQualifiedName!~ignores_sigterm"
# Root has capabilities that root in another container has not, and masks a /proc without a user namespace around.
attacks='FullyQualifiedName~.AttackTests|FullyQualifiedName~.OuterProcTests'
# A handler of crashes, as root of the machine, as systemd-coredump is one; it makes a file of the crashed program's name.
# The kernel waits for it when there is a limit of how many run at once.
crashes=/var/crashes
# shellcheck disable=SC2016
handler='mkdir '$crashes' && printf "%s\n" "#!/bin/sh" ": >'$crashes'/\$1" >/usr/local/bin/on-crash && chmod 0755 /usr/local/bin/on-crash
echo 64 >/proc/sys/kernel/core_pipe_limit && echo "|/usr/local/bin/on-crash %e" >/proc/sys/kernel/core_pattern'
if wanted living; then
  stage Xfn.Core.EndToEnd.Tests
  for kernel in "${kernels[@]}"; do
    run "containers of a user ${kernel}" some Xfn.Core.EndToEnd.Tests "${XFN_VM_FILTER:-$living}" 3000 ${kernel:+--kernel "$kernel"} --mem 3G --session service
    run "containers as root ${kernel}" some Xfn.Core.EndToEnd.Tests "${XFN_VM_FILTER:-$living}" 3000 ${kernel:+--kernel "$kernel"} --mem 3G --user root
  done
fi

if wanted e2e; then
  stage Xfn.Core.EndToEnd.Tests
  set -- --mem 3G --setup "$handler" --env XFN_TEST_CRASHES=$crashes
  for kernel in "${kernels[@]}"; do
    run "functions of a user ${kernel}" some Xfn.Core.EndToEnd.Tests "${XFN_VM_FILTER:-$core}" 3000 ${kernel:+--kernel "$kernel"} "$@" --session service
    run "attacks as root ${kernel}" some Xfn.Core.EndToEnd.Tests "$attacks" 1200 ${kernel:+--kernel "$kernel"} "$@" --user root
  done
fi

# What an emulated machine is not asked for, and why. It takes ten times as long and more, but the limits of runs that
# tests set themselves do not grow.
slow=(
  RunTests.A_function_that_copies_much                   # 300 MB
  RunTests.Images_of_many_layers_run                     # 256 layers take three minutes; 140 passed
  RunTests.Input_and_output_are_passed_byte_for_byte     # 3 MB both ways, in the 25 s of a run
  LimitTests.A_function_gets_no_more_processor_time      # compares times
  FailureTests.A_function_that_ignores_sigterm           # compares times
  StreamTests.A_flood_ends_the_function                  # 300,000 bytes one by one, in the 60 s of a run
  ContainmentTests.The_programs_that_run_a_function      # a hundred turns of a shell around all processes
  BundleOptionTests.Tmp_can_be_larger                    # 80 MB into memory
  QueueTests.Hundreds_of_runs                            # 75 runs at least, that may wait for a minute
  QueueTests.Of_five_hundred_runs                        # 64 runs at least
  KilledRunTests.Zombies_by_the_hundred                  # 150 processes in 2 s
  .SoakTests.                                            # 75 runs at least
  .AllocationTests.                                      # hundreds of runs, and what a run allocates when it needs not wait
  LanguageTests.A_python_program                         # its container has the machine's /usr, below which nothing may be mounted
  .LoadTests.                                            # half of all short sleeps last 0.1 s at most, beside busy loops
)
not_slow='TestCategory!=Long'
for test in "${slow[@]}"; do not_slow="$not_slow&FullyQualifiedName!~$test"; done

# fixtures PROJECT COUNT: all fixtures of a project in so many pieces, those with most tests dealt out first; last what belongs to none.
fixtures() {
  local names name piece at rest='FullyQualifiedName!~.Nothing'
  mapfile -t names < <(find "tests/$1" -name '*Tests.cs' -not -path '*/obj/*' -exec grep -c '\[Test' {} + | sort -t: -k2,2nr -k1,1 | sed 's/\.cs:.*//; s|.*/||' | awk '!seen[$0]++')
  for name in "${names[@]}"; do rest="$rest&FullyQualifiedName!~.$name"; done
  for ((piece = 0; piece < $2; piece++)); do
    printf '%02d (FullyQualifiedName~.%s' $((piece + 1)) "${names[piece]}"
    for ((at = piece + $2; at < ${#names[@]}; at += $2)); do printf '|FullyQualifiedName~.%s' "${names[at]}"; done
    echo ')'
  done
  echo "rest $rest"
}

# pieces NAME PROJECT FILTER OPTION… <PIECES: the tests of a project that the filter chooses, in a machine, in pieces; a line of the input is a name and a filter.
pieces() {
  local name=$1 project=$2 filter=$3 results piece log status=0
  shift 3
  results=${XFN_VM_RESULTS:-$PWD/artifacts/vm-results}/$arch-${name//[ :,]/-}
  [ -n "${XFN_VM_RESUME-}" ] || rm -rf "$results"
  mkdir -p "$results"
  chmod 1777 "$results"
  while IFS= read -r piece; do echo "$piece&$filter"; done >"$results/pieces"
  while IFS= read -r piece; do
    log=${piece%% *}
    has_passed "$log" || { rm -f "$results/$log".* && echo "$piece"; }
  done <"$results/pieces" >"$results/left"
  stage "$project"
  echo "Running $name, in $(wc -l <"$results/left") pieces"
  [ ! -s "$results/left" ] || "$XFN_VM_RUN" exec "$@" --mem "${XFN_VM_MEMORY:-5G}" "${runtime[@]}" --env XFN_TEST_SLOWNESS="${XFN_TEST_SLOWNESS:-10}" --share "$copy/$project:/programs:ro" --share "$PWD/eng:/eng:ro" --share "$results:/results" \
    --timeout "${XFN_VM_SECONDS:-5400}" -- sh /eng/vm-pieces.sh "$project" "$lanes" "${XFN_VM_SECONDS:-5400}" >"$results/machine" 2>&1 </dev/null || status=$?
  for log in $(cut -d' ' -f1 "$results/pieces"); do
    # 8 is the status of a program of which no test was chosen, 2 of one of which some failed: those are counted.
    case $(cat "$results/$log.status" 2>/dev/null || echo none) in
      0 | 2 | 8) ;;
      none) echo "  piece $log did not end" && status=1 ;;
      *) echo "  piece $log ended with status $(cat "$results/$log.status")" && status=1 ;;
    esac
  done
  awk '/^(passed|skipped) |^Test run summary/ { left = 0 } /^failed / { left = 12; print "  " $0; next } left && NF { print "    " $0; left-- }' "$results"/*.log || true
  { [ "$(counted failed)" -eq 0 ] && [ "$(counted passed)" -gt 0 ]; } || status=1
  failures=$((failures + (status > 0)))
  echo "$([ "$status" -eq 0 ] && echo passed || echo FAILED): $name ($(counted passed) tests passed, $(counted failed) failed, $(counted skipped) skipped, status $status)"
}
has_passed() { [[ $(cat "$results/$1.status" 2>/dev/null) == [08] ]]; }
# counted passed|failed|skipped: by the sum at the end of each log, or where it has none by its lines, of which a shared
# directory loses some.
counted() {
  awk -v kind="$1" -v sum="$([ "$1" = passed ] && echo succeeded || echo "$1")" '
    FNR == 1 { total += count; count = 0 }
    $1 == kind { count++ }
    $1 == sum ":" { count = $2 }
    END { print total + count }' "$results"/*.log 2>/dev/null || echo 0
}

if wanted whole; then
  for kernel in "${kernels[@]}"; do
    if [ -n "${XFN_VM_PIECES-}" ]; then
      pieces "end-to-end ${kernel:-own} user" Xfn.Core.EndToEnd.Tests "$not_slow" ${kernel:+--kernel "$kernel"} <"$XFN_VM_PIECES"
    else
      pieces "end-to-end ${kernel:-own} user" Xfn.Core.EndToEnd.Tests "$not_slow" ${kernel:+--kernel "$kernel"} < <(fixtures Xfn.Core.EndToEnd.Tests "$lanes")
    fi
  done
fi

if wanted subset; then
  # Containers of each kind, and what is refused in them; ids; limits; layers and what is flattened of them.
  printf '%s\n' >"$copy/subset" \
    'runs (FullyQualifiedName~.RunTests|FullyQualifiedName~.PreparedTests|FullyQualifiedName~.LimitTests)' \
    'walls (FullyQualifiedName~.AttackTests|FullyQualifiedName~.ContainmentTests|FullyQualifiedName~.SparkAttackTests|FullyQualifiedName~.OuterProcTests)' \
    'living (FullyQualifiedName~.ContainerTests|FullyQualifiedName~.ContainerReachTests|FullyQualifiedName~.SparkTerminalTests|FullyQualifiedName~.MountTests)' \
    'files (FullyQualifiedName~.IdTests|FullyQualifiedName~.FlattenedImageTests|FullyQualifiedName~.VolumeTests|FullyQualifiedName~.FailureTests)'
  for kernel in "${kernels[@]}"; do
    pieces "subset ${kernel:-own} root" Xfn.Core.EndToEnd.Tests "$not_slow" --user root --setup "$handler" --env XFN_TEST_CRASHES=$crashes ${kernel:+--kernel "$kernel"} <"$copy/subset"
    pieces "subset ${kernel:-own} user" Xfn.Core.EndToEnd.Tests "$not_slow" ${kernel:+--kernel "$kernel"} <"$copy/subset"
  done
fi

if wanted library; then
  for kernel in "${kernels[@]}"; do
    # Conventions are the source's, which is not there.
    pieces "library ${kernel:-own} user" Xfn.Core.Tests "$not_slow&FullyQualifiedName!~.Conventions." ${kernel:+--kernel "$kernel"} < <(fixtures Xfn.Core.Tests "$lanes")
  done
fi

if wanted spark; then
  for kernel in "${kernels[@]}"; do
    pieces "spark ${kernel:-own} root" Xfn.Core.Spark.Tests "$not_slow&FullyQualifiedName!~.FuzzTests&FullyQualifiedName!~.DifferentialTests&FullyQualifiedName!~.StackTests&FullyQualifiedName!~.ProcessorTests" --user root ${kernel:+--kernel "$kernel"} < <(fixtures Xfn.Core.Spark.Tests "$lanes")
  done
fi

if wanted chance; then
  for kernel in "${kernels[@]}"; do
    pieces "chance ${kernel:-own} root" Xfn.Core.Spark.Tests TestCategory!=Long --user root ${kernel:+--kernel "$kernel"} ${XFN_FUZZ_FACTOR:+--env XFN_FUZZ_FACTOR="$XFN_FUZZ_FACTOR"} --env XFN_FUZZ_SEED="${XFN_FUZZ_SEED:-1}" \
      <<<$'fuzz FullyQualifiedName~.FuzzTests\ndifferential (FullyQualifiedName~.DifferentialTests|FullyQualifiedName~.StackTests)'
  done
fi

if wanted unit; then
  stage Xfn.Core.Tests
  all='FullyQualifiedName~Cgroups|FullyQualifiedName~Preflight'
  for kernel in "${kernels[@]}"; do
    run "user, delegated cgroup ${kernel}" none Xfn.Core.Tests "$all" 600 ${kernel:+--kernel "$kernel"} --session service
    run "root ${kernel}" none Xfn.Core.Tests "$all" 600 ${kernel:+--kernel "$kernel"} --user root
  done
  run "user, cgroup not delegated" some Xfn.Core.Tests "$all" 600 ${only:+--kernel "$only"}
  whole='FullyQualifiedName~The_whole_check'
  run "user namespaces forbidden by kernel.unprivileged_userns_clone" some Xfn.Core.Tests "$whole" 600 ${only:+--kernel "$only"} --restrict-userns=clone
  run "user namespaces forbidden by user.max_user_namespaces" some Xfn.Core.Tests "$whole" 600 ${only:+--kernel "$only"} --restrict-userns=max
fi
exit $((failures > 0))
