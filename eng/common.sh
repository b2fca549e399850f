# What run.sh and test.sh share. Sourced by them, from anywhere; afterwards the working directory is the repository.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

export DOTNET_NOLOGO=1 DOTNET_CLI_TELEMETRY_OPTOUT=1 DOTNET_SKIP_FIRST_TIME_EXPERIENCE=1
# Without servers that outlive the script, and that another user of this machine could not talk to.
export MSBUILDDISABLENODEREUSE=1 DOTNET_CLI_USE_MSBUILD_SERVER=0 UseSharedCompilation=false

is_root() { [ "$(id -u)" -eq 0 ]; }

say() { printf '\n== %s\n' "$*"; }

fail() {
  printf '%s: error: %s\n' "$(basename "$0")" "$*" >&2
  exit 1
}

# need PROBE:PACKAGE...: installs the Debian packages whose probe, a command or an absolute path, is not there.
need() {
  local pair probe missing=()
  for pair in "$@"; do
    probe=${pair%%:*}
    case $probe in
      /*) [ -e "$probe" ] ;;
      *) command -v "$probe" >/dev/null || [ -x "/usr/sbin/$probe" ] ;;
    esac || missing+=("${pair##*:}")
  done
  [ ${#missing[@]} -gt 0 ] || return 0

  is_root || fail "missing packages: ${missing[*]}. Install them as root: apt-get install --no-install-recommends ${missing[*]}"
  command -v apt-get >/dev/null || fail "missing packages: ${missing[*]}. There is no apt-get here: install them, by their names on Debian, with this system's own means."
  say "Installing ${missing[*]}"
  # The lists of a fresh machine may be missing or old: then only an update makes the install possible.
  export DEBIAN_FRONTEND=noninteractive
  apt_install() { apt-get install -y -qq --no-install-recommends "${missing[@]}" >/dev/null; }
  apt_install 2>/dev/null || { apt-get update -qq && apt_install; } || fail "cannot install ${missing[*]}. Look at what apt-get says above."
}

# unpack DIRECTORY PROBE:PACKAGE...: unpacks the Debian packages whose probe, an absolute path or a pattern of one, is
# neither here nor in the directory, with what they need besides. Nothing is installed, so no service starts, and it takes
# no root.
unpack() {
  local directory=$1 pair probe archives archive missing=()
  shift
  for pair in "$@"; do
    probe=${pair%%:*}
    compgen -G "$probe" >/dev/null || compgen -G "$directory$probe" >/dev/null || missing+=("${pair##*:}")
  done
  [ ${#missing[@]} -gt 0 ] || return 0

  command -v apt-get >/dev/null || fail "missing packages: ${missing[*]}. There is no apt-get here: install them, by their names on Debian, with this system's own means."
  say "Unpacking ${missing[*]}"
  archives=$(mktemp -d)
  mkdir -p "$archives/partial" "$directory"
  apt_download() { apt-get install --download-only -y -qq --no-install-recommends -o Debug::NoLocking=1 -o Dir::Cache::archives="$archives" "${missing[@]}" >/dev/null; }
  apt_download 2>/dev/null || { { ! is_root || apt-get update -qq; } && apt_download; } || fail "cannot download ${missing[*]}. Look at what apt-get says above."
  for archive in "$archives"/*.deb; do dpkg-deb -x "$archive" "$directory"; done
  rm -rf "$archives"
}

# composition_functions: makes what tests and figures start as composition functions: samples/GreetingFunction as native
# code, and a function on Crossplane's SDK for Node, whose packages npm gets.
composition_functions() {
  local source=tests/Xfn.Core.Composition.Tests/NodeFunction node=artifacts/node-function
  say "Publishing samples/GreetingFunction"
  # Without a runtime identifier on the command line, which would have the libraries compiled again for it, and without
  # symbols, of which the program would be stripped.
  dotnet publish -c Release -v quiet -clp:NoSummary -p:NativeDebugSymbols=false -o artifacts/greeting-function samples/GreetingFunction || return
  if ! cmp -s "$source/package-lock.json" "$node/package-lock.json"; then
    say "Getting the packages of $source"
    rm -rf "$node"
    mkdir -p "$node.new"
    cp "$source"/package*.json "$node.new"
    npm ci --prefix "$node.new" --ignore-scripts --no-audit --no-fund --loglevel=error || return
    mv "$node.new" "$node"
  fi
  cp "$source/main.js" "$node"
}

need_dotnet() {
  command -v dotnet >/dev/null || fail "cannot find dotnet. Install the .NET 10 SDK: https://dotnet.microsoft.com/download"
}

# What building takes: clang and lld for native AOT, and the headers and start files it links with.
build_packages=(clang:clang ld.lld:lld /usr/include/stdlib.h:libc6-dev)
# What running takes; newuidmap only where an ordinary user is to have more than one id.
run_packages=(unshare:util-linux)
