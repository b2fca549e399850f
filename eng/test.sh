#!/usr/bin/env bash
# Runs the tests. Ends with "N passed, N failed, N skipped"; the status is 0 when something passed and nothing failed.
# What takes long by nature is in long-tests.sh.
#   eng/test.sh                   builds, and runs every test; as root, the end-to-end tests in each of the four ways of
#                                 test-ways.sh
#   eng/test.sh --way WAY         builds, and runs the end-to-end tests in one of these: root caps subids single
#                                 prepared-root crun-root forked-root forked-subids forked-single
#   eng/test.sh --quick FILTER    builds, and runs the tests whose full name contains FILTER, or that a filter such as
#                                 FullyQualifiedName~A|Name=B chooses, as the caller; long ones too
. "$(dirname "$0")/common.sh"
. eng/test-programs.sh

ways='' filter=''
case ${1-} in
  '') ;;
  --way | --quick)
    [ $# -eq 2 ] || fail "$1 takes one argument. See the head of $0"
    [ "$1" = --way ] && ways=$2 || filter=$2
    ;;
  *) fail "unknown option '$1'. See the head of $0" ;;
esac

if [ -n "$filter" ]; then
  need_dotnet
  need "${build_packages[@]}" "${run_packages[@]}"
else
  need_for_tests
fi
empty_results
build_all

if [ -n "$filter" ]; then
  case $filter in *[=~]*) ;; *) filter="FullyQualifiedName~$filter" ;; esac
  chosen_only=1
  for_each_program --filter "$filter"
  test_results=$results run_tests Xfn.Core.EndToEnd.Tests "$(program Xfn.Core.EndToEnd.Tests)" --filter "$filter"
  finish
fi

# What takes longest begins first: then no lane has work alone at the end.
. eng/test-ways.sh
run_ways "$not_long" $ways
[ -n "$ways" ] || for_each_program --filter "$not_long"
finish
