# The end-to-end tests, once for each way in which a process can come by a user namespace. Sourced by test.sh.
#   root    as root
#   caps    as root, but with no other capabilities than CAP_SETUID and CAP_SETGID
#   subids  as an ordinary user with subordinate ids
#   single  as an ordinary user without
#   prepared  as root, the tests of runs once more with every function prepared before it is run
end_to_end=Xfn.Core.EndToEnd.Tests
test_binaries=tests/$end_to_end/bin/Release/net10.0

. eng/users.sh

# run_way WAY USER COMMAND...: runs the tests by COMMAND, in directories that are the user's own. The array filter chooses tests.
filter=()
run_way() {
  local way=$1 user=$2 own=$stage/$1
  shift 2
  make_home "$user" "$own"
  test_results=$own/results run_tests "$end_to_end-$way" "$@" "${environment[@]}" XFN_TEST_WAY="$way" "$stage/programs/$end_to_end" "${filter[@]}"
}

stage_programs "$test_binaries"

if is_root; then
  run_way root root env
  run_way caps root setpriv --bounding-set=-all,+setuid,+setgid --inh-caps=-all
  run_way subids xfn-subids "${as_subids[@]}"
  run_way single xfn-plain "${as_plain[@]}"
  classes=(Run Failure Containment Stream KilledRun ProcessLimit Limit OuterProc Runtime HostCondition BundleOption Compression Image Registry)
  filter=(--filter "$(printf "|FullyQualifiedName~$end_to_end.%sTests" "${classes[@]}" | cut -c2-)")
  run_way prepared root env
else
  way=single
  ! has_subids "$(id -un)" || way=subids
  run_way "$way" "$(id -un)" env
  echo "Not run, for they take root: the end-to-end tests in the other four ways."
  skipped=$((skipped + 4))
fi
