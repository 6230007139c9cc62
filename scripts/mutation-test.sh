#!/bin/sh
# Shrinks the proven bound of the float32 filter and expects the attacks of test_bound to notice.
# At 0.4 the families whose additions all round the same way must break cosine and ip; l2 has three
# times the room and breaks below 0.3; without any bound everything breaks. The unchanged bound must
# hold. Prints "N passed, N failed" as its last line.
set -eu
cd "$(dirname "$0")/.."

BUILD=${BUILD:-build/check/gcc}
CC=${CC:-cc}
passed=0
failed=0
work=$(mktemp -d "${TMPDIR:-/tmp}/engram-mutation.XXXXXX")
trap 'rm -rf "$work"' EXIT

# $1: factor, $2: names of the tests that must fail (all others may)
mutant() {
    # The mutant's object comes before the archive, whose own copy is then left out.
    "$CC" -std=c11 -O2 -fopenmp -ffp-contract=off -fvisibility=hidden -Iinclude -Isrc -Itests/unit \
        -DENGRAM_MUTATE_F32_BOUND="$1" -o "$work/mutant" tests/unit/test_bound.c \
        src/search/bound_f32.c "$BUILD/libengram.a" -lcmocka -lm
    "$work/mutant" >"$work/log" 2>&1 || true
    grep -q '^\[==========\] [0-9]* test(s) run' "$work/log" || {
        cat "$work/log"
        echo "FAILED factor $1: the tests did not run to their end"
        failed=$((failed + 1))
        return
    }
    for test in $2; do
        if grep -q "^\[  FAILED  \] $test\$" "$work/log"; then
            echo "ok     factor $1: $test fails, as it should"
            passed=$((passed + 1))
        else
            echo "FAILED factor $1: $test did not notice"
            failed=$((failed + 1))
        fi
    done
    if [ -z "$2" ] && grep -q '^\[  FAILED  \]' "$work/log"; then
        cat "$work/log"
        echo "FAILED factor $1: the unchanged bound does not hold"
        failed=$((failed + 1))
    elif [ -z "$2" ]; then
        echo "ok     factor $1: the unchanged bound holds"
        passed=$((passed + 1))
    fi
}

[ -e "$BUILD/libengram.a" ] || ${MAKE:-make} --no-print-directory BUILD="$BUILD" "$BUILD/libengram.a"
mutant 1.0 ""
mutant 0.4 "test_cosine test_ip"
mutant 0.25 "test_cosine test_ip test_l2 test_sqeuclidean"
mutant 0 "test_cosine test_ip test_l2 test_sqeuclidean"

echo "$passed passed, $failed failed"
[ "$failed" -eq 0 ]
