#!/usr/bin/env bash
# Runs end-to-end tests on musl instead of glibc, as root and on x64: .NET's runtime for musl, under Debian's musl. First
# samples/QuickStart, which is published for musl and knows the packages only.
#   eng/musl-tests.sh [FILTER]         of the tests; by default all of runs, preparing, the cache, and containers that live
#   eng/musl-tests.sh --publish DIR    only publishes the tests to a directory, for a real Alpine
#
# Of libstdc++, libgcc and OpenSSL there are no packages for musl here. Debian's stand in, and musl-shim.c has what they
# want of glibc. So this shows that the library does without glibc, not that all is well on Alpine.
# Not part of test.sh: it publishes the tests once more.
#
# For a real Alpine, 3.20 or newer on x64, copy DIR there and run as root what follows. This was not tried, since no
# Alpine was to be had:
#   apk add libstdc++ libgcc libssl3 util-linux shadow-uidmap busybox-static crun strace python3
#   ln -s /bin/busybox.static /usr/bin/busybox
#   DOTNET_SYSTEM_GLOBALIZATION_INVARIANT=1 DIR/Xfn.Core.EndToEnd.Tests --filter 'FullyQualifiedName~.RunTests'

. "$(dirname "$0")/common.sh"
. eng/test-programs.sh

publish() {
  say "Publishing for musl"
  dotnet publish tests/Xfn.Core.EndToEnd.Tests -c Release -r linux-musl-x64 --self-contained -p:PublishAot=false -p:RunAnalyzers=false -p:BuildNative=false -v quiet --nologo -o "$1"
}

if [ "${1-}" = --publish ]; then
  [ $# -eq 2 ] || fail "--publish takes a directory. See the head of $0"
  need "${build_packages[@]}"
  publish "$2"
  exit
fi
is_root || fail "run it as root: it tests one way only"
need_for_tests
need clang:clang /lib/ld-musl-x86_64.so.1:musl

tests='FullyQualifiedName~.PreparedTests|FullyQualifiedName~.RunTests|FullyQualifiedName~.FailureTests|FullyQualifiedName~.PruneTests|FullyQualifiedName~.CacheTests'
tests="$tests|FullyQualifiedName~Tests.Container|FullyQualifiedName~.EgressTests|FullyQualifiedName~.FunctionServiceTests|FullyQualifiedName~.MountTests|FullyQualifiedName~.Spark"
# xfn, which one of them starts, comes beside the tests without a runtime of its own.
filter=${1:-($tests)&TestCategory!=Long&FullyQualifiedName!~told_to_lock_no_files}

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
publish "$work/tests"

mkdir "$work/lib"
cp -L /usr/lib/x86_64-linux-gnu/{libstdc++.so.6,libssl.so.3,libcrypto.so.3} "$(compgen -G '/*/x86_64-linux-gnu/libgcc_s.so.1' | head -1)" "$work/lib"
# The name that programs for musl have for it: nothing is loaded by it, or twice.
ln -s /lib/ld-musl-x86_64.so.1 "$work/lib/libc.musl-x86_64.so.1"
clang -shared -nostdlib -x c /dev/null -o "$work/lib/ld-linux-x86-64.so.2"
shim=(clang -shared -fPIC -nostdlib -fno-builtin -U_FORTIFY_SOURCE -O1 eng/musl-shim.c)
"${shim[@]}" -o "$work/lib/libshim.so"
# The library looks for functions of "libc": in this file first, then in what it needs.
"${shim[@]}" -L"$work/lib" -l:libc.musl-x86_64.so.1 -o "$work/tests/libc.so"
on_musl() { LD_PRELOAD=$work/lib/libshim.so LD_LIBRARY_PATH=$work/lib DOTNET_SYSTEM_GLOBALIZATION_INVARIANT=1 "$@"; }

say "Packing, and publishing samples/QuickStart with the packages, for musl"
# A version that no cache of packages has.
version=0.1.0-musl.$(date +%s)
for package in Xfn.Core.Abstractions Xfn.Core; do
  dotnet pack "src/$package" -c Release -p:Version="$version" -p:RunAnalyzers=false -v quiet --nologo -o "$work/feed"
done
mkdir "$work/QuickStart" "$work/cat"
cp samples/QuickStart/Program.cs "$work/QuickStart"
cat >"$work/QuickStart/QuickStart.csproj" <<END
<Project Sdk="Microsoft.NET.Sdk">
  <PropertyGroup>
    <OutputType>Exe</OutputType>
    <TargetFramework>net10.0</TargetFramework>
    <ImplicitUsings>enable</ImplicitUsings>
    <RestoreAdditionalProjectSources>$work/feed</RestoreAdditionalProjectSources>
    <RestoreFallbackFolders>${NUGET_PACKAGES:-$HOME/.nuget/packages}</RestoreFallbackFolders>
    <RestorePackagesPath>$work/packages</RestorePackagesPath>
  </PropertyGroup>
  <ItemGroup>
    <PackageReference Include="Xfn.Core" Version="$version" />
    <AssemblyAttribute Include="System.Runtime.Versioning.SupportedOSPlatformAttribute">
      <_Parameter1>linux</_Parameter1>
    </AssemblyAttribute>
  </ItemGroup>
</Project>
END
dotnet publish "$work/QuickStart" -c Release -r linux-musl-x64 --self-contained -v quiet --nologo -o "$work/quick-start"
cp "$work/tests/libc.so" "$work/quick-start"

say "Running samples/QuickStart on musl"
cp /bin/cat "$work/cat"
# Of the tests' program, which is xfn too.
on_musl "$work/tests/Xfn.Core.EndToEnd.Tests" build --tag "oci:$work/image:v1" "$work/cat/cat"
echo "from musl" >"$work/input"
HOME=$work on_musl "$work/quick-start/QuickStart" "oci:$work/image:v1" "$work/input" >"$work/output"
cmp "$work/input" "$work/output"

say "Testing"
on_musl "$work/tests/Xfn.Core.EndToEnd.Tests" --filter "$filter" --progress off --no-ansi --results-directory "$work/results"
