#!/usr/bin/env bash
# Measures runs and pulls against the programs that do the same, alternating, and prints one table: as root, and as an
# ordinary user. See docs/performance.md.
#   eng/bench.sh [--quick] [--growth] [--json FILE] [--svg FILE] [--compare OLD.json] [GROUP...]
#     --quick   a few rounds of each, to see that all of it works
#     --growth  instead, what a run costs when images, layers, output, queued runs and concurrent runs grow
#     --json    the rows as JSON
#     --svg     the ratios as a picture
#     --compare OLD.json, which --json wrote for another version on this machine: says what changed beyond the spread of
#     both, and fails when something is worse
#     GROUP     only these: warm prepared images many fair socket fresh stream pull build services composition,
#               growth-cached growth-layers growth-output growth-queued growth-concurrent growth-asleep growth-waiting
caller=$PWD
. "$(dirname "$0")/common.sh"
. eng/users.sh

groups=(warm prepared images many fair socket fresh stream pull build services composition)
quick=() json='' svg='' compare='' chosen=()
while [ $# -gt 0 ]; do
  case $1 in
    --quick) quick=(--quick) ;;
    --growth) groups=(growth-cached growth-layers growth-output growth-queued growth-concurrent growth-asleep growth-waiting) ;;
    --json | --svg | --compare)
      [ $# -ge 2 ] || fail "$1 takes a file"
      file=$(realpath -m "$caller/$2")
      case $2 in /*) file=$2 ;; esac
      printf -v "${1#--}" %s "$file"
      shift
      ;;
    -*) sed -n 's/^#   \( *\)/\1/p' "$0" >&2 && fail "unknown option $1" ;;
    *) chosen+=("$1") ;;
  esac
  shift
done
[ -z "$compare" ] || [ -r "$compare" ] || fail "cannot read $compare"
[ ${#chosen[@]} -eq 0 ] || groups=("${chosen[@]}")

need_dotnet
need "${build_packages[@]}" "${run_packages[@]}" crun:crun newuidmap:uidmap setpriv:util-linux /bin/busybox:busybox-static \
  podman:podman curl:curl docker-registry:docker-registry skopeo:skopeo buildah:buildah tar:tar gzip:gzip node:nodejs npm:npm \
  /usr/lib/cni/bridge:containernetworking-plugins iptables:iptables slirp4netns:slirp4netns
unpack "$PWD/artifacts/redis" /usr/bin/redis-server:redis-server /usr/bin/redis-cli:redis-tools

say "Building xfn-benchmarks"
dotnet build -c Release -v quiet -clp:NoSummary tests/Xfn.Core.Benchmarks
composition_functions
umask 022
export TMPDIR=/dev/shm
stage_programs tests/Xfn.Core.Benchmarks/bin/Release/net10.0
[ ! -e artifacts/redis ] || { cp -r artifacts/redis "$stage/debian" && chmod -R a+rX "$stage/debian"; }
install -d "$stage/debian/usr/lib"
install -D artifacts/greeting-function/GreetingFunction "$stage/debian/usr/bin/greeting-function"
cp -r artifacts/greeting-function artifacts/node-function "$stage"
chmod -R a+rX "$stage"/{greeting,node}-function

# The longest that one group may take, in seconds.
limit=${XFN_BENCH_LIMIT:-300}
files=() status=0

# measure GROUP LABEL USER COMMAND...: measures by COMMAND, which makes itself the user.
measure() {
  local group=$1 label=$2 user=$3 own=$stage/$2 result=0 pid
  shift 3
  say "$group, as $label" >&2
  make_home "$user" "$own"
  install -d -m 0700 -o "$user" "$own/run"
  # What runs in user namespaces of its own has to come through.
  chmod 0711 "$own" "$own/tmp"
  timeout --kill-after=20 "$limit" "$@" "${environment[@]}" XDG_RUNTIME_DIR="$own/run" DEBIAN_ROOT="$stage/debian" FUNCTIONS_ROOT="$stage" "$stage/programs/xfn-benchmarks" measure "$group" "$label" "$own/$group.json" "${quick[@]}" </dev/null || result=$?
  # What an ordinary user's podman leaves running keeps its directories.
  pid=$(cat "$own/run/libpod/tmp/pause.pid" 2>/dev/null || true)
  [ -z "$pid" ] || [ "$(stat -c %U "/proc/$pid" 2>/dev/null || true)" != "$user" ] || kill "$pid"
  [ "$result" -ne 124 ] || echo "$group: stopped after $limit seconds" >&2
  [ "$result" -eq 0 ] || status=1
  [ ! -e "$own/$group.json" ] || files+=("$own/$group.json")
}

for group in "${groups[@]}"; do
  if is_root; then
    measure "$group" root root env
    case $group in growth-*) ;; *) measure "$group" user xfn-subids "${as_subids[@]}" ;; esac
  else
    measure "$group" user "$(id -un)" env
  fi
done

[ ${#files[@]} -gt 0 ] || fail "nothing was measured; why is above"
: "${json:=$stage/all.json}"
"$stage/programs/xfn-benchmarks" show "$json" "$svg" "${files[@]}" || status=1
[ -z "$compare" ] || "$stage/programs/xfn-benchmarks" compare "$compare" "$json" || status=1
say "Took $SECONDS seconds" >&2
exit $status
