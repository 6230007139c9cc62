#!/bin/bash
# Runs the unit tests in $BUILD/tests, then the black-box tests, and prints the sum of their
# results as the last line: "N passed, N failed". Fails when something failed or nothing ran.
# Arguments: names of unit tests; only these run then (test_arena ...). As many at a time as there are
# cores, at most 4 (TEST_JOBS); each may take ten minutes (TEST_TIMEOUT: seconds).
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

logs=$BUILD/tests/logs
cores=$(nproc 2>/dev/null || echo 1)
lanes=${TEST_JOBS:-$((cores < 4 ? cores : 4))}
limit=${TEST_TIMEOUT:-600}
# shellcheck source=scripts/lanes.sh
. scripts/lanes.sh
passed=0
failed=0

# A cmocka program says what came of each test. Suites print the sum themselves, as the last line.
lane_finished() { # $1: name, $2: exit code, $3: seconds, $4: of processor time
    local log=$logs/$1.log code=$2 counts ok bad skipped=0
    case $1 in
    test_*)
        ok=$(grep -c '^\[       OK \]' "$log") || true
        bad=$(awk '/^\[  FAILED  \] [0-9]+ test/ { n += $4 } END { print n + 0 }' "$log")
        # cmocka lists every skipped test twice: where it ran and at the end.
        skipped=$(($(grep -c '^\[  SKIPPED \] [a-zA-Z_]' "$log") / 2)) || true
        ;;
    *)
        counts=$(sed -n 's/^\([0-9][0-9]*\) passed, \([0-9][0-9]*\) failed.*/\1 \2/p' "$log" | tail -n 1)
        ok=${counts% *} bad=${counts#* }
        ok=${ok:-0} bad=${bad:-1}
        ;;
    esac
    # A crash counts as one failure, and so does a program without a test.
    if [ "$bad" -eq 0 ] && { [ "$code" -ne 0 ] || [ $((ok + skipped)) -eq 0 ]; }; then
        bad=1
    fi
    passed=$((passed + ok))
    failed=$((failed + bad))
    if [ "$bad" -ne 0 ]; then
        echo "FAILED $1: $ok passed, $bad failed, exit code $code"
        sed 's/^/    /' "$log" | tail -n 60
    else
        echo "ok     $1: $ok passed$([ "$skipped" -eq 0 ] || echo ", $skipped skipped") ($3 s, processor time $4 s)"
    fi
}

lane_stopped() {
    [ "$failed" -ne 0 ] || failed=1
    echo "$passed passed, $failed failed"
}

if [ $# -gt 0 ]; then
    for test in "$@"; do
        lane_start "$test" "$limit" "$BUILD/tests/$test"
    done
else
    PYTHON=$(scripts/find-python.sh)
    export PYTHON
    # First what takes longest.
    lane_start blackbox "$limit" "$PYTHON" tests/blackbox/run.py
    for source in tests/unit/test_*.c; do
        lane_start "$(basename "$source" .c)" "$limit" "$BUILD/tests/$(basename "$source" .c)"
    done
    lane_start cli "$limit" sh tests/cli/run.sh
    lane_start fuzz-replay "$limit" tests/fuzz/replay.sh
fi
lane_await_all

echo "$passed passed, $failed failed"
[ "$failed" -eq 0 ] && [ "$passed" -gt 0 ]
