#!/bin/sh
# Whole jobs under valgrind: no use of memory that was never set, not even on its way into a file
# (two runs would differ), and none outside of what was allocated. BUILD: which build.
set -eu
cd "$(dirname "$0")/.."

BUILD=${BUILD:-build}
command -v valgrind >/dev/null 2>&1 || {
    echo "skipped: no valgrind"
    exit 0
}
work=$(mktemp -d "${TMPDIR:-/tmp}/engram-valgrind.XXXXXX")
trap 'rm -rf "$work"' EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

# libgomp's and HDF5's memory at the end is theirs to keep: leaks are left to AddressSanitizer.
export OMP_NUM_THREADS=2 OMP_WAIT_POLICY=passive
runs=0
checked() {
    runs=$((runs + 1))
    valgrind -q --leak-check=no --track-origins=no --error-exitcode=99 --fair-sched=yes \
        --trace-children=yes "$BUILD/engram-batch" -q "$@" >"$work/log" 2>&1 || {
        echo "engram-batch $*"
        cat "$work/log"
        exit 1
    }
}
rows='--base-rows 0:200 --query-rows 0:50'
input=data/minilm-778x384.h5
# shellcheck disable=SC2086 # a list
{
    checked $rows -k 5 $input "$work/knn.h5"
    checked $rows -k 5 --filter int --metric l2 --compress 4 $input "$work/packed.h5"
    checked $rows --min-similarity 0.5 --memory 60M $input "$work/pairs.h5"
    checked $rows --all --float64 $input "$work/dense.h5"
}
checked --components --min-similarity 0.8 --base-rows 0:150 $input "$work/groups.h5"
checked show "$work/knn.h5" 0 1
checked verify --sample 5 $input "$work/knn.h5"
echo "$runs runs under $(valgrind --version)"
