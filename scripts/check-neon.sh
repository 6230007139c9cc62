#!/bin/sh
# The NEON kernels, and the compute library on AArch64, on a machine of another kind: built with the
# cross compiler, run by qemu's user-mode emulation. tests/kernels/crosscheck.c compares the kernels
# with portable; unit tests run as they are, with a small stand-in for cmocka (the library itself for
# another architecture would mean adding that architecture to the system's package manager): those of
# the kernels alone, and whole searches. With --all, which takes ten minutes, those of all of search,
# and two optimisation levels.
set -eu
cd "$(dirname "$0")/.."

levels=O3
all=
[ "${1:-}" != --all ] || {
    levels='O3 O0'
    all=1
}

root=${BUILD:-build/check}/neon
cross=aarch64-linux-gnu-
if [ "$(uname -m)" = aarch64 ] || [ "$(uname -m)" = arm64 ]; then
    echo "skipped: this is AArch64, where every test runs the NEON kernels"
    exit 0
fi
qemu=$(command -v qemu-aarch64 || command -v qemu-aarch64-static || true)
if ! command -v "${cross}gcc" >/dev/null 2>&1 || [ -z "$qemu" ] ||
    ! echo '#include <stdio.h>' | "${cross}gcc" -E -x c - >/dev/null 2>&1; then
    echo "skipped: no ${cross}gcc with a C library, or no qemu-aarch64"
    exit 0
fi
# Where the emulated loader finds the C library.
loader=$("${cross}gcc" -print-file-name=ld-linux-aarch64.so.1)
qemu="$qemu -L $(cd "$(dirname "$loader")/.." && pwd)"
mkdir -p "$root"

passed=0
failed=0

# $1: folder, $2: CFLAGS. HDF5 is not needed for this library; the Makefile need not look for it.
library() {
    ${MAKE:-make} --no-print-directory -j2 CC="${cross}gcc" AR="${cross}ar" BUILD="$1" CFLAGS="$2" \
        HDF5_CFLAGS= HDF5_LIBS=-lhdf5 WERROR=1 "$1/libengram.a" >"$1.log" 2>&1 || {
        cat "$1.log"
        return 1
    }
}

# $1: program, $2: source, $3: folder of the library, $4: CFLAGS
program() {
    # shellcheck disable=SC2086 # a list of words
    "${cross}gcc" -std=c11 -fopenmp -ffp-contract=off $4 -Iinclude -Isrc -Itests/unit \
        -isystem tests/cross -o "$1" "$2" "$3/libengram.a" -lm
}

# Adds up a program's result. $1: name, $2: passed, $3: failed, $4: exit code, $5: log
report() {
    bad=$3
    if [ "$bad" -eq 0 ] && { [ "$4" != 0 ] || [ "$2" -eq 0 ]; }; then
        bad=1
    fi
    passed=$((passed + $2))
    failed=$((failed + bad))
    if [ "$bad" -eq 0 ]; then
        echo "ok     $1: $2 passed"
    else
        echo "FAILED $1: $2 passed, $bad failed, exit code $4"
        tail -n 40 "$5" | sed 's/^/    /'
    fi
}

for level in $levels; do
    folder=$root/$level
    mkdir -p "$folder"
    library "$folder" "-$level -g"
    program "$folder/crosscheck" tests/kernels/crosscheck.c "$folder" "-$level"
    code=0
    $qemu "$folder/crosscheck" >"$folder/crosscheck.log" 2>&1 || code=$?
    ok=$(sed -n 's/^\([0-9]*\) passed, .*/\1/p' "$folder/crosscheck.log")
    bad=$(sed -n 's/^[0-9]* passed, \([0-9]*\) failed$/\1/p' "$folder/crosscheck.log")
    if ! grep -q '^kernel set: neon$' "$folder/crosscheck.log"; then
        code=1
    fi
    report "crosscheck -$level" "${ok:-0}" "${bad:-0}" "$code" "$folder/crosscheck.log"
done

# Two threads: the emulator is slow enough. As many programs at a time as there are cores.
export OMP_NUM_THREADS=2
names=
for source in $(grep -lE '"(kernels/|search/|engram/search\.h)' tests/unit/test_*.c); do
    name=$(basename "$source" .c)
    [ -n "$all" ] || [ "$name" = test_search ] || ! grep -q '^#include ".*search' "$source" || continue
    # What needs HDF5 is for the architecture of the machine.
    ! grep -qE '"(io|job|cli|bench)/|"h5_fixture\.h"|"engram/job\.h"|hdf5' "$source" || continue
    names="$names $name"
    rm -f "$root/$name.code"
    rm -f "$root/$name"
    program "$root/$name" "$source" "$root/O3" -O2 >"$root/$name.log" 2>&1 || true
done
# shellcheck disable=SC2016 # for the inner shell
one='timeout --foreground "$limit" $qemu "$root/$0" >>"$root/$0.log" 2>&1 </dev/null
echo $? >"$root/$0.code"'
limit=${TEST_TIMEOUT:-600}
export qemu root limit
# shellcheck disable=SC2086 # a list of words
printf '%s\n' $names | xargs -n 1 -P "$(nproc 2>/dev/null || echo 1)" sh -c "$one" || true
for name in $names; do
    log=$root/$name.log
    ok=$(grep -c '^\[       OK \]' "$log") || true
    bad=$(awk '/^\[  FAILED  \] [0-9]+ test/ { n += $4 } END { print n + 0 }' "$log")
    report "$name" "$ok" "$bad" "$(cat "$root/$name.code" 2>/dev/null || echo none)" "$log"
done

echo "$passed passed, $failed failed"
[ "$failed" -eq 0 ]
