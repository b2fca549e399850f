#!/usr/bin/env bash
# Makes what xfn is installed from, in artifacts/package:
#   Xfn.Cli.*.nupkg           the .NET tool: native code for x64 and arm64, managed code for all else
#   xfn-VERSION-linux-*       xfn as one file, for x64 and arm64
#   xfn_VERSION_*.deb         Debian packages of that file, with manual page, completions and a unit for systemd
#   eng/package.sh [--own]    with --own for this machine's processor alone
# Needs what building takes, and for the other processor llvm and eng/sysroot.sh, which it runs.
. "$(dirname "$0")/common.sh"

own=
case ${1-} in
  --own) own=1 ;;
  ?*) fail "unknown argument '$1'. See the head of $0" ;;
esac

need_dotnet
need "${build_packages[@]}" dpkg-deb:dpkg gzip:gzip readelf:binutils
case $(uname -m) in
  x86_64) identifiers=(linux-x64 linux-arm64) ;;
  aarch64) identifiers=(linux-arm64 linux-x64) ;;
  *) fail "cannot compile on $(uname -m): expected x86_64 or aarch64" ;;
esac
if [ -n "$own" ]; then
  identifiers=("${identifiers[0]}")
else
  need llvm-objcopy:llvm
  eng/sysroot.sh
fi

project=src/Xfn.Cli
version=$(dotnet msbuild -getProperty:Version $project/Xfn.Cli.csproj)
# The same commit gives the same packages.
SOURCE_DATE_EPOCH=$(git log -1 --format=%ct)
export SOURCE_DATE_EPOCH
umask 022
output=$PWD/artifacts/package
work=$PWD/artifacts/package.work
rm -rf "$output" "$work"
mkdir -p "$output" "$work"

# pack ARGUMENT...: a package of the tool. Analyzers read the sources when they are tested.
pack() { dotnet pack -c Release -v quiet -clp:NoSummary -o "$output" $project -p:PackTool=true -p:BuildNative=false -p:RunAnalyzers=false "$@"; }

for identifier in "${identifiers[@]}"; do
  say "Making xfn for $identifier"
  pack -r "$identifier"
  cp "$project/bin/Release/net10.0/$identifier/publish/xfn" "$output/xfn-$version-$identifier"
done
say "Making xfn as managed code"
for identifier in $([ -n "$own" ] || echo linux-musl-x64 linux-musl-arm64 any); do
  # Code that may become native has its machine's runtime fetched, which it does not bring, and NuGet need not have.
  pack -r "$identifier" -p:PublishAot=false -p:IsAotCompatible=false -p:IsTrimmable=false -p:SelfContained=false -p:UseAppHost=false
done
say "Making the package that chooses among them"
pack $([ -z "$own" ] || echo "-p:ToolPackageRuntimeIdentifiers=${identifiers[0]}")

# The manual page is what xfn says about itself, so that the two cannot differ.
xfn=$output/xfn-$version-${identifiers[0]}
manual() {
  local command
  cat <<HEAD
.TH XFN 1 "$(date -u -d "@$SOURCE_DATE_EPOCH" +%Y-%m-%d)" "xfn $version"
.SH NAME
xfn \- run programs packaged as OCI images in rootless containers
.SH SYNOPSIS
.B xfn
.I command
[\fIoption\fR...]
.SH DESCRIPTION
HEAD
  "$xfn" --help | described
  echo .SH COMMANDS
  for command in $("$xfn" --help | awk '/^Commands:/ { on = 1; next } /^$/ { on = 0 } on && /^  [a-z]/ { print $1 }'); do
    echo ".SS xfn $command"
    "$xfn" "$command" --help | described
  done
}

# described: a text of --help as a part of a manual page.
described() {
  sed -e 's/\\/\\e/g' -e 's/-/\\-/g' | awk '
    /^[A-Z][A-Za-z ]*:$/ { title = substr($0, 1, length($0) - 1); print title == "Description" ? ".PP" : ".PP\n.B " title; next }
    /^$/ { next }
    {
      sub(/^ +/, "")
      split_at = match($0, /  +/)
      print split_at ? ".TP\n\\fB" substr($0, 1, split_at - 1) "\\fR\n\\&" substr($0, split_at + RLENGTH) : ".br\n\\&" $0
    }'
}

