#!/bin/sh
# make soak: what takes hours and is not part of make check. Output as there: a line for each step, its
# log below when it failed, and a sum. Arguments: names of steps; only these run then.
set -eu
cd "$(dirname "$0")/.."

root=build/soak
only=" $* "
# shellcheck source=scripts/steps.sh
. scripts/steps.sh

# Every call that can fail, one after the other, of every command.
fault_walk() {
    ENGRAM_TEST_LONG=1 "$(scripts/find-python.sh)" tests/blackbox/run.py -k faults -v || return 1
}

step faults fault_walk
step fuzz scripts/fuzz.sh all 600
step slurm tests/slurm/run.sh

tell_total
