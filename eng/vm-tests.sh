#!/usr/bin/env bash
# What only another machine shows: functions, containers that live, resource limits and the environment check on pure cgroup v2 under systemd, as an ordinary user with and without
# a delegated cgroup and as root, on older and newer kernels, and where user namespaces are forbidden. Not part of eng/test.sh: emulated, each machine takes minutes.
#
#   eng/vm-tests.sh [--arch x64|arm64] [--kernel KERNEL] [PART]...    living, e2e and unit when none is named
#
#   living, e2e, unit   containers that live, functions, resource limits
#   spark               the tests of spark's own code, as root
#   --arch              the processor of the machine that XFN_VM_RUN boots; this one's by default. For the other one eng/sysroot.sh is needed
#   --kernel            the only kernel to try, such as trixie:arm64-16k, whose pages have 16 KiB
#
# XFN_VM_RUN names a command that boots a throw-away Debian machine around one command, with systemd and an ordinary user who has subordinate ids:
#   $XFN_VM_RUN exec [--user root] [--session service] [--kernel SUITE] [--restrict-userns[=clone|max]] [--mem SIZE] [--setup SHELLCOMMAND] [--env NAME=VALUE] --share HOSTDIR:GUESTDIR:ro --timeout SECONDS -- COMMAND…
# "--session service" runs the command in a delegated service of the user. Its exit status is the command's. The machine has crun, uidmap, busybox-static, python3 and strace.
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
parts=${*:-living e2e unit}

# For another processor: its .NET comes with the programs, and so does what they are compiled for.
publish=(--self-contained false) compiler=(cc)
if [ "$arch" != "$own" ]; then
  eng/sysroot.sh
  publish=(--self-contained -p:PublishAot=false)
  compiler=(clang "--target=$([ "$arch" = arm64 ] && echo aarch64 || echo x86_64)-linux-gnu" "--sysroot=$PWD/artifacts/sysroot/linux-$arch" -fuse-ld=lld)
fi

# Copies, so that a build meanwhile does not change what the machine sees.
copy=$(mktemp -d)
chmod 0755 "$copy"
trap 'rm -rf "$copy"' EXIT
stage() { # PROJECT: what a machine needs of it
  # Compiled ahead: an emulated processor compiles for longer than it tests.
  dotnet publish "tests/$1" -c Release -r "linux-$arch" "${publish[@]}" -p:PublishReadyToRun=true -p:ValidateExecutableReferencesMatchSelfContained=false -p:RunAnalyzers=false -p:BuildNative=false -v quiet --nologo -o "$copy/$1"
  # The machine has no compiler.
  for program in "$copy/$1"/*.c; do
    [ ! -e "$program" ] || "${compiler[@]}" -static -O1 -pthread -o "${program%.c}" "$program"
  done
  chmod -R a+rX "$copy"
}

failures=0
run() { # NAME WANTED-SKIPPED PROJECT FILTER SECONDS OPTION…: the tests, in a machine; skipped tests are allowed only where "some" is said
  local name=$1 skipped=$2 project=$3 filter=$4 seconds=$5 log
  shift 5
  log=$copy/$RANDOM.log
  # A directory of the guest's own disk: a shared one is no place for owners and locks. An emulated processor takes its
  # time: a test that ends late does not hang.
  # shellcheck disable=SC2016
  if nice "$XFN_VM_RUN" exec "$@" --share "$copy/$project:/tests:ro" --timeout "$seconds" -- \
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
[[ $parts != *living* && $parts != *e2e* ]] || stage Xfn.Core.EndToEnd.Tests
if [[ $parts == *living* ]]; then
  for kernel in "${kernels[@]}"; do
    run "containers of a user ${kernel}" some Xfn.Core.EndToEnd.Tests "${XFN_VM_FILTER:-$living}" 3000 ${kernel:+--kernel "$kernel"} --mem 3G --session service
    run "containers as root ${kernel}" some Xfn.Core.EndToEnd.Tests "${XFN_VM_FILTER:-$living}" 3000 ${kernel:+--kernel "$kernel"} --mem 3G --user root
  done
fi

if [[ $parts == *e2e* ]]; then
  set -- --mem 3G --setup "$handler" --env XFN_TEST_CRASHES=$crashes
  for kernel in "${kernels[@]}"; do
    run "functions of a user ${kernel}" some Xfn.Core.EndToEnd.Tests "${XFN_VM_FILTER:-$core}" 3000 ${kernel:+--kernel "$kernel"} "$@" --session service
    run "attacks as root ${kernel}" some Xfn.Core.EndToEnd.Tests "$attacks" 1200 ${kernel:+--kernel "$kernel"} "$@" --user root
  done
fi

if [[ $parts == *spark* ]]; then
  stage Xfn.Core.Spark.Tests
  # Not: archives by the thousand, whose number is what they are about, and comparisons with tools that the machine has not.
  for kernel in "${kernels[@]}"; do
    run "spark's code as root ${kernel}" some Xfn.Core.Spark.Tests 'FullyQualifiedName!~.FuzzTests&FullyQualifiedName!~.DifferentialTests' 3000 ${kernel:+--kernel "$kernel"} --user root
  done
fi

if [[ $parts == *unit* ]]; then
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
