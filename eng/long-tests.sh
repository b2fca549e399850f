#!/usr/bin/env bash
# Runs what is long by nature, as root, and ends with "N passed, N failed, N skipped", as test.sh does. Each group takes
# from minutes to hours; none is part of test.sh.
#   eng/long-tests.sh --list        names the groups
#   eng/long-tests.sh [GROUP...]    runs these; all when none is named
#
# A group is a line below. Its tests are those with [Category("Long"), Category("GROUP")] in any test project, the
# end-to-end tests in the four ways; a function group_GROUP runs what else it takes.
groups=(
  'ways       the end-to-end tests in the ways that test.sh leaves out: subids, forked-root, forked-single'
  'kills      hosts, their containers, and pulls that are killed at a thousand moments'
  'soaks      runs and calls by the thousand, containers by the hundred: nothing is left, and nothing grows'
  'fleets     servers behind HAProxy and nginx that are killed, stopped and added; the simulation of docs/fleet.md'
  'engines    xfn start in containers of containerd and of dockerd'
  'prometheus alerts and queries in Prometheus, which looks at the sample host'
  'hostile    a server with a thousand hostile connections'
  'corpus     images of all builders in all forms, compared with what podman shows of them'
  'entered    a container that looks at ten thousand processes which spark makes in it'
  'chance     the tests of unpacking by chance, with a hundred times the rounds'
  'yaml       YAML by chance, compared with what the library in Go makes of it that Kubernetes uses'
  'frameworks test programs of xUnit and MSTest with the package Xfn.Core.Testing'
  'shells     zsh and fish complete command lines of xfn'
  'recipes    programs in Go, JavaScript, Python and Java, packaged as docs/packaging.md says'
  'fuzz       eng/fuzz.sh: ten minutes of each target'
  'fresh      eng/fresh-machine.sh: all of test.sh on a machine that has nothing yet'
)

. "$(dirname "$0")/common.sh"
. eng/test-programs.sh
. eng/test-ways.sh

names() { printf '%s\n' "${groups[@]}" | cut -d' ' -f1; }

case ${1-} in
  --list) printf '%s\n' "${groups[@]}" && exit ;;
  -*) fail "unknown option '$1'. See the head of $0" ;;
esac
[ $# -gt 0 ] || set -- $(names)
for group; do
  names | grep -qx "$group" || fail "unknown group '$group'. These are the groups: $(names | xargs)"
done

# The longest that one test program may take here, in seconds.
limit=${XFN_TEST_LIMIT:-14400}
export XFN_TEST_PATIENCE=$limit
# Kills at a thousand moments, and figures of memory, are one program's alone.
lanes=1
# A group has tests in a few of the programs.
chosen_only=1

# group_...: what a group runs besides the tests of its category.
group_ways() { run_ways "$not_long" $(is_root && echo subids forked-root forked-single); }
group_kills() {
  # 170: of 6 pullers that are killed, 1,020.
  XFN_FUZZ_FACTOR=170 run_ways 'FullyQualifiedName~A_puller_that_is_killed' root subids
  # 70: of 5 kills, 350 of what makes sparks by copies of itself, each way.
  XFN_FUZZ_FACTOR=70 run_ways 'FullyQualifiedName~Runs_complete_while_it_is_killed' root subids single
  # 150: of 4 hosts that are killed as root, 600; of 1 otherwise, 150 each.
  XFN_FUZZ_FACTOR=150 run_ways 'FullyQualifiedName~A_host_of_containers_that_is_killed' $(is_root && echo root caps subids single)
}
group_soaks() {
  # More than 10,000 runs in each way: of 300 as root, and of 75 otherwise.
  XFN_FUZZ_FACTOR=34 run_ways "$not_long&(FullyQualifiedName~SoakTests|FullyQualifiedName~QueueTests.Hundreds)" root
  XFN_FUZZ_FACTOR=134 run_ways "$not_long&FullyQualifiedName~SoakTests" subids
  XFN_FUZZ_FACTOR=34 run_ways "$not_long&FullyQualifiedName~QueueTests.Hundreds" subids
  XFN_SOAK_SECONDS=${XFN_SOAK_SECONDS:-600} one Xfn.Core.Server.Tests "FullyQualifiedName~SoakTests"
}
group_fleets() { script as_simulated; }
group_chance() {
  XFN_FUZZ_FACTOR=${XFN_FUZZ_FACTOR:-100} one Xfn.Core.Spark.Tests "FullyQualifiedName~FuzzTests|FullyQualifiedName~DifferentialTests|FullyQualifiedName~StackTests|FullyQualifiedName~RealLayerTests"
}
group_entered() {
  XFN_FUZZ_FACTOR=100 run_ways 'FullyQualifiedName~SparkAttackTests' root caps subids single
}
group_fuzz() { [ ! -x eng/fuzz.sh ] || script eng/fuzz.sh all 600; }
group_fresh() { [ ! -x eng/fresh-machine.sh ] || script eng/fresh-machine.sh; }

# one PROGRAM FILTER: some tests of one program.
one() { test_results=$results run_tests "$1" "$(program "$1")" --filter "$2"; }

# as_simulated: whether the table of docs/fleet.md is what the simulation says.
as_simulated() { diff -u <(sed -n '/^| images/,/^$/p' docs/fleet.md | grep '^|') <(dotnet run -c Release eng/fleet-simulation.cs); }

# script COMMAND...: passed or failed as a whole.
script() {
  wait_for_all
  say "$*"
  if "$@" </dev/null; then passed=$((passed + 1)); else echo "$*: ended with status $?" && failed=$((failed + 1)); fi
}

need_for_tests
need zsh:zsh fish:fish go:golang-go jlink:default-jdk-headless /usr/share/gocode/src/github.com/ghodss/yaml:golang-github-ghodss-yaml-dev
# Daemons: installed, they would start as services. Tests start them, and end them.
unpack "$PWD/artifacts/debian" /usr/sbin/haproxy:haproxy /usr/bin/prometheus:prometheus /usr/bin/containerd:containerd /usr/sbin/dockerd:docker.io \
  /usr/sbin/runc:runc
empty_results
build_all
for group; do
  say "Group $group"
  for_each_program --filter "TestCategory=Long&TestCategory=$group"
  run_ways "TestCategory=Long&TestCategory=$group" $(is_root && echo root caps subids single)
  [ "$(type -t "group_$group")" != function ] || "group_$group"
done
finish
