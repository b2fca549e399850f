# The end-to-end tests, once for each way in which a process can come by a user namespace. Sourced by test.sh.
#   root    as root
#   caps    as root, but with no other capabilities than CAP_SETUID and CAP_SETGID
#   subids  as an ordinary user with subordinate ids
#   single  as an ordinary user without
#   prepared  as root, the tests of runs once more with every function prepared before it is run
end_to_end=Xfn.Core.EndToEnd.Tests
test_binaries=tests/$end_to_end/bin/Release/net10.0

# has_subids USER: whether newuidmap would give it the 65536 ids of a container.
has_subids() { awk -F: -v user="$1" '$1 == user && $3 >= 65536 { found = 1 } END { exit !found }' /etc/subuid; }

# The first id above all subordinate ids given out so far, and above what root maps by default.
free_subid() { cat /etc/subuid /etc/subgid 2>/dev/null | awk -F: 'BEGIN { free = 300000 } $2 + $3 > free { free = $2 + $3 } END { print free }'; }

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

# run_way WAY USER COMMAND...: runs the tests by COMMAND, in directories that are the user's own. The array filter chooses tests.
filter=()
run_way() {
  local way=$1 user=$2 own=$stage/$1
  shift 2
  install -d -m 0700 -o "$user" -g "$(id -g "$user")" "$own" "$own/home" "$own/tmp" "$own/results"
  test_results=$own/results run_tests "$end_to_end-$way" "$@" env -i PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin LANG=C.UTF-8 DOTNET_ROOT="$DOTNET_ROOT" \
    DOTNET_CLI_HOME="$own/home" DOTNET_CLI_TELEMETRY_OPTOUT=1 HOME="$own/home" TMPDIR="$own/tmp" USER="$user" XFN_TEST_WAY="$way" "$stage/tests/$end_to_end" "${filter[@]}"
}

# A copy that every user can read: the repository may lie below a directory that only its owner may enter, and so may .NET.
stage=$(mktemp -d)
trap 'rm -rf "$stage" 2>/dev/null || unshare --user --map-root-user --map-auto rm -rf "$stage"' EXIT
chmod 0755 "$stage"
cp -r "$test_binaries" "$stage/tests"
chmod -R a+rX "$stage/tests"
DOTNET_ROOT=$(dirname "$(readlink -f "$(command -v dotnet)")")

if is_root; then
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
  echo "Not run, for they take root: the end-to-end tests in the other three ways."
  skipped=$((skipped + 3))
fi
