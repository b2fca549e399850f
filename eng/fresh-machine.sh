#!/usr/bin/env bash
# Shows that the commands of README.md work on a machine that has nothing yet: Debian's smallest root file system
# (debootstrap's variant minbase) with ca-certificates, git and the .NET SDK, in mount and PID namespaces of its own,
# with a clone of what is committed here. Ends with "N passed, N failed, N skipped".
#   eng/fresh-machine.sh [STEP...]    all steps when none is named
#     install the tool, the one file and the Debian package of eng/package.sh, each installed, tried as root and as an
#             ordinary user, and removed
#     root    eng/run.sh as root
#     user    eng/run.sh as an ordinary user, who has root install what it says is missing
#     tests   eng/test.sh as root
#   eng/fresh-machine.sh -- COMMAND   runs a command in it, as root in the clone
# Takes root, network as apt and NuGet have it here, and 8 GiB below XFN_FRESH_DIR (/var/tmp). XFN_FRESH_ROOT names a
# root that an earlier run kept (XFN_FRESH_KEEP=1), to use again, and XFN_FRESH_PACKAGES a directory that eng/package.sh
# has filled.
. "$(dirname "$0")/common.sh"

is_root || fail "only root can make another root file system"
need_dotnet
need debootstrap:debootstrap git:git unshare:util-linux pivot_root:util-linux setpriv:util-linux

steps=(install root user tests) command=()
case ${1-} in
  --) shift && steps=() command=("$@") ;;
  -*) fail "unknown option '$1'. See the head of $0" ;;
  ?*) steps=("$@") ;;
esac

root=${XFN_FRESH_ROOT-}
remove() { [ -n "${XFN_FRESH_KEEP-}" ] && echo "Kept: XFN_FRESH_ROOT=$root" || rm -rf --one-file-system "$root"; }

# The variables by which programs find a proxy, certificates and packages; nothing else of this environment is seen.
settings=(LANG=C.UTF-8 TERM=dumb PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
  DOTNET_NOLOGO=1 DOTNET_CLI_TELEMETRY_OPTOUT=1 DOTNET_SKIP_FIRST_TIME_EXPERIENCE=1
  # As .NET wants it where there is no ICU.
  DOTNET_SYSTEM_GLOBALIZATION_INVARIANT=1)
while read -r variable; do settings+=("$variable"); done < <(env | grep -iE '^(https?_proxy|no_proxy|all_proxy|SSL_CERT_(FILE|DIR)|NUGET_[A-Z_]+|XFN_TEST_[A-Z_]+)=')

# copy PATH...: of this machine, if there.
copy() {
  local path
  for path; do
    [ -e "$path" ] || continue
    mkdir -p "$root$(dirname "$path")"
    cp -aT "$path" "$root$path"
  done
}

make_root() {
  local suite mirror
  say "Making a root file system of Debian's smallest"
  root=$(mktemp -d "${XFN_FRESH_DIR:-/var/tmp}/xfn-fresh.XXXXXX")
  chmod 0755 "$root"
  # From where this machine has its own packages.
  suite=$(. /etc/os-release && echo "$VERSION_CODENAME")
  mirror=$(apt-get indextargets --format '$(CODENAME) $(REPO_URI)' 'Created-By: Packages' | awk -v suite="$suite" '$1 == suite { print $2; exit }')
  [ -n "$mirror" ] || fail "cannot find where apt has the packages of $suite from. Run: apt-get update"
  debootstrap --variant=minbase --include=ca-certificates,git "$suite" "$root" "$mirror" >"$root.log" 2>&1 || { tail -20 "$root.log" >&2; rm -f "$root.log"; fail "debootstrap failed"; }
  rm -f "$root.log"

  # How this machine reaches packages.
  rm -rf "$root/etc/apt/sources.list"
  copy /etc/apt /usr/share/keyrings /etc/resolv.conf /etc/hosts /usr/local/share/ca-certificates /etc/ssl/certs "$HOME/.nuget/NuGet" "${SSL_CERT_FILE-}"
  mkdir -p "$root/usr/share/dotnet"
  cp -aT "$(dirname "$(readlink -f "$(command -v dotnet)")")" "$root/usr/share/dotnet"
  ln -s ../share/dotnet/dotnet "$root/usr/bin/dotnet"
}

# inside USER COMMAND...: runs a command in the root, as a user in the user's clone, in namespaces that end with it. A
# plain chroot would do for nobody who makes user namespaces.
inside() {
  local user=$1 home=/root
  shift
  [ "$user" = root ] || home=/home/$user
  # shellcheck disable=SC2016
  setpriv --pdeathsig KILL unshare --mount --pid --fork --kill-child --propagation private bash -euc '
    root=$1 user=$2 home=$3
    shift 3
    mount --bind "$root" "$root"
    mount -t proc proc "$root/proc"
    for place in /sys /dev; do mount --rbind "$place" "$root$place"; done
    mount -t tmpfs -o mode=1777 tmpfs "$root/tmp"
    mount -t tmpfs -o mode=0755 tmpfs "$root/run"
    cd "$root"
    mkdir -p old
    pivot_root . old
    umount -l /old
    rmdir /old
    cd "$home/xfn"
    exec setpriv --reuid "$user" --regid "$user" --init-groups env -i HOME="$home" USER="$user" "$@"
  ' bash "$root" "$user" "$home" "${settings[@]}" "$@" </dev/null
}

