#!/bin/sh
# Command-line tests. A case is a script cases/NAME.sh, run by sh in a fresh folder that holds small
# input files (make-inputs.py), with `engram-batch` in PATH. What it prints must equal
# cases/NAME.stdout and cases/NAME.stderr (no file: nothing), its exit code the number in
# cases/NAME.exit (no file: 0). In the output {DIR} stands for the case's folder.
#
#   tests/cli/run.sh [--accept] [NAME...]     --accept: take what comes out as what is expected
#
# Cases with several commands source $LIB; bundled files are in $DATA. A case that this machine
# cannot run writes why into the file SKIPPED and is not counted.
#
# The command is $ENGRAM_BATCH, default build/engram-batch.
set -eu
here=$(CDPATH='' cd -- "$(dirname -- "$0")" && pwd)
root=$(CDPATH='' cd -- "$here/../.." && pwd)

binary=${ENGRAM_BATCH:-build/engram-batch}
case $binary in /*) ;; *) binary=$root/$binary ;; esac
[ -x "$binary" ] || {
    echo "$binary does not exist; run make first" >&2
    exit 2
}

accept=
[ "${1:-}" != --accept ] || {
    accept=1
    shift
}

work=$(mktemp -d "${TMPDIR:-/tmp}/engram-cli.XXXXXX")
trap 'rm -rf "$work"' EXIT
trap 'exit 130' INT
trap 'exit 143' TERM
work=$(CDPATH='' cd -- "$work" && pwd -P)

PYTHON=$("$root/scripts/find-python.sh")
mkdir "$work/bin" "$work/inputs"
ln -s "$binary" "$work/bin/engram-batch"
"$PYTHON" "$here/make-inputs.py" "$work/inputs"

PATH=$work/bin:$PATH
LC_ALL=C
TERM=dumb
OMP_NUM_THREADS=2
LIB=$here/lib.sh
DATA=$root/data
export LIB DATA PYTHON PATH LC_ALL TERM OMP_NUM_THREADS
unset ENGRAM_ISA POSIXLY_CORRECT OMP_PROC_BIND OMP_PLACES OMP_THREAD_LIMIT

limit=
! command -v timeout >/dev/null 2>&1 || limit="timeout ${CASE_TIMEOUT:-120}"

# Compares $2 (what came out) with $3 (what is expected; no file: nothing) or takes it over.
# $1: what it is
compare() {
    if [ -n "$accept" ]; then
        if [ -s "$2" ]; then cp "$2" "$3"; else rm -f "$3"; fi
        return 0
    fi
    expected=$3
    [ -e "$expected" ] || expected=/dev/null
    cmp -s "$2" "$expected" && return 0
    echo "--- $1: - expected, + came out"
    diff -u "$expected" "$2" | sed -e 1,2d
    return 1
}

run_case() {
    name=$1
    dir=$work/$name
    cp -r "$work/inputs" "$dir"
    code=0
    (cd "$dir" && exec $limit sh -u "$here/cases/$name.sh") >"$work/out" 2>"$work/err" </dev/null ||
        code=$?
    for stream in out err; do
        sed "s|$dir|{DIR}|g" "$work/$stream" >"$work/$stream.plain"
    done
    rm -f "$work/skipped"
    [ ! -e "$dir/SKIPPED" ] || mv "$dir/SKIPPED" "$work/skipped"
    : >"$work/code"
    [ "$code" -eq 0 ] || echo "$code" >"$work/code"
    result=0
    {
        compare stdout "$work/out.plain" "$here/cases/$name.stdout" || result=1
        compare stderr "$work/err.plain" "$here/cases/$name.stderr" || result=1
        compare "exit code" "$work/code" "$here/cases/$name.exit" || result=1
    } >"$work/diff"
    rm -rf "$dir"
    return $result
}

[ $# -gt 0 ] || {
    cd "$here/cases"
    set -- *.sh
    cd "$root"
}
passed=0
failed=0
for case in "$@"; do
    case=${case##*/}
    case=${case%.sh}
    ok=1
    run_case "$case" || ok=0
    if [ -e "$work/skipped" ]; then
        echo "skipped $case: $(cat "$work/skipped")"
    elif [ "$ok" -eq 1 ]; then
        passed=$((passed + 1))
    else
        failed=$((failed + 1))
        echo "FAILED $case"
        sed 's/^/    /' "$work/diff"
    fi
done
echo "$passed passed, $failed failed"
[ "$failed" -eq 0 ]
