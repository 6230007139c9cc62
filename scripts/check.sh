#!/bin/bash
# make check: everything that is not a plain test. Two steps run at a time. Each is one line of output,
# with its log below when it failed; steps that run tests count as their tests. The last line is the
# sum: "N passed, N failed". Arguments: names of steps; only these run then. STEP_SECONDS: what a step
# may take before it is ended.
set -eu
cd "$(dirname "$0")/.."

# The configurations below choose their own folders, compilers and flags.
unset BUILD CFLAGS LDFLAGS DEBUG SANITIZE MAKEFLAGS MFLAGS
export WERROR=1
root=build/check
only=" $* "
jobs=$(nproc 2>/dev/null || echo 2)
lanes=$((jobs < 2 ? 1 : 2))
limit=${STEP_SECONDS:-1500}

# shellcheck source=scripts/steps.sh
. scripts/steps.sh

# Steps that run at the same time may need the same folder. $1: folder, others: for make
build() {
    local folder=$1
    shift
    mkdir -p "$folder"
    $lock ${lock:+"$folder/lock"} make --no-print-directory -j"$jobs" BUILD="$folder" "$@"
}
lock=$(command -v flock || true)
mpi=0
! command -v "${MPICC:-mpicc}" >/dev/null || ! command -v mpirun >/dev/null || mpi=1

strict_build() { # $1: folder, $2: compiler, $3: 1: for several processes, too
    build "$1" CC="$2" MPI="${3:-0}" all test-programs || return 1
    echo "no warning by $("$2" --version | head -n 1)"
}

# The kernels are compiled once per instruction set; what holds at one optimisation level of one
# compiler need not hold at another. (make test runs them as cc optimises them.)
kernel_tests() { # $1: folder, $2: compiler, $3: CFLAGS
    names=
    programs=
    for test in $(grep -lE '"kernels/' tests/unit/test_*.c || true); do
        names="$names $(basename "$test" .c)"
        programs="$programs $1/tests/$(basename "$test" .c)"
    done
    [ -n "$names" ] || {
        echo "no test includes kernels/"
        return 1
    }
    # shellcheck disable=SC2086
    build "$1" CC="$2" CFLAGS="$3" $programs || return 1
    # shellcheck disable=SC2086
    BUILD=$1 scripts/run-tests.sh $names
}

# The sweeps that `make test` keeps short, in full.
long_tests() { # $1: folder
    programs=
    for test in $(grep -l "long_tests()" tests/unit/test_*.c); do
        programs="$programs $(basename "$test" .c)"
    done
    # shellcheck disable=SC2086
    ENGRAM_TEST_LONG=1 BUILD=$1 scripts/run-tests.sh $programs
}

# ENGRAM_TEST_LIGHT=1: without the black-box tests that take long.
sanitized_tests() {
    build build/asan SANITIZE=address,undefined all test-programs || return 1
    BUILD=build/asan scripts/run-tests.sh
}

light_sanitized_tests() {
    ENGRAM_TEST_LIGHT=1 sanitized_tests
}

# README's recipes, with the libraries they are about.
recipes() {
    build "$root/gcc" MPI="$mpi" all || return 1
    scripts/recipes-venv.sh
    ENGRAM_TEST_RECIPES=1 ENGRAM_BATCH="$PWD/$root/gcc/engram-batch" OMP_WAIT_POLICY=passive \
        "$(scripts/find-python.sh)" tests/blackbox/run.py -k recipes
}

# scripts/slurm on a real Slurm.
slurm_jobs() {
    build "$root/gcc" MPI="$mpi" all || return 1
    ENGRAM_BATCH="$root/gcc/engram-batch" tests/slurm/run.sh
}

# Jobs of every kind, killed and run again; make soak kills more.
kills() {
    build "$root/gcc" MPI="$mpi" all || return 1
    ENGRAM_BATCH="$root/gcc/engram-batch" OMP_WAIT_POLICY=passive \
        "$(scripts/find-python.sh)" tests/soak/kills.py 25
}

