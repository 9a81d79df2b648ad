#!/bin/bash
# check.sh [BUILD] - install BUILD (default build/release) into an empty prefix, move it, and
# build and run a consumer against it, through find_package(wattle) and through pkg-config.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
build=${1:-$here/../../build/release}
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
cc=$(sed -n 's/^CMAKE_C_COMPILER:[A-Z]*=//p' "$build/CMakeCache.txt")
want='19 22 43 50'

fail()
{
    echo "install: $*" >&2
    exit 1
}

cmake --install "$build" --prefix "$scratch/first" > "$scratch/log" || fail "$(cat "$scratch/log")"
# Nothing may remember where it was installed first.
mv "$scratch/first" "$scratch/moved"
prefix=$scratch/moved

"$prefix/bin/wattle" --version > "$scratch/version" || fail "the installed command does not run"
grep -q '^wattle ' "$scratch/version" || fail "wattle --version says \"$(cat "$scratch/version")\""

cmake -S "$here" -B "$scratch/cmake" -G Ninja -DCMAKE_PREFIX_PATH="$prefix" \
    -DCMAKE_C_COMPILER="$cc" > "$scratch/log" 2>&1 || fail "find_package: $(cat "$scratch/log")"
cmake --build "$scratch/cmake" > "$scratch/log" 2>&1 || fail "find_package: $(cat "$scratch/log")"
got=$("$scratch/cmake/consumer")
[ "$got" = "$want" ] || fail "the consumer of find_package printed \"$got\", wanted \"$want\""

pc=$(find "$prefix" -name wattle.pc -printf '%h')
export PKG_CONFIG_PATH=$pc
if pkg-config --cflags wattle | grep -q openblas; then
    fail "pkg-config leaks OpenBLAS' include path: $(pkg-config --cflags wattle)"
fi
# shellcheck disable=SC2046 # words are meant to split
"$cc" "$here/consumer.c" -o "$scratch/consumer" $(pkg-config --cflags --static --libs wattle) \
    > "$scratch/log" 2>&1 || fail "pkg-config: $(cat "$scratch/log")"
got=$("$scratch/consumer")
[ "$got" = "$want" ] || fail "the consumer of pkg-config printed \"$got\", wanted \"$want\""
echo "install: command, find_package and pkg-config work from a moved prefix"
