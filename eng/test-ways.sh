# The end-to-end tests, once for each way in which a process can come by a user namespace. Sourced by test.sh and
# long-tests.sh.
#   root    as root
#   caps    as root, but with no other capabilities than CAP_SETUID and CAP_SETGID
#   subids  as an ordinary user with subordinate ids
#   single  as an ordinary user without
# Then the tests of runs once more with every function prepared before it is run, in the ways that
# XFN_TEST_PREPARED_WAYS lists: by default "root", or the one way there is for an ordinary user; "root caps subids
# single" for all. And as root once more with crun to make the containers.
#
# In these ways the first spark of a runner, which most tests make no more of, is made by unshare. In forked-root,
# forked-subids and forked-single it is a copy of one that lasts too. Where no way is named forked-subids stands for
# subids; the others of both kinds are run by long-tests.sh, or where they are named.
end_to_end=Xfn.Core.EndToEnd.Tests

. eng/users.sh

# Of images and the cache only, which are pulled for a prepared function as for any other; of what has no meaning with
# one function prepared for each run: the queue, the spans of a run and its allocations, preparing itself, OCI runtimes;
# or the corpus, of which each image is run prepared too as it is.
unprepared=(Allocation Cache CacheFault Composition Compression Corpus FlattenedImage HostileLayer Id Image Prepared Prune Pull Queue Registry Runtime RuntimeParity SharedPull Telemetry UnpackLimit)
prepared_filter=$(printf "&FullyQualifiedName!~$end_to_end.%sTests" "${unprepared[@]}")

# Of what a runtime has a part in, for the pass with crun in place of xfn-spark's own containers.
by_runtime=(Attack BundleBuilder BundleOption Containment Failure KilledRun Limit Run)
runtime_filter="&($(printf "|FullyQualifiedName~$end_to_end.%sTests" "${by_runtime[@]}" | cut -c2-))"

# run_way WAY FILTER VARIABLE...: runs the tests that the filter chooses, in one way, in directories that are its user's
# own, with nothing of the environment but our own variables.
run_way() {
  local way=$1 filter=$2 user=root command=(env) variables
  shift 2
  case $way in
    *root) ;;
    *caps) command=(setpriv --bounding-set=-all,+setuid,+setgid --inh-caps=-all) ;;
    *subids) user=xfn-subids command=("${as_subids[@]}") ;;
    *single) user=xfn-plain command=("${as_plain[@]}") ;;
  esac
  is_root || { user=$(id -un) command=(env); }
  make_home "$user" "$stage/$way"
  mapfile -t variables < <(env | grep '^XFN_')
  test_results=$stage/$way/results run_tests "$end_to_end-$way" "${command[@]}" "${environment[@]}" "$(mark "$end_to_end-$way")" "${variables[@]}" "$@" "$stage/programs/$end_to_end" --filter "$filter"
}

# run_ways FILTER WAY...: runs the tests that the filter chooses, in these ways; in all that this user can when none is
# named.
run_ways() {
  local base=$1 own=single once='' way
  shift
  # What is the same in every way is tested as root; whoever is not root has one way, and tests it there.
  ! is_root || once='&TestCategory!=InOneWay'
  if [ $# -eq 0 ]; then
    if is_root; then
      # The longest first.
      set -- root single $(printf 'prepared-%s ' ${XFN_TEST_PREPARED_WAYS-root}) forked-subids caps crun-root
    else
      ! has_subids "$(id -un)" || own=subids
      set -- "$own" $(printf 'prepared-%s ' ${XFN_TEST_PREPARED_WAYS-$own})
      echo "Not run, for they take root: the end-to-end tests in the other three ways, and with crun."
      skipped=$((skipped + 4))
    fi
  fi
  if [ -z "${stage-}" ]; then
    stage_programs "$(dirname "$(program "$end_to_end")")"
    # A composition function, for every user to start.
    [ ! -e artifacts/greeting-function ] || install -D -t "$stage/programs/functions/greeting-function" artifacts/greeting-function/GreetingFunction
  fi
  for way; do
    case $way in
      root) run_way "$way" "($base)" ;;
      # A container of many ids is the same whoever maps them, so what is compared between runtimes is compared as root,
      # and where there is one id.
      caps | subids) run_way "$way" "($base)$once&FullyQualifiedName!~$end_to_end.RuntimeParityTests" ;;
      single) run_way "$way" "($base)$once" ;;
      prepared-?*) run_way "$way" "($base)$prepared_filter" XFN_TEST_PREPARED=1 ;;
      prepared-) ;;
      forked-?*) run_way "$way" "($base)$once&FullyQualifiedName!~$end_to_end.RuntimeParityTests" XFN_TEST_FORKED=1 ;;
      crun-root) run_way "$way" "($base)$runtime_filter" XFN_TEST_RUNTIME=crun ;;
      *) fail "unknown way '$way'" ;;
    esac
  done
}
