#!/bin/sh
# What vm-tests.sh has run inside of the machine: the tests of a program in pieces, some at the same time.
#   vm-pieces.sh PROGRAM LANES SECONDS    each line of /results/left is a piece: its name and its filter. What the tests
#                                         say goes to NAME.log as they say it, the status to NAME.status
# Each piece has a program, a temporary directory and, for an ordinary user, a delegated cgroup of its own. So one that
# hangs, or is ended after its seconds, takes no other with it.
tests=/var/tmp/tests
if [ $# -eq 3 ]; then
  # The guest's own disk: programs are read from a shared directory page by page.
  cp -r /programs "$tests" || exit
  exec xargs -d '\n' -P "$2" -n 1 sh "$0" "$1" "$3" -- </results/left
fi
program=$1 seconds=$2 name=${4%% *} filter=${4#* } cgroup=
[ "$(id -u)" -eq 0 ] || cgroup='systemd-run --user --scope --quiet -p Delegate=yes'
# A shared directory is no place for owners and locks either.
TMPDIR=$(mktemp -d /var/tmp/xfn.XXXXXX)
export TMPDIR
cd "$TMPDIR" || exit
# Appended: what some write at a place of their own is lost on a shared directory.
timeout --kill-after=20 "$seconds" $cgroup "$tests/$program" --filter "$filter" --output Detailed --progress off --no-ansi --results-directory "$TMPDIR/results" </dev/null >>"/results/$name.log" 2>&1
echo $? >"/results/$name.status"
rm -rf "$TMPDIR" 2>/dev/null
exit 0
