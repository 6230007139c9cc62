#!/bin/sh
# clang-tidy over the sources, two at a time; see .clang-tidy. Arguments: files instead of all; for
# them the notes that explain a finding are shown as well.
set -eu
cd "$(dirname "$0")/.."

hdf5=$(scripts/find-hdf5.sh --cflags | sed 's/-I/-isystem /g')
notes=1
[ $# -gt 0 ] || {
    notes=0
    set -- src/*/*.c
}

one() { # prints what clang-tidy says about $1, without its statistics
    isa=
    case $1 in
    */avx2*.c) isa='-mavx2 -mfma -mf16c' ;;
    */avx512*.c) isa='-mavx512f -mavx512bw -mavx512vl -mavx512dq -mavx512vnni -mfma' ;;
    esac
    case $1:$(uname -m) in
    */avx*.c:x86_64 | */avx*.c:amd64 | */neon.c:aarch64 | */neon.c:arm64) ;;
    */avx*.c:* | */neon.c:*) return 0 ;;
    esac
    mpi=
    case $1 in
    */ranks_mpi.c)
        command -v mpicc >/dev/null || return 0
        mpi=$(mpicc --showme:compile 2>/dev/null || mpicc -compile-info | cut -d ' ' -f 2-)
        mpi=$(printf '%s' "$mpi" | sed 's/-I/-isystem /g')
        ;;
    esac
    # shellcheck disable=SC2086
    clang-tidy --quiet "$1" -- -std=c11 -fopenmp -Iinclude -Isrc $hdf5 $isa $mpi 2>&1 |
        grep -v -e 'warnings generated' -e '^Suppressed ' -e '^Use -header-filter' || true
}

# Every other file in the background, the rest here.
found=$(mktemp "${TMPDIR:-/tmp}/engram-tidy.XXXXXX")
trap 'rm -f "$found" "$found".2' EXIT
half() {
    turn=$1
    shift
    for file in "$@"; do
        [ $((turn % 2)) -ne 0 ] || one "$file"
        turn=$((turn + 1))
    done
}
half 1 "$@" >"$found".2 &
half 0 "$@" >"$found"
wait
if [ "$notes" = 1 ]; then
    cat "$found" "$found".2
else
    grep -hE 'warning:|error:' "$found" "$found".2 || true
fi
if grep -qE 'warning:|error:' "$found" "$found".2; then
    exit 1
fi
echo "$# files"
