#!/bin/sh
# What vm-tests.sh has run inside of the machine: the tests of a program in pieces, some at the same time.
#   vm-pieces.sh PROGRAM LANES SECONDS    each line of /results/pieces is a piece: its name and its filter. What the tests
#                                         say goes to NAME.log as they say it, the status to NAME.status
# Each piece has a program, a temporary directory and, for an ordinary user, a delegated cgroup of its own. So one that
# hangs, or is ended after its seconds, takes no other with it.
if [ $# -eq 3 ]; then
  exec xargs -d '\n' -P "$2" -n 1 sh "$0" "$1" "$3" -- </results/pieces
fi
program=$1 seconds=$2 name=${4%% *} filter=${4#* } cgroup=
[ "$(id -u)" -eq 0 ] || cgroup='systemd-run --user --scope --quiet -p Delegate=yes'
# The guest's own disk: a shared directory is no place for owners and locks.
TMPDIR=$(mktemp -d /var/tmp/xfn.XXXXXX)
export TMPDIR
cd "$TMPDIR" || exit
timeout --kill-after=20 "$seconds" $cgroup "/tests/$program" --filter "$filter" --output Detailed --progress off --no-ansi --results-directory "$TMPDIR/results" </dev/null >"/results/$name.log" 2>&1
echo $? >"/results/$name.status"
rm -rf "$TMPDIR" 2>/dev/null
exit 0
