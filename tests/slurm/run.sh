#!/bin/sh
# The scripts of scripts/slurm on a real Slurm, which this starts and stops: jobs that meet their time
# limit, arrays, cancelled jobs. Each has to end with the bytes of a run that nobody disturbed.
#
#   tests/slurm/run.sh [CASE...]      array cancel again limit late mpi mpirun
#
# Needs root and Slurm's daemons; skipped, with what is missing, otherwise. Takes three minutes, mostly of
# waiting for Slurm. The command is $ENGRAM_BATCH, default build/engram-batch. KEEP=1 keeps the folder.
set -eu
here=$(CDPATH='' cd -- "$(dirname -- "$0")" && pwd)
root=$(CDPATH='' cd -- "$here/../.." && pwd)
scripts=$root/scripts/slurm
. "$here/cluster.sh"

cluster_missing
[ -z "$missing" ] || {
    echo "skipped: tests/slurm needs $missing"
    exit 0
}
ENGRAM_BATCH=${ENGRAM_BATCH:-$root/build/engram-batch}
case $ENGRAM_BATCH in /*) ;; *) ENGRAM_BATCH=$PWD/$ENGRAM_BATCH ;; esac
[ -x "$ENGRAM_BATCH" ] || {
    echo "$ENGRAM_BATCH does not exist; run make first" >&2
    exit 2
}
PYTHON=$("$root/scripts/find-python.sh")
ENGRAM_REAL=$ENGRAM_BATCH
ENGRAM_BATCH=$here/slow-first.sh
export ENGRAM_BATCH ENGRAM_REAL
export OMP_WAIT_POLICY=passive ENGRAM_CHECKPOINT_SECONDS=1
unset SLOW OMP_NUM_THREADS ENGRAM_ISA STAGE SHARDS SCRATCH MAX_RESTARTS SBATCH_ARGS

work=$(mktemp -d "${TMPDIR:-/tmp}/engram-slurm.XXXXXX")
chmod 755 "$work" # munged's socket is for everybody

finish() {
    cluster_stop
    if [ "${KEEP:-0}" = 1 ]; then echo "kept: $work"; else rm -rf "$work"; fi
}
trap finish EXIT
trap 'exit 130' INT
trap 'exit 143' TERM
cd "$work"

# ---- waiting

# $1: for what, $2: seconds, others: command that succeeds then. Nothing is asserted about time: this
# is when a machine has failed, however busy.
wait_for() {
    what=$1
    tries=$2
    shift 2
    until "$@"; do
        tries=$((tries - 1))
        [ "$tries" -gt 0 ] || {
            echo "no $what after a long time" >&2
            return 1
        }
        sleep 1
    done
}

# One word of what Slurm says about a job. $1: job, $2: JobState, Restarts, ...
of_job() {
    scontrol --oneliner show job "$1" | tr ' ' '\n' | sed -n "s/^$2=//p"
}

is_over() {
    case $(of_job "$1" JobState) in
    COMPLETED | FAILED | CANCELLED | TIMEOUT | NODE_FAIL | OUT_OF_MEMORY | DEADLINE) ;;
    *) return 1 ;;
    esac
}

is_running() {
    [ "$(of_job "$1" JobState)" = RUNNING ]
}

# Some of the job's work is on disk, and not only the head of its checkpoint. $1: its output
has_checkpoint() {
    [ -e "$1.checkpoint" ] && [ "$(wc -c <"$1.checkpoint")" -gt 4096 ]
}

# That, or the job is over, and its case fails at once. $1: job, $2: its output
has_begun() {
    has_checkpoint "$2" || is_over "$1"
}

wait_for_work() { # $1: job, $2: its output
    wait_for "checkpoint $2.checkpoint" 300 has_begun "$1" "$2" || :
}

# ---- judging

passed=0
failed=0

fail() { # $1: what is wrong, $2: logs to show
    failed=$((failed + 1))
    echo "FAILED $1"
    for log in $2; do
        echo "    --- $log"
        tail -n 40 "$log" | sed 's/^/    /'
    done
}

# $1: case, others: a command that succeeds when all is well
expect() {
    label=$1
    shift
    if "$@"; then passed=$((passed + 1)); else fail "$label: $*" "${log:-}"; fi
}

ended() { # $1: job, $2: JobState
    state=$(of_job "$1" JobState)
    [ "$state" = "$2" ] || {
        echo "job $1 is $state, not $2"
        return 1
    }
}

restarted() { # $1: job, $2: at least so often
    [ "$(of_job "$1" Restarts)" -ge "$2" ]
}

never_restarted() {
    [ "$(of_job "$1" Restarts)" -eq 0 ]
}

# The job's last run ended well, with the bytes of a run that nobody disturbed.
finished() { # $1: case, $2: job, $3: output
    expect "$1" ended "$2" COMPLETED
    expect "$1" cmp "$3" expected.h5
}

# ---- jobs

submit() { # $1: output, others: options of sbatch
    out=$1
    shift
    sbatch --parsable --cpus-per-task=1 --mem=1G --output="$out.log" "$@" \
        "$scripts/job.sh" in.h5 "$out.h5"
}

# Three shards and the job that joins them: sets $array_job and $merge_job. $1: output,
# $2: 1 for a slow first run
submit_shards() {
    submitted=$(SLOW=$2 SBATCH_ARGS='--cpus-per-task=1 --mem=1G --time=30' \
        "$scripts/submit-shards.sh" 3 in.h5 "$1")
    array_job=${submitted#shards: job }
    array_job=${array_job%%,*}
    merge_job=${submitted##* }
}

# ---- cases, of three steps each

# The time limit with the warning that job.sh asks for. Slurm looks every 30 s, and warns half a
# minute too early rather than too late: 20 to 50 s after the start, here.
start_limit() {
    limit_job=$(SLOW=1 submit limit --time=1 --signal=USR1@10)
}
disturb_limit() { :; }
judge_limit() {
    log=limit.log
    wait_for "end of the job with a time limit" 900 is_over "$limit_job" || :
    finished limit "$limit_job" limit.h5
    expect limit restarted "$limit_job" 1
    expect limit test ! -e limit.h5.checkpoint
}

# Without a warning (SIGCONT is none): SIGTERM to everything at the time limit itself.
start_late() {
    late_job=$(SLOW=1 submit late --time=1 --signal=CONT@10)
}
disturb_late() { :; }
judge_late() {
    log=late.log
    wait_for "end of the job that was not warned" 900 is_over "$late_job" || :
    finished late "$late_job" late.h5
    expect late restarted "$late_job" 1
}

# Three shards and the job that joins them. The last element, which has the number of the whole array,
# is told to stop as preemption would, and must requeue itself alone.
start_array() {
    submit_shards array.h5 1
    shards_job=$array_job
    shards_merge=$merge_job
}
disturb_array() {
    wait_for_work "${shards_job}_3" array.shard-3-of-3.h5
    scancel --signal=USR1 "${shards_job}_3" || :
}
judge_array() {
    log="engram-${shards_job}_1.out engram-${shards_job}_2.out engram-${shards_job}_3.out engram-merge-$shards_merge.out"
    wait_for "end of the merge" 600 is_over "$shards_merge" || :
    expect array ended "${shards_job}_3" COMPLETED
    expect array restarted "${shards_job}_3" 1
    expect array never_restarted "${shards_job}_1"
    expect array never_restarted "${shards_job}_2"
    finished array "$shards_merge" array.h5
}

# A cancelled job ends, keeps its work, and does not come back by itself. The next one continues,
# from a copy of the input.
start_cancel() {
    cancel_job=$(SLOW=1 submit cancel --time=30)
}
disturb_cancel() {
    log=cancel.log
    wait_for_work "$cancel_job" cancel.h5
    scancel "$cancel_job" || :
    wait_for "end of the cancelled job" 120 is_over "$cancel_job" || :
    sleep 15 # longer than a requeued job waits
    expect cancel ended "$cancel_job" CANCELLED
    expect cancel test ! -e cancel.h5
    expect cancel test -s cancel.h5.checkpoint
    second_job=$(STAGE=1 SCRATCH=$work submit cancel --time=30)
}
judge_cancel() {
    log=cancel.log
    wait_for "end of the second job" 600 is_over "$second_job" || :
    finished cancel "$second_job" cancel.h5
    expect cancel grep -q "earlier  runs did" cancel.log
    expect cancel test -z "$(find "$work" -maxdepth 1 -name 'engram.*')"
}

# An element of an array that ends for good takes the merge with it, instead of leaving it in the queue
# for ever. Submitted again, elements that are finished say so.
start_again() {
    submit_shards again.h5 1
    again_job=$array_job
    hopeless_job=$merge_job
}
disturb_again() {
    log=
    wait_for "running third element" 300 is_running "${again_job}_3" || :
    scancel "${again_job}_3" || :
    wait_for "end of a merge without hope" 300 is_over "$hopeless_job" || :
    expect again ended "$hopeless_job" CANCELLED
    wait_for "end of the second element" 300 is_over "${again_job}_2" || :
    submit_shards again.h5 0
    again_job=$array_job
    again_merge=$merge_job
}
judge_again() {
    log="engram-${again_job}_1.out engram-${again_job}_2.out engram-${again_job}_3.out engram-merge-$again_merge.out"
    wait_for "end of the second merge" 600 is_over "$again_merge" || :
    finished again "$again_merge" again.h5
    expect again grep -q "is up to date" "engram-${again_job}_2.out"
}

# mpi.sh, which launches srun or mpirun in the background and passes the warning on. The command is
# engram-batch-mpi where it is built, with two ranks; otherwise a world of one, which is all the same
# to the script.
submit_mpi() { # $1: output
    ranks=1
    if [ -x "$ENGRAM_REAL-mpi" ]; then
        ENGRAM_REAL=$ENGRAM_REAL-mpi # for this job only: this is a subshell
        ranks=2
    fi
    SLOW=1 sbatch --parsable --nodes=1 --ntasks-per-node="$ranks" --cpus-per-task=1 --mem=1G --time=30 \
        --output="$1.log" "$scripts/mpi.sh" in.h5 "$1.h5"
}
# srun makes one world of the ranks by the protocol that the MPI knows: PMIx where Slurm has it.
start_mpi() {
    type=none
    ! srun --mpi=list 2>&1 | grep -qw pmix || type=pmix
    mpi_job=$(SLURM_MPI_TYPE=$type STAGE=1 SCRATCH=$work submit_mpi mpi)
}
disturb_mpi() {
    wait_for_work "$mpi_job" mpi.h5
    scancel --batch --signal=USR1 "$mpi_job" || :
}
judge_mpi() {
    log=mpi.log
    wait_for "end of the MPI job" 600 is_over "$mpi_job" || :
    finished mpi "$mpi_job" mpi.h5
    expect mpi restarted "$mpi_job" 1
    expect mpi test -z "$(find "$work" -maxdepth 1 -name 'engram-*-in.h5')"
}

start_mpirun() {
    mpirun_job=$(LAUNCH=mpirun OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1 submit_mpi mpirun)
}
disturb_mpirun() {
    wait_for_work "$mpirun_job" mpirun.h5
    scancel --batch --signal=USR1 "$mpirun_job" || :
}
judge_mpirun() {
    log=mpirun.log
    wait_for "end of the job under mpirun" 600 is_over "$mpirun_job" || :
    finished mpirun "$mpirun_job" mpirun.h5
    expect mpirun restarted "$mpirun_job" 1
}

if [ $# -eq 0 ]; then
    set -- array cancel again limit late mpi
    if command -v mpirun >/dev/null 2>&1; then
        set -- "$@" mpirun
    else
        echo "skipped mpirun: there is none"
    fi
fi
"$PYTHON" "$root/scripts/make-synthetic.py" --kind gaussian --rows 100000 --queries 40000 --dim 256 \
    --metric euclidean in.h5
"$ENGRAM_REAL" --quiet in.h5 expected.h5
cluster_start
# All at the same time, as they wait for most of it.
for step in start disturb judge; do
    for case in "$@"; do
        "${step}_$case"
    done
done
echo "$passed passed, $failed failed"
[ "$failed" -eq 0 ] && [ "$passed" -gt 0 ]
