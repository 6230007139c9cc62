#!/bin/sh
# Runs the fuzz targets on their seeds and on what fuzzing once broke: no clang needed. Every file
# counts as a test. BUILD: where the programs are.
set -eu
cd "$(dirname "$0")/../.."

BUILD=${BUILD:-build}
work=$(mktemp -d "${TMPDIR:-/tmp}/engram-replay.XXXXXX")
trap 'rm -rf "$work"' EXIT
trap 'exit 130' INT
trap 'exit 143' TERM
export OMP_NUM_THREADS=1 OMP_WAIT_POLICY=passive FUZZ_FOLDER="$work"

"$(scripts/find-python.sh)" tests/fuzz/make-seeds.py "$work/seeds" "$BUILD/engram-batch"
passed=0
failed=0
for source in tests/fuzz/fuzz_*.c; do
    target=${source#tests/fuzz/fuzz_}
    target=${target%.c}
    case $target in layout | reader | column) seeds=h5 ;; *) seeds=$target ;; esac
    set -- "$work/seeds/$seeds"/*
    for file in tests/fuzz/regressions/"$target"/*; do
        [ ! -f "$file" ] || set -- "$@" "$file"
    done
    # Seeds of the layout are whole: so are their checksums, as the mutator computes them.
    if FUZZ_CHECK_REPAIR=1 "$BUILD/fuzz/$target" "$@" >"$work/log" 2>&1; then
        passed=$((passed + $#))
    else
        echo "$target failed, on the last file named here:"
        tail -n 20 "$work/log"
        failed=$((failed + 1))
    fi
done
echo "$passed passed, $failed failed"
[ $failed -eq 0 ] && [ $passed -gt 0 ]