# debian IDENTIFIER: a Debian package.
debian() {
  local identifier=$1 architecture root=$work/$1 glibc shell
  case $identifier in
    linux-x64) architecture=amd64 ;;
    linux-arm64) architecture=arm64 ;;
  esac
  install -D -m 0755 "$output/xfn-$version-$identifier" "$root/usr/bin/xfn"
  install -D -m 0644 deploy/systemd/xfn.service "$root/usr/lib/systemd/system/xfn.service"
  mkdir -p "$root"/usr/share/{man/man1,doc/xfn,bash-completion/completions,zsh/vendor-completions,fish/vendor_completions.d}
  manual | gzip -9n >"$root/usr/share/man/man1/xfn.1.gz"
  install -D -m 0644 -t "$root/usr/share/xfn" src/Xfn.Core/Remote/*.proto
  "$xfn" completion bash >"$root/usr/share/bash-completion/completions/xfn"
  "$xfn" completion zsh >"$root/usr/share/zsh/vendor-completions/_xfn"
  "$xfn" completion fish >"$root/usr/share/fish/vendor_completions.d/xfn.fish"
  printf 'Format: https://www.debian.org/doc/packaging-manuals/copyright-format/1.0/\nUpstream-Name: xfn\n\nFiles: *\nCopyright: The Xfn.Core authors\nLicense: Apache-2.0\n On Debian systems the whole text is in /usr/share/common-licenses/Apache-2.0.\n' >"$root/usr/share/doc/xfn/copyright"
  printf 'xfn (%s) unstable; urgency=medium\n\n  * See CHANGELOG.md of Xfn.Core.\n\n -- %s  %s\n' "$debian_version" "$maintainer" "$(date -u -R -d "@$SOURCE_DATE_EPOCH")" | gzip -9n >"$root/usr/share/doc/xfn/changelog.gz"

  # What it is linked with says which C library it needs.
  glibc=$(readelf --version-info --wide "$root/usr/bin/xfn" | grep -o 'GLIBC_[0-9.]*' | sort -uV | tail -1)
  mkdir -m 0755 "$root/DEBIAN"
  cat >"$root/DEBIAN/control" <<CONTROL
Package: xfn
Version: $debian_version
Architecture: $architecture
Maintainer: $maintainer
Installed-Size: $(du -sk --exclude=DEBIAN "$root" | cut -f1)
Depends: libc6 (>= ${glibc#GLIBC_}), libssl3 | libssl3t64, util-linux (>= 2.36)
Recommends: ca-certificates, uidmap
Suggests: crun
Section: utils
Priority: optional
Description: run programs packaged as OCI images in rootless containers
 xfn runs a program of an OCI image in a container, and gives its answer:
 bytes in, bytes out, no daemon, nothing left behind. It needs no root. It
 pulls images, builds and pushes them, keeps servers in containers, renders
 Crossplane compositions, and serves runs by gRPC.
CONTROL
  install -m 0755 deploy/debian/postinst deploy/debian/prerm "$root/DEBIAN"
  (cd "$root" && find usr -type f -print0 | sort -z | xargs -0 md5sum) >"$root/DEBIAN/md5sums"
  dpkg-deb --root-owner-group -Zxz --build "$root" "$output" >/dev/null
}

# As Debian's tools take it.
maintainer="${DEBFULLNAME:-The Xfn.Core authors} <${DEBEMAIL:-xfn@localhost.localdomain}>"
# A version before the release is older than the release.
debian_version=${version/-/\~}
say "Making Debian packages"
for identifier in "${identifiers[@]}"; do debian "$identifier"; done
rm -rf "$work"
(cd "$output" && sha256sum -- * >SHA256SUMS)
ls -l "$output"
