# The end-to-end tests, once for each way in which a process can come by a user namespace. Sourced by test.sh.
#   root    as root
#   caps    as root, but with no other capabilities than CAP_SETUID and CAP_SETGID
#   subids  as an ordinary user with subordinate ids
#   single  as an ordinary user without
# Then the tests of runs once more with every function prepared before it is run, in the ways that XFN_TEST_PREPARED_WAYS lists: by default "root", or the one way there is for an ordinary
# user; "root caps subids single" for all. And as root once more with crun to make the containers, which by default makes none of those that xfn-spark knows how to make.
end_to_end=Xfn.Core.EndToEnd.Tests
test_binaries=tests/$end_to_end/bin/Release/net10.0

. eng/users.sh

# Of images only, which are pulled for a prepared function as for any other; or of what has no meaning with one function prepared for each run: the queue, the spans of a run and its allocations, preparing itself.
unprepared=(Allocation CacheFault Compression HostileLayer Image Prepared Pull Queue Registry RuntimeParity Telemetry UnpackLimit)
filter=(--filter "$(printf "&FullyQualifiedName!~$end_to_end.%sTests" "${unprepared[@]}" | cut -c2-)")

# Of what a runtime has a part in, for the pass with crun in place of xfn-spark's own containers.
by_runtime=(BundleOption Containment Failure KilledRun Limit Prepared Run)
runtime_filter=(--filter "$(printf "|FullyQualifiedName~$end_to_end.%sTests" "${by_runtime[@]}" | cut -c2-)")

# run_way WAY USER COMMAND...: runs the tests by COMMAND, in directories that are the user's own; with prepared functions too, when the way is listed for that.
run_way() {
  local way=$1 user=$2
  shift 2
  make_home "$user" "$stage/$way"

  # A container of many ids is the same whoever maps them, so what is compared between runtimes is compared as root, and where there is one id.
  local only=()
  [[ $way != caps && $way != subids ]] || only=(--filter "FullyQualifiedName!~$end_to_end.RuntimeParityTests")
  test_results=$stage/$way/results run_tests "$end_to_end-$way" "$@" "${environment[@]}" "$stage/programs/$end_to_end" "${only[@]}"
  [[ " $prepared_ways " == *" $way "* ]] || return 0
  make_home "$user" "$stage/prepared-$way"
  test_results=$stage/prepared-$way/results run_tests "$end_to_end-prepared-$way" "$@" "${environment[@]}" XFN_TEST_PREPARED=1 "$stage/programs/$end_to_end" "${filter[@]}"
}

stage_programs "$test_binaries"

if is_root; then
  prepared_ways=${XFN_TEST_PREPARED_WAYS-root}
  run_way root root env
  run_way caps root setpriv --bounding-set=-all,+setuid,+setgid --inh-caps=-all
  run_way subids xfn-subids "${as_subids[@]}"
  run_way single xfn-plain "${as_plain[@]}"
  make_home root "$stage/crun-root"
  test_results=$stage/crun-root/results run_tests "$end_to_end-crun-root" "${environment[@]}" XFN_TEST_RUNTIME=crun "$stage/programs/$end_to_end" "${runtime_filter[@]}"
else
  way=single
  ! has_subids "$(id -un)" || way=subids
  prepared_ways=${XFN_TEST_PREPARED_WAYS-$way}
  run_way "$way" "$(id -un)" env
  echo "Not run, for they take root: the end-to-end tests in the other three ways."
  skipped=$((skipped + 3))
fi
