#!/bin/bash
# make soak: what takes hours and is not part of make check. Output as there: a line for each step, its
# log below when it failed, and a sum. Arguments: names of steps; only these run then.
set -eu
cd "$(dirname "$0")/.."

root=build/soak
only=" $* "
lanes=1
limit=$((12 * 3600))
# shellcheck source=scripts/steps.sh
. scripts/steps.sh

# Kills and random jobs take several processes, too, where there are any.
! command -v mpicc >/dev/null || make --no-print-directory MPI=1 all >"$root/build.log" 2>&1 || {
    echo "MPI=1 does not build: see $root/build.log"
}
python=$(scripts/find-python.sh)
export OMP_WAIT_POLICY=passive

# What the black-box tests keep short, in full; the fault walk has a step of its own.
long_tests() {
    names=
    for test in $(grep -l ENGRAM_TEST_LONG tests/blackbox/test_*.py); do
        module=$(basename "$test" .py)
        [ "$module" = test_faults ] || names="$names -k ${module#test_}."
    done
    # shellcheck disable=SC2086
    ENGRAM_TEST_LONG=1 "$python" tests/blackbox/run.py $names
}

step kills "$python" tests/soak/kills.py 200
step differential "$python" tests/soak/differential.py 1800
step long long_tests
# Every call that can fail, one after the other, of every command.
step faults env ENGRAM_TEST_LONG=1 "$python" tests/blackbox/run.py -k faults -v
step hostile "$python" scripts/hostile.py --count 10000
step fuzz scripts/fuzz.sh all 600
# What make check does in short.
step check env STEP_SECONDS=14400 scripts/check.sh asan-all neon-all kernels-gcc-O3 kernels-gcc-O0
step slurm tests/slurm/run.sh

tell_total
