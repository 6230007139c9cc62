#!/bin/sh
# Shrinks the proven bounds of the filters and expects the attacks of test_bound (float32) and
# test_int_bound (integer), test_prefix_bound (prefix) to notice. The unchanged bounds must hold. For
# float32, at 0.4 the families whose additions all round the same way must break cosine and ip; l2
# has three times the room and breaks below 0.3; without any bound everything breaks. The bounds of
# l1, of the integer and the prefix filter have no room worth mentioning: at 0.95 everything breaks.
# Prints "N passed, N failed" as its last line.
set -eu
cd "$(dirname "$0")/.."

BUILD=${BUILD:-build/check/gcc}
CC=${CC:-cc}
passed=0
failed=0
work=$(mktemp -d "${TMPDIR:-/tmp}/engram-mutation.XXXXXX")
trap 'rm -rf "$work"' EXIT

# $1: filter (f32, int, prefix), $2: factor, $3: names of the tests that must fail (all others may)
mutant() {
    more=
    case $1 in
    f32) attack=test_bound macro=ENGRAM_MUTATE_F32_BOUND source=src/search/bound_f32.c ;;
    l1) attack=test_bound macro=ENGRAM_MUTATE_L1_BOUND source=src/search/bound_l1.c ;;
    int)
        attack=test_int_bound macro=ENGRAM_MUTATE_INT_BOUND source=src/search/pack_int.c
        more=src/search/int_query.c
        ;;
    prefix)
        attack=test_prefix_bound macro=ENGRAM_MUTATE_PREFIX_BOUND source=src/search/bound_prefix.c
        ;;
    esac
    # The mutant's objects come before the archive, whose own copies are then left out.
    # shellcheck disable=SC2086 # $more: one or none
    "$CC" -std=c11 -O2 -fopenmp -ffp-contract=off -fvisibility=hidden -Iinclude -Isrc -Itests/unit \
        "-D$macro=$2" -o "$work/mutant" "tests/unit/$attack.c" \
        "$source" $more "$BUILD/libengram.a" -lcmocka -lm
    "$work/mutant" >"$work/log" 2>&1 || true
    grep -q '^\[==========\] [0-9]* test(s) run' "$work/log" || {
        cat "$work/log"
        echo "FAILED $1 factor $2: the tests did not run to their end"
        failed=$((failed + 1))
        return
    }
    for test in $3; do
        if grep -q "^\[  FAILED  \] $test\$" "$work/log"; then
            echo "ok     $1 factor $2: $test fails, as it should"
            passed=$((passed + 1))
        else
            echo "FAILED $1 factor $2: $test did not notice"
            failed=$((failed + 1))
        fi
    done
    if [ -z "$3" ] && grep -q '^\[  FAILED  \]' "$work/log"; then
        cat "$work/log"
        echo "FAILED $1 factor $2: the unchanged bound does not hold"
        failed=$((failed + 1))
    elif [ -z "$3" ]; then
        echo "ok     $1 factor $2: the unchanged bound holds"
        passed=$((passed + 1))
    fi
}

[ -e "$BUILD/libengram.a" ] || ${MAKE:-make} --no-print-directory BUILD="$BUILD" "$BUILD/libengram.a"
mutant f32 1.0 ""
mutant f32 0.4 "test_cosine test_ip"
mutant f32 0.25 "test_cosine test_ip test_l2 test_sqeuclidean"
mutant f32 0 "test_cosine test_ip test_l2 test_sqeuclidean"
mutant l1 0.95 "test_l1"
mutant int 1.0 ""
mutant int 0.95 "test_cosine test_ip test_l2 test_sqeuclidean"
mutant prefix 1.0 ""
mutant prefix 0.95 "test_inequality test_cosine test_ip test_l2 test_sqeuclidean"

echo "$passed passed, $failed failed"
[ "$failed" -eq 0 ]