# What clang can tell of numbers: conversions that change a value, floats out of an integer's range.
# Sums of unsigned numbers may wrap (hashes, random numbers, the loops that OpenMP makes), and NULL + 0
# is how a set without elements is walked over (pointer-overflow).
integer_tests() {
    checks=signed-integer-overflow,integer-divide-by-zero,shift,bounds,float-cast-overflow,implicit-conversion
    programs=
    names=
    for test in tests/unit/test_*.c; do
        unit=$(basename "$test" .c)
        # clang's OpenMP library allocates where gcc's does not.
        [ "$unit" != test_no_malloc ] || continue
        programs="$programs $root/integer/tests/$unit"
        names="$names $unit"
    done
    # shellcheck disable=SC2086
    build "$root/integer" CC=clang CFLAGS='-O1 -g -Wno-pass-failed' \
        SANITIZE="$checks" $programs || return 1
    # shellcheck disable=SC2086
    UBSAN_OPTIONS=halt_on_error=1:print_stacktrace=1 BUILD=$root/integer scripts/run-tests.sh $names
}

# Several processes on one job.
ranks() {
    if [ "$mpi" = 0 ]; then
        echo "skipped: needs mpicc and mpirun (Debian: libopenmpi-dev openmpi-bin)"
        return 0
    fi
    build "$root/gcc" MPI="$mpi" all || return 1
    ENGRAM_BATCH="$root/gcc/engram-batch" OMP_WAIT_POLICY=passive \
        "$(scripts/find-python.sh)" tests/blackbox/run.py -k mpi.
}

# A few seconds of each fuzz target, from its seeds; scripts/fuzz.sh TARGET SECONDS is for hours.
fuzz_smoke() {
    FUZZ_CORPUS=$(mktemp -d "${TMPDIR:-/tmp}/engram-smoke.XXXXXX")
    export FUZZ_CORPUS
    code=0
    scripts/fuzz.sh all 3 || code=1
    rm -rf "$FUZZ_CORPUS"
    return $code
}

step layers scripts/check-layers.sh
step headers scripts/check-headers.sh
step format scripts/check-format.sh
step shell scripts/check-shell.sh
step gcc strict_build "$root/gcc" "${CC:-cc}" "$mpi"
# What takes longest begins early, so that the other lane has something to do until it ends.
step asan light_sanitized_tests
step tidy scripts/check-tidy.sh
step tsan scripts/check-tsan.sh
step integer integer_tests
step clang strict_build "$root/clang" clang
step fuzz fuzz_smoke
step kernels-clang-O0 kernel_tests "$root/clang-O0" clang "-O0"
step neon env BUILD="$root" scripts/check-neon.sh
step avx512-simde env BUILD="$root" scripts/check-avx512-simde.sh
step cppcheck scripts/check-cppcheck.sh
step analyzer scripts/check-analyzer.sh
# These need the builds above. Of those folders nothing is built anew, or by one step only.
lane_await gcc
step hardening env BUILD="$root/gcc" scripts/check-hardening.sh
step symbols env BUILD="$root/gcc" scripts/check-symbols.sh
step long long_tests "$root/gcc"
step mutation env BUILD="$root/gcc" scripts/mutation-test.sh
step recipes recipes
step kills kills
step mpi ranks
step valgrind env BUILD="$root/gcc" scripts/check-valgrind.sh
lane_await clang
step kernels-clang-O3 kernel_tests "$root/clang" clang "-O3 -g"

# Parts of make soak, and here only by name.
named() {
    case $only in *" $1 "*) step "$@" ;; esac
}
named kernels-gcc-O3 kernel_tests "$root/gcc" "${CC:-cc}" "-O3 -g"
named kernels-gcc-O0 kernel_tests "$root/gcc-O0" "${CC:-cc}" "-O0"
named asan-all sanitized_tests
named neon-all env BUILD="$root" scripts/check-neon.sh --all
named slurm slurm_jobs

tell_total