[ -n "$root" ] || make_root
trap remove EXIT
rm -rf "$root/root/xfn"
git clone -q --no-hardlinks "$PWD" "$root/root/xfn"
say "$(git -C "$root/root/xfn" log -1 --format='%h %s')"

if [ ${#command[@]} -gt 0 ]; then
  inside root "${command[@]}"
  exit
fi

passed=0 failed=0 skipped=0

# step NAME COMMAND...: passed or failed as a whole.
step() {
  local name=$1 begin=$SECONDS status=0
  shift
  say "$name"
  "$@" || status=$?
  [ "$status" -eq 0 ] && passed=$((passed + 1)) || failed=$((failed + 1))
  say "$name: status $status after $((SECONDS - begin)) seconds"
}

make_user() { grep -q '^dev:' "$root/etc/passwd" || inside root useradd --create-home --shell /bin/bash dev; }

# What an installed xfn is tried with: an image of a program of this system, which answers.
try='export PATH="$HOME/.dotnet/tools:$PATH"
xfn --version
xfn build --tag oci:/tmp/cat /bin/cat
answer=$(echo hello | xfn run oci:/tmp/cat -)
[ "$answer" = hello ] || { echo "expected hello, got: $answer" >&2; exit 1; }
echo "$(id -un): $answer, by $(readlink -f "$(command -v xfn)")"'

# Steps are conditions, in which bash goes on behind a failure: so && and || say what ends them.
install_and_try() {
  local packages=${XFN_FRESH_PACKAGES-} user
  [ -n "$packages" ] || { eng/package.sh --own && packages=artifacts/package; } || return
  make_user || return
  for user in root home/dev; do mkdir -p "$root/$user/xfn"; done
  rm -rf "$root/srv/packages"
  cp -r "$packages" "$root/srv/packages"

  say "One file"
  install -m 0755 "$packages"/xfn-*-"linux-$(uname -m | sed 's/x86_64/x64/; s/aarch64/arm64/')" "$root/usr/local/bin/xfn" || return
  for user in root dev; do inside "$user" bash -euc "$try" || return; done
  rm "$root/usr/local/bin/xfn"

  say "A .NET tool"
  for user in root dev; do
    inside "$user" bash -euc "dotnet tool install --global --source /srv/packages Xfn.Cli
      $try
      dotnet tool uninstall --global Xfn.Cli" || return
  done

  say "A Debian package"
  inside root bash -euc 'apt-get update -qq
    apt-get install -y -qq "/srv/packages/xfn_"*"_$(dpkg --print-architecture).deb" >/dev/null' || return
  for user in root dev; do inside "$user" bash -euc "$try" || return; done
  inside root bash -euc 'apt-get purge -y -qq xfn >/dev/null
    [ ! -e /usr/bin/xfn ]' || return
  rm -rf "$root/srv/packages"
}

run_as_user() {
  local log remedy
  make_user
  rm -rf "$root/home/dev/xfn"
  git clone -q --no-hardlinks "$PWD" "$root/home/dev/xfn"
  mkdir -p "$root/home/dev/.nuget"
  [ ! -e "$HOME/.nuget/NuGet" ] || cp -aT "$HOME/.nuget/NuGet" "$root/home/dev/.nuget/NuGet"
  inside root chown -R dev:dev /home/dev
  log=$(mktemp)
  if ! inside dev eng/run.sh 2>&1 | tee "$log"; then
    # What it says that root shall do, root does.
    remedy=$(sed -n 's/.*Install them as root: //p' "$log" | head -1)
    rm -f "$log"
    [ -n "$remedy" ] || return 1
    # shellcheck disable=SC2086
    inside root $remedy -y -qq && inside dev eng/run.sh
    return
  fi
  rm -f "$log"
}

for name in "${steps[@]}"; do
  case $name in
    install) step "What eng/package.sh makes, installed" install_and_try ;;
    root) step "eng/run.sh, as root" inside root eng/run.sh ;;
    user) step "eng/run.sh, as an ordinary user" run_as_user ;;
    tests) step "eng/test.sh, as root" inside root eng/test.sh ;;
    *) fail "unknown step '$name'. See the head of $0" ;;
  esac
done
echo "$passed passed, $failed failed, $skipped skipped"
[ "$failed" -eq 0 ] && [ "$passed" -gt 0 ]
