#!/bin/sh
# make coverage: which lines and branches of src/ the whole suite runs, by gcov and gcovr. Builds in
# build/coverage; runs the unit and black-box tests, cli cases, replayed fuzz files, a few kills and, where
# there is mpicc, the tests of several processes; prints the sum. build/coverage/report.txt names what was
# missed, build/coverage/html shows it. Arguments: suite, kills, faults (the fault walk in full: an hour or
# more) run only these, and add them to what earlier runs counted; report runs nothing.
set -eu
cd "$(dirname "$0")/.."

build=$PWD/build/coverage
venv=build/gcovr
python=$(scripts/find-python.sh)
export OMP_WAIT_POLICY=passive
unset BUILD CFLAGS LDFLAGS DEBUG SANITIZE MAKEFLAGS MFLAGS

make_venv() {
    [ ! -e "$venv/complete" ] || return 0
    case ${NO_INSTALL:-0} in
    0 | '') ;;
    *)
        echo "coverage needs gcovr in $venv, and NO_INSTALL is set" >&2
        exit 1
        ;;
    esac
    rm -rf "$venv"
    mkdir -p build
    if "$python" -m venv "$venv" >"$venv.log" 2>&1 &&
        "$venv/bin/python" -m pip install --quiet gcovr >>"$venv.log" 2>&1; then
        : >"$venv/complete"
        rm -f "$venv.log"
    else
        echo "gcovr cannot be installed (needs python3-venv and the Python package index):" \
            "$(tail -n 1 "$venv.log")" >&2
        exit 1
    fi
}

# -O1, as kernels without optimisation take too long. The wrapper of _exit: tests/coverage/exit.c.
build_all() {
    mpi=0
    ! command -v mpicc >/dev/null || mpi=1
    mkdir -p "$build"
    gcc -O1 -c -o "$build/exit.o" tests/coverage/exit.c
    make --no-print-directory -j"$(nproc 2>/dev/null || echo 2)" CC=gcc BUILD="$build" HARDEN=0 MPI=$mpi \
        CFLAGS="-O1 -g --coverage" LDFLAGS="-Wl,--wrap=_exit $build/exit.o" all test-programs
    # Counts of an object that was compiled anew say nothing.
    find "$build" -name '*.gcda' | while IFS= read -r counts; do
        [ -n "$(find "$counts" -newer "${counts%.gcda}.gcno")" ] || rm "$counts"
    done
}

run() { # $1: name, others: command
    name=$1
    shift
    echo "== $name"
    "$@" || failed="$failed $name"
}

one() {
    case $1 in
    suite) run suite env BUILD="$build" TEST_TIMEOUT=7200 CC="gcc --coverage" scripts/run-tests.sh ;;
    kills) run kills "$python" tests/soak/kills.py 10 ;;
    faults) run faults env ENGRAM_TEST_LONG=1 "$python" tests/blackbox/run.py -k faults ;;
    report) ;;
    *)
        sed -n '2,6s/^# //p' "$0" >&2
        exit 64
        ;;
    esac
}

report() {
    mkdir -p "$build/html"
    "$venv/bin/gcovr" --root . --filter src/ --exclude src/bench/ --exclude src/kernels/neon.c \
        --merge-mode-functions=separate --gcov-ignore-parse-errors=negative_hits.warn --gcov-suspicious-hits-threshold=0 \
        --txt "$build/report.txt" --json "$build/coverage.json" --html-nested "$build/html/index.html" \
        --txt-summary "$build/obj"
    echo "files: $build/report.txt; lines: $build/html/index.html"
    echo "not counted: src/bench (measures, answers nothing), src/kernels/neon.c (another processor's;" \
        "scripts/check-neon.sh), and what a process did that SIGKILL ended"
    [ -e "$build/engram-batch-mpi" ] || echo "no mpicc: src/job/ranks_mpi.c is not counted"
}

failed=
make_venv
export ENGRAM_BATCH="$build/engram-batch"
if [ $# -eq 0 ]; then
    build_all
    find "$build" -name '*.gcda' -delete
    set -- suite kills
elif [ "$1" != report ]; then
    build_all
fi
for what in "$@"; do
    one "$what"
done
report
[ -z "$failed" ] || {
    echo "failed:$failed"
    exit 1
}
