#!/bin/sh
# Runs the unit tests in $BUILD/tests, then the black-box tests, and prints the sum of their
# results as the last line: "N passed, N failed". Fails when something failed or nothing ran.
# Arguments: names of unit tests; only these run then (test_arena ...).
set -eu
cd "$(dirname "$0")/.."

BUILD=${BUILD:-build}
case $BUILD in /*) ;; *) BUILD=$PWD/$BUILD ;; esac
export BUILD
export ENGRAM_BATCH="$BUILD/engram-batch"
export ENGRAM_BENCH="$BUILD/engram-bench"
# Threads that wait for others give their core away: with more threads than free cores, as many tests
# have and shared machines always, libgomp's busy waiting would make them ten times slower.
export OMP_WAIT_POLICY="${OMP_WAIT_POLICY:-passive}"
# A sanitizer's finding must not look like an exit code of ours.
export ASAN_OPTIONS="exitcode=99:detect_leaks=1:${ASAN_OPTIONS:-}"
export UBSAN_OPTIONS="print_stacktrace=1:${UBSAN_OPTIONS:-}"

limit=
! command -v timeout >/dev/null 2>&1 || limit="timeout ${TEST_TIMEOUT:-600}"
passed=0
failed=0
logs=$BUILD/tests/logs
mkdir -p "$logs"

# Adds up one result and says so. $1: name, $2: passed, $3: failed, $4: skipped, $5: log
report() {
    passed=$((passed + $2))
    failed=$((failed + $3))
    if [ "$3" -ne 0 ]; then
        echo "FAILED $1: $2 passed, $3 failed"
        sed 's/^/    /' "$5" | tail -n 60
    else
        echo "ok     $1: $2 passed$([ "$4" -eq 0 ] || echo ", $4 skipped")"
    fi
}

# A cmocka program: its result lines are counted; a crash counts as one failure.
run_unit() {
    name=$1
    log=$logs/$name.log
    code=0
    $limit "$BUILD/tests/$name" >"$log" 2>&1 </dev/null || code=$?
    ok=$(grep -c '^\[       OK \]' "$log") || true
    bad=$(awk '/^\[  FAILED  \] [0-9]+ test/ { n += $4 } END { print n + 0 }' "$log")
    skipped=$(grep -c '^\[  SKIPPED \] [a-zA-Z_]' "$log") || true
    if [ "$bad" -eq 0 ] && { [ "$code" -ne 0 ] || [ $((ok + skipped)) -eq 0 ]; }; then
        bad=1
        echo "exit code $code" >>"$log"
    fi
    # cmocka lists every skipped test twice: where it ran and at the end.
    report "$name" "$ok" "$bad" $((skipped / 2)) "$log"
}

# A suite that prints its own "N passed, N failed" as its last line. $1: name, others: command
run_suite() {
    name=$1
    log=$logs/$name.log
    shift
    code=0
    "$@" >"$log" 2>&1 </dev/null || code=$?
    counts=$(sed -n 's/^\([0-9][0-9]*\) passed, \([0-9][0-9]*\) failed.*/\1 \2/p' "$log" | tail -n 1)
    ok=${counts% *}
    bad=${counts#* }
    if [ -z "$counts" ]; then
        ok=0
        bad=1
        echo "exit code $code, and no line \"N passed, N failed\"" >>"$log"
    elif [ "$bad" -eq 0 ] && { [ "$code" -ne 0 ] || [ "$ok" -eq 0 ]; }; then
        bad=1
        echo "exit code $code" >>"$log"
    fi
    report "$name" "$ok" "$bad" 0 "$log"
}

if [ $# -gt 0 ]; then
    for test in "$@"; do
        run_unit "$test"
    done
else
    for source in tests/unit/test_*.c; do
        [ -e "$source" ] || continue
        run_unit "$(basename "$source" .c)"
    done
    if [ -e tests/blackbox/run.py ]; then
        PYTHON=$(scripts/find-python.sh)
        export PYTHON
        run_suite blackbox "$PYTHON" tests/blackbox/run.py
    fi
    if [ -e tests/cli/run.sh ]; then
        run_suite cli sh tests/cli/run.sh
    fi
    run_suite fuzz-replay tests/fuzz/replay.sh
fi

echo "$passed passed, $failed failed"
[ "$failed" -eq 0 ] && [ "$passed" -gt 0 ]
