#!/bin/sh
# The parallel parts under ThreadSanitizer.
#
# How far this goes: libgomp synchronises with futexes that ThreadSanitizer does not see, so that
# gcc's OpenMP code is one false alarm. clang's libomp tells its events to Archer (libarcher.so),
# which turns fork, join, barriers, critical sections and tasks into what ThreadSanitizer
# understands. So the code is built with clang, and a probe makes sure first that a known race is
# reported and race-free code is not; without Archer the check says "skipped". HDF5 and other
# libraries are not instrumented and what happens inside them is ignored. What libomp does
# differently from libgomp (its schedules, its barriers) is tested instead of what gcc's build runs.
set -eu
cd "$(dirname "$0")/.."

BUILD=${BUILD:-build/check/tsan}
export BUILD
export TSAN_OPTIONS="ignore_noninstrumented_modules=1 exitcode=98 ${TSAN_OPTIONS:-}"
# More threads than cores: more orders of events.
export OMP_NUM_THREADS=3

work=$(mktemp -d "${TMPDIR:-/tmp}/engram-tsan.XXXXXX")
trap 'rm -rf "$work"' EXIT

cat >"$work/probe.c" <<'END'
#include <stdio.h>
int main(int argc, char **argv)
{
    static int values[10000];
    long sum = 0;
    (void)argv;
#pragma omp parallel num_threads(3)
    {
#pragma omp for schedule(dynamic, 16)
        for (int i = 0; i < 10000; i++) {
            values[i] = i;
        }
#pragma omp for reduction(+ : sum)
        for (int i = 0; i < 10000; i++) {
            sum += values[9999 - i];
        }
#pragma omp critical(probe)
        values[1]++;
#pragma omp barrier
        if (argc > 1) {
            values[0]++;
        }
    }
    printf("%ld\n", sum);
    return 0;
}
END
if ! clang -g -O1 -fopenmp -fsanitize=thread "$work/probe.c" -o "$work/probe" 2>"$work/log" ||
    ! "$work/probe" >"$work/log" 2>&1 || "$work/probe" race >"$work/log" 2>&1; then
    tail -n 3 "$work/log"
    echo "skipped: no ThreadSanitizer with Archer (libarcher.so comes with clang's libomp)"
    exit 0
fi

# Tests that start threads: the search, or their own.
tests=$(grep -lE '"(engram|search|io|job)/[a-z_0-9]*\.h"|<omp\.h>|<pthread\.h>' tests/unit/test_*.c || true)
programs=
names=
for test in $tests; do
    names="$names $(basename "$test" .c)"
    programs="$programs $BUILD/tests/$(basename "$test" .c)"
done
# shellcheck disable=SC2086 # lists of words
${MAKE:-make} --no-print-directory -j2 CC=clang SANITIZE=thread BUILD="$BUILD" WERROR=1 \
    "$BUILD/engram-batch" $programs >"$work/log" 2>&1 || {
    cat "$work/log"
    exit 1
}
# Whole jobs, with every filter.
for options in '-k 5' '--metric l2 --filter canonical' '--min-similarity 0.8' \
    '--components --min-similarity 0.7'; do
    # shellcheck disable=SC2086
    "$BUILD/engram-batch" -q --force $options data/minilm-778x384.h5 "$work/out.h5"
done
# shellcheck disable=SC2086
scripts/run-tests.sh $names
