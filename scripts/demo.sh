#!/bin/sh
# The nearest neighbours of real words, computed exactly: one job and a look at its result.
# `make demo` builds and calls this. It needs no network and writes into build/demo/ only.
#
#   scripts/demo.sh [WORD...]
set -eu

root=$(CDPATH='' cd -- "$(dirname -- "$0")/.." && pwd)
cd "$root"

engram=${ENGRAM_BATCH:-build/engram-batch}
input=data/glove-20k.h5
folder=build/demo
output=$folder/glove-neighbors.h5

fail() {
    printf 'demo: %s\n' "$1" >&2
    exit 1
}

# Prints a command as one would type it, then runs it.
run() {
    printf '\n$ %s\n' "$*"
    "$@" || fail "the command above failed with exit code $?"
}

[ -x "$engram" ] || fail "$engram does not exist; run \`make\` first"
[ -r "$input" ] || fail "$input cannot be read"
mkdir -p "$folder"

[ $# -gt 0 ] || set -- king paris python coffee seven

printf '%s\n' 'The 20,000 most frequent words of GloVe, 100 numbers each. For every word:' \
    'the 10 most similar of the other 19,999, by an exact comparison of all 400 million pairs.'
run "$engram" --force "$input" "$output"
[ -s "$output" ] || fail "$output was not written"

printf '\n%s\n' 'The result is a plain HDF5 file. What it says about a few words (smaller is nearer):'
run "$engram" show "$output" "$@"

printf '\n%s\n' "More words:  $engram show $output guitar ocean doctor"
