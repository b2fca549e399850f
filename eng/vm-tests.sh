#!/usr/bin/env bash
# What only another machine shows: resource limits and the environment check on pure cgroup v2 under systemd, as an ordinary user with and without
# a delegated cgroup and as root, and where user namespaces are forbidden. Not part of eng/test.sh: emulated, each machine takes a minute or two.
#
# XFN_VM_RUN names a command that boots a throw-away Debian machine around one command, with systemd and an ordinary user who has subordinate ids:
#   $XFN_VM_RUN exec [--user root] [--session service] [--kernel SUITE] [--restrict-userns[=clone|max]] --share HOSTDIR:GUESTDIR:ro --timeout SECONDS -- COMMAND…
# "--session service" runs the command in a delegated service of the user. Its exit status is the command's.
# XFN_VM_KERNELS lists kernels to try besides the command's own, such as "bullseye trixie".
set -euo pipefail
cd "$(dirname "$0")/.."
: "${XFN_VM_RUN:?set XFN_VM_RUN to a command that boots a throw-away Debian machine, see the head of this file}"

tests=tests/Xfn.Core.Tests
dotnet build "$tests" -v quiet --nologo
# A copy, so that a build meanwhile does not change what the machine sees.
copy=$(mktemp -d)
chmod 0755 "$copy"
trap 'rm -rf "$copy"' EXIT
cp -r "$tests/bin/Debug/net10.0/." "$copy"

failures=0
run() { # NAME WANTED-SKIPPED OPTION…: the tests, in a machine; skipped tests are allowed only where nothing may be limited
  local name=$1 skipped=$2 log
  shift 2
  log=$copy.$RANDOM.log
  if "$XFN_VM_RUN" exec "$@" --share "$copy:/tests:ro" --timeout 600 -- /tests/Xfn.Core.Tests --filter "$filter" >"$log" 2>&1 &&
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

all='FullyQualifiedName~Cgroups|FullyQualifiedName~Preflight'
filter=$all
for kernel in "" ${XFN_VM_KERNELS:-}; do
  option=(${kernel:+--kernel "$kernel"})
  run "user, delegated cgroup ${kernel}" none "${option[@]}" --session service
  run "root ${kernel}" none "${option[@]}" --user root
done
run "user, cgroup not delegated" some
filter='FullyQualifiedName~The_whole_check'
run "user namespaces forbidden by kernel.unprivileged_userns_clone" some --restrict-userns=clone
run "user namespaces forbidden by user.max_user_namespaces" some --restrict-userns=max
exit $((failures > 0))
