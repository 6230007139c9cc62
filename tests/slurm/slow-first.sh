#!/bin/sh
# The command of the jobs of run.sh. With SLOW=1 a job's first run takes minutes, on any machine, so that
# it is still at work when it is interrupted; where Slurm starts it again it is fast. Threads, kernels
# and filter may change between runs: the bytes do not. Of an array only the third element is slow.
if [ "${SLOW:-0}" = 1 ] && [ "${SLURM_RESTART_COUNT:-0}" -eq 0 ] && [ "$1" != merge ] &&
    [ "${SLURM_ARRAY_TASK_ID:-3}" -eq 3 ]; then
    set -- --threads=1 --isa=portable --filter=canonical "$@"
fi
exec "$ENGRAM_REAL" "$@"
