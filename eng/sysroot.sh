#!/usr/bin/env bash
# Fetches what xfn-spark is linked with for the other processor (arm64 on x86-64, x86-64 on arm64): Debian's C library
# and headers, of this machine's release, unpacked to artifacts/sysroot/RUNTIME-IDENTIFIER, where the build looks for
# them. Nothing is installed, dpkg learns of no other architecture, and it takes no root. What is there is left as it is.
. "$(dirname "$0")/common.sh"

case $(uname -m) in
  x86_64) other=arm64 identifier=linux-arm64 ;;
  aarch64) other=amd64 identifier=linux-x64 ;;
  *) fail "cannot compile on $(uname -m): expected x86_64 or aarch64" ;;
esac
sysroot=artifacts/sysroot/$identifier
[ ! -e "$sysroot" ] || exit 0
command -v apt-get >/dev/null || fail "cannot fetch Debian's packages for $other: there is no apt-get here. Unpack libc6-dev, libc6, linux-libc-dev, libgcc-dev and libgcc-s1 for $other to $sysroot"

say "Fetching Debian's C library for $other"
mkdir -p artifacts/sysroot
work=$(mktemp -d "$PWD/artifacts/sysroot/work.XXXXXX")
trap 'rm -rf "$work"' EXIT
mkdir -p "$work"/{lists,archives}/partial "$work/packages" "$work/sysroot"
: >"$work/status"
# The machine's sources and keys; lists and state of its own.
own=(-qq -o APT::Architecture="$other" -o APT::Architectures="$other" -o Dir::State::lists="$work/lists" -o Dir::State::status="$work/status"
  -o Dir::Cache="$work" -o APT::Sandbox::User=root -o Acquire::Languages=none -o Acquire::Retries=3)
# A source that cannot be reached may be one that has none of them.
apt-get "${own[@]}" update || true
# The newest compiler's of this release.
libgcc=$(apt-cache "${own[@]}" pkgnames libgcc- | grep -E '^libgcc-[0-9]+-dev$' | sort -V | tail -1)
[ -n "$libgcc" ] || fail "cannot find packages for $other in apt's sources. Look at what apt-get says above, or unpack libc6-dev, libc6, linux-libc-dev, libgcc-dev and libgcc-s1 for $other to $sysroot"
(cd "$work/packages" && apt-get "${own[@]}" download libc6-dev libc6 linux-libc-dev "$libgcc" libgcc-s1) || fail "cannot download the packages for $other. Look at what apt-get says above."
for package in "$work"/packages/*.deb; do dpkg-deb -x "$package" "$work/sysroot"; done
# Whole, or not there.
mv "$work/sysroot" "$sysroot"
