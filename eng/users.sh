# Ordinary users to run programs as, and copies of programs that they can run. Sourced by test-ways.sh and bench.sh.

# has_subids USER: whether newuidmap would give it the 65536 ids of a container.
has_subids() { awk -F: -v user="$1" '$1 == user && $3 >= 65536 { found = 1 } END { exit !found }' /etc/subuid; }

# The first id above all subordinate ids given out so far, which useradd gives from 100000 on.
free_subid() { cat /etc/subuid /etc/subgid 2>/dev/null | awk -F: 'BEGIN { free = 100000 } $2 + $3 > free { free = $2 + $3 } END { print free }'; }

make_users() {
  local first
  touch /etc/subuid /etc/subgid
  # System users: useradd gives them no subordinate ids by itself.
  for user in xfn-subids xfn-plain; do
    id "$user" >/dev/null 2>&1 || useradd --system --user-group --no-create-home --home-dir /nonexistent --shell /bin/false "$user"
  done
  if ! has_subids xfn-subids; then
    first=$(free_subid)
    usermod --add-subuids "$first-$((first + 65535))" --add-subgids "$first-$((first + 65535))" xfn-subids
  fi
  ! has_subids xfn-plain || fail "user xfn-plain has subordinate ids, and is the one to test without. Remove it with: userdel xfn-plain"
}

# stage_programs DIRECTORY: copies programs to $stage/programs, where every user can read them: the repository may lie below a directory that only its owner may enter, and so may .NET.
stage_programs() {
  stage=$(mktemp -d)
  trap 'rm -rf "$stage" 2>/dev/null || unshare --user --map-root-user --map-auto rm -rf "$stage"' EXIT
  chmod 0755 "$stage"
  cp -r "$1" "$stage/programs"
  chmod -R a+rX "$stage/programs"
  DOTNET_ROOT=$(dirname "$(readlink -f "$(command -v dotnet)")")
  is_root || return 0

  make_users
  as_subids=(setpriv --reuid xfn-subids --regid xfn-subids --init-groups --inh-caps=-all)
  as_plain=(setpriv --reuid xfn-plain --regid xfn-plain --init-groups --inh-caps=-all)
  if ! "${as_plain[@]}" test -x "$DOTNET_ROOT/dotnet"; then
    mkdir -p "$stage/dotnet/shared"
    cp -r "$DOTNET_ROOT/dotnet" "$DOTNET_ROOT/host" "$stage/dotnet"
    cp -r "$DOTNET_ROOT/shared/Microsoft.NETCore.App" "$DOTNET_ROOT/shared/Microsoft.AspNetCore.App" "$stage/dotnet/shared"
    chmod -R a+rX "$stage/dotnet"
    DOTNET_ROOT=$stage/dotnet
  fi
}

# make_home USER DIRECTORY: makes directories that are the user's own, and the environment to use them: $environment.
make_home() {
  local user=$1 own=$2
  install -d -m 0700 -o "$user" -g "$(id -g "$user")" "$own" "$own/home" "$own/tmp" "$own/results"
  environment=(env -i PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin LANG=C.UTF-8 DOTNET_ROOT="$DOTNET_ROOT"
    DOTNET_CLI_HOME="$own/home" DOTNET_CLI_TELEMETRY_OPTOUT=1 HOME="$own/home" TMPDIR="$own/tmp" USER="$user")
}
