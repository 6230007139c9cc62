#!/bin/bash
# One job over several nodes with engram-batch-mpi. Edit the lines below, or give the same options to
# sbatch, which win:
#
#   sbatch --nodes=8 mpi.sh [OPTION...] INPUT.h5 OUTPUT.h5
#
# Environment, besides STAGE, SCRATCH and MAX_RESTARTS of job.sh:
#   ENGRAM_BATCH   the command [engram-batch-mpi]
#   LAUNCH         what starts the ranks [srun]; such as "mpirun --map-by socket:PE=32". An srun that
#                  starts single ranks instead of a world wants SLURM_MPI_TYPE (srun --mpi=list)
#
# One rank for each socket (or NUMA domain), as many CPUs as that has, all of the node's memory.
#SBATCH --job-name=engram-mpi
#SBATCH --nodes=2
#SBATCH --ntasks-per-node=2
#SBATCH --cpus-per-task=32
#SBATCH --mem=0
#SBATCH --time=04:00:00
#
# "B:" to this shell, which passes it on: mpirun's own ranks are no steps of Slurm, which would not
# find them. Five minutes, as all ranks have to send what they have first.
#SBATCH --signal=B:USR1@300
#SBATCH --requeue
#SBATCH --open-mode=append
set -u

if [ $# -lt 2 ]; then
    echo "usage: sbatch mpi.sh [OPTION...] INPUT.h5 OUTPUT.h5" >&2
    exit 64
fi

copy=
if [ "${STAGE:-0}" = 1 ]; then
    input=${*: -2:1}
    copy=${SCRATCH:-/tmp}/engram-$SLURM_JOB_ID-${input##*/} # the same name on every node
    sbcast --force "$input" "$copy" || exit 74
    set -- "${@:1:$#-2}" "$copy" "${*: -1}"
fi

# When one rank ends with 75, or mpirun gets SIGTERM, Open MPI sends SIGTERM to the other ranks and
# SIGKILL a second later, unless it is told how long a checkpoint may take. It always waits that long,
# twice: not longer than needed. (The names of Open MPI 4 and 5.) srun leaves the others alone here,
# but not for ever.
export OMPI_MCA_odls_base_sigkill_timeout=30 PRTE_MCA_odls_base_sigkill_timeout=30
export OMP_PLACES=${OMP_PLACES:-cores} OMP_PROC_BIND=${OMP_PROC_BIND:-close}
srun="srun --cpus-per-task=${SLURM_CPUS_PER_TASK:-1} --cpu-bind=cores --kill-on-bad-exit=0 --wait=300"

warned=
terminated=
interrupted=
child=
trap 'warned=1 interrupted=1; [ -z "$child" ] || kill -USR1 "$child"' USR1
trap 'terminated=1 interrupted=1' TERM
# In the background: a shell that waits handles signals at once.
# shellcheck disable=SC2086 # lists
${LAUNCH:-$srun} "${ENGRAM_BATCH:-engram-batch-mpi}" "$@" &
child=$!
while :; do
    interrupted=
    code=0
    wait "$child" || code=$?
    [ -n "$interrupted" ] || break # that was the command's exit code, not a signal's
done

# Now: once the job is requeued, or over, there are no more steps.
[ -z "$copy" ] || srun --ntasks="$SLURM_NNODES" --ntasks-per-node=1 rm -f "$copy"

# mpirun has its own idea of an exit code: after the warning anything but 0 means "not finished".
[ "$code" -ne 0 ] || exit 0
[ "$code" -eq 75 ] || [ -n "$warned" ] || exit "$code"
if [ -n "$terminated" ] && [ "$(squeue --noheader --jobs="$SLURM_JOB_ID" --format=%r)" != TimeLimit ]; then
    exit 75 # cancelled, or preempted: see job.sh
fi
if [ "${SLURM_RESTART_COUNT:-0}" -ge "${MAX_RESTARTS:-1000}" ]; then
    echo "not requeued after $SLURM_RESTART_COUNT restarts" >&2
    exit 75
fi
scontrol requeue "$SLURM_JOB_ID"
exit 75
