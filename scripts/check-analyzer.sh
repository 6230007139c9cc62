#!/bin/sh
# gcc's static analyzer over the sources, two at a time. Arguments: files instead of all.
#
# Off everywhere:
#   malloc-leak                  memory that a structure takes over is lost to it, so that constructors
#                                look like leaks; make check runs the tests with leak detection
#   use-of-uninitialized-value   new in gcc 12: "use of <unknown>" in OpenMP's loops and in what a
#                                function called fills; clang-tidy and valgrind look for that
# and in single files, below.
set -eu
cd "$(dirname "$0")/.."

gcc=${ANALYZER_CC:-gcc}
echo 'int main(void) { return 0; }' | "$gcc" -fanalyzer -Werror -x c - -o /dev/null 2>/dev/null || {
    echo "skipped: no gcc with -fanalyzer"
    exit 0
}
hdf5=$(scripts/find-hdf5.sh --cflags | sed 's/-I/-isystem /g')
mpi=$(mpicc --showme:compile 2>/dev/null || mpicc -compile-info 2>/dev/null | cut -d ' ' -f 2- || true)
mpi=$(printf '%s' "$mpi" | sed 's/-I/-isystem /g')
[ $# -gt 0 ] || set -- src/base/*.c src/search/*.c src/io/*.c src/job/*.c src/cli/*.c

found=$(mktemp -d "${TMPDIR:-/tmp}/engram-analyzer.XXXXXX")
trap 'rm -rf "$found"' EXIT
exceptions() { # for file $1
    echo -Wno-analyzer-malloc-leak -Wno-analyzer-use-of-uninitialized-value
    case $1 in
    # The condition of the loop itself says that the pointer is not NULL.
    src/search/pack_int.c) echo -Wno-analyzer-possible-null-dereference ;;
    # It takes engram_fail for a function that might return ENGRAM_OK.
    src/io/tempfile.c) echo -Wno-analyzer-null-argument ;;
    esac
}
half() {
    turn=$1
    shift
    for file in "$@"; do
        [ "$file" != src/job/ranks_mpi.c ] || [ -n "$mpi" ] || continue
        # shellcheck disable=SC2046,SC2086
        [ $((turn % 2)) -ne 0 ] ||
            "$gcc" -std=c11 -O1 -fopenmp -Iinclude -Isrc $hdf5 $mpi -fanalyzer $(exceptions "$file") \
                -c "$file" -o "$found/$turn.o" 2>&1
        turn=$((turn + 1))
    done
}
half 1 "$@" >"$found/odd" &
half 0 "$@" >"$found/even"
wait
if grep -qE 'warning:|error:' "$found/odd" "$found/even"; then
    cat "$found/odd" "$found/even"
    exit 1
fi
echo "$# files"
