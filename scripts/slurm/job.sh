#!/bin/bash
# One job, or one element of an array of shards, that outlives its time limit. Edit the lines below,
# or give the same options to sbatch, which win:
#
#   sbatch --time=12:00:00 job.sh [OPTION...] INPUT.h5 OUTPUT.h5
#
# Environment:
#   ENGRAM_BATCH   the command [engram-batch]
#   SHARDS         of how many shards this array element is one [none]; see submit-shards.sh
#   STAGE          1: copy INPUT to the node first [0]
#   SCRATCH        where to [$SLURM_TMPDIR, else $TMPDIR, else /tmp]; if that is a tmpfs, --mem
#                  has to hold INPUT, too
#   MAX_RESTARTS   give up after so many [1000]
#
#SBATCH --job-name=engram
#SBATCH --nodes=1
#SBATCH --ntasks=1
#SBATCH --cpus-per-task=16
#SBATCH --mem=32G
#SBATCH --time=04:00:00
#
# SIGUSR1 two minutes before the time is up (or up to a minute earlier, Slurm looks every 30 s), to
# the command and not to this shell, which "B:USR1" would mean. The command saves its checkpoint and
# ends with 75. At the time limit itself there are only KillWait seconds from SIGTERM to SIGKILL.
#SBATCH --signal=USR1@120
#
# --requeue permits to requeue, be it below, after preemption, or when a node fails. By itself it
# does nothing about a time limit. Without append the next run would empty the log.
#SBATCH --requeue
#SBATCH --open-mode=append
set -u

if [ $# -lt 2 ]; then
    echo "usage: sbatch job.sh [OPTION...] INPUT.h5 OUTPUT.h5" >&2
    exit 64
fi

# scancel and the time limit send SIGTERM to the command and to this shell alike, which gets to it
# when srun has returned: the command has saved its checkpoint by then.
terminated=
trap 'terminated=1' TERM

# The number of an array is also that of one of its elements: $SLURM_JOB_ID would requeue them all.
job=$SLURM_JOB_ID
[ -z "${SLURM_ARRAY_JOB_ID:-}" ] || job=${SLURM_ARRAY_JOB_ID}_$SLURM_ARRAY_TASK_ID

# A job is known by the content of its input: a copy, wherever it lies, is the same input.
if [ "${STAGE:-0}" = 1 ]; then
    input=${*: -2:1}
    scratch=$(mktemp -d "${SCRATCH:-${SLURM_TMPDIR:-${TMPDIR:-/tmp}}}/engram.XXXXXX") || exit 73
    trap 'rm -rf "$scratch"' EXIT
    cp -- "$input" "$scratch/" || exit 74
    set -- "${@:1:$#-2}" "$scratch/${input##*/}" "${*: -1}"
fi
[ -z "${SHARDS:-}" ] || set -- "--shard=$SLURM_ARRAY_TASK_ID/$SHARDS" "$@"

# A thread a core, neighbours together. The command takes the number of threads and the memory limit
# from SLURM_CPUS_PER_TASK and SLURM_MEM_PER_NODE; srun does not (since 22.05), so it is told.
export OMP_PLACES=${OMP_PLACES:-cores} OMP_PROC_BIND=${OMP_PROC_BIND:-close}
code=0
srun --cpus-per-task="${SLURM_CPUS_PER_TASK:-1}" --cpu-bind=cores \
    "${ENGRAM_BATCH:-engram-batch}" "$@" || code=$?

[ "$code" -eq 75 ] || exit "$code" # done, or a mistake that another run would repeat

# 75: interrupted, checkpoint saved. A job that was cancelled must stay so: requeued now, it would
# come back. When it is preempted, Slurm itself requeues it.
if [ -n "$terminated" ] && [ "$(squeue --noheader --jobs="$job" --format=%r)" != TimeLimit ]; then
    exit 75
fi
if [ "${SLURM_RESTART_COUNT:-0}" -ge "${MAX_RESTARTS:-1000}" ]; then
    echo "not requeued after $SLURM_RESTART_COUNT restarts" >&2
    exit 75
fi
scontrol requeue "$job"
exit 75 # of no consequence once requeued
