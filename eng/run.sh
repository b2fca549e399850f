#!/usr/bin/env bash
# Builds everything, and runs the function HelloFunction in a container: as root, or as an ordinary user.
. "$(dirname "$0")/common.sh"

is_root || run_packages+=(newuidmap:uidmap)
need_dotnet
need "${build_packages[@]}" "${run_packages[@]}"

input=samples/HelloFunction/hello.yaml
layout=artifacts/hello
image=oci:$layout:latest
xfn=src/Xfn.Cli/bin/Release/net10.0/xfn

say "Building the library and xfn"
dotnet build -c Release -v quiet -clp:NoSummary src/Xfn.Cli
dotnet build -c Release -v quiet -clp:NoSummary samples/QuickStart

say "Publishing samples/HelloFunction and making its image $image"
dotnet publish -c Release -v quiet -clp:NoSummary --use-current-runtime -o artifacts/hello-function samples/HelloFunction
"$xfn" build --tag "$image" artifacts/hello-function/HelloFunction

# A cache of its own, so that the first run is a cold one every time. What is unpacked belongs to ids of the user namespace: only root there may delete it.
cache=$(mktemp -d)
trap 'rm -rf "$cache" 2>/dev/null || unshare --user --map-root-user --map-auto rm -rf "$cache"' EXIT

run() { "$xfn" --debug run --cache-dir "$cache" "$image" "$input"; }

say "Cold: the image is unpacked, then $input is answered"
run
say "Warm: the same in another process, with the image in the cache"
run >/dev/null
say "The same twice inside a program that keeps its runner: samples/QuickStart, whose cache is the default one"
samples/QuickStart/bin/Release/net10.0/QuickStart "$image" "$input" >/dev/null
