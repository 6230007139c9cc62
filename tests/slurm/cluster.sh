# shellcheck shell=sh
# A Slurm cluster of this one machine, for run.sh: munged, slurmctld and slurmd with their own key,
# ports, folders and configuration below $work/cluster. What the machine itself runs is not touched.
# shellcheck disable=SC2154 # work, PYTHON: run.sh's

# Sets `missing` to what this test cannot do without.
cluster_missing() {
    missing=
    # slurmd starts steps as any user, so it wants to be root.
    [ "$(id -u)" -eq 0 ] || missing="root"
    for program in munged slurmctld slurmd sbatch srun scontrol squeue scancel; do
        command -v "$program" >/dev/null 2>&1 || {
            missing="${missing:+$missing, and }Slurm (apt-get install munge slurmctld slurmd slurm-client)"
            return 0
        }
    done
}

# Two ports that are free now.
free_ports() {
    "$PYTHON" -c '
import socket
ports = [socket.create_server(("127.0.0.1", 0)) for _ in range(2)]
print(*(port.getsockname()[1] for port in ports))'
}

cluster_start() {
    cluster=$work/cluster
    mkdir -p "$cluster/munge" "$cluster/state" "$cluster/spool"
    head -c 1024 /dev/urandom >"$cluster/munge/key"
    chmod 600 "$cluster/munge/key"
    read -r port_ctld port_slurmd <<P
$(free_ports)
P
    host=$(hostname -s)
    # cred_expire is also how long a requeued job waits: two minutes by default, and a value of 5 or
    # less is ignored. config_overrides: slurmd does not count the CPUs.
    cat >"$cluster/slurm.conf" <<C
ClusterName=engram-test
SlurmctldHost=$host(127.0.0.1)
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
CredType=cred/munge
AuthInfo=socket=$cluster/munge/socket,cred_expire=6
SlurmctldPort=$port_ctld
SlurmdPort=$port_slurmd
StateSaveLocation=$cluster/state
SlurmdSpoolDir=$cluster/spool
SlurmctldPidFile=$cluster/slurmctld.pid
SlurmdPidFile=$cluster/slurmd.pid
SlurmctldLogFile=$cluster/slurmctld.log
SlurmdLogFile=$cluster/slurmd.log
MailProg=/bin/true
MpiDefault=none
SwitchType=switch/none
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/none
JobCompType=jobcomp/none
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU
SchedulerParameters=sched_interval=2,bf_interval=2,batch_sched_delay=0
JobRequeue=0
KillWait=20
OverTimeLimit=0
MinJobAge=3600
ReturnToService=2
PropagateResourceLimits=NONE
SlurmdParameters=config_overrides
NodeName=$host NodeAddr=127.0.0.1 CPUs=16 RealMemory=4000 State=UNKNOWN
PartitionName=test Nodes=ALL Default=YES MaxTime=INFINITE State=UP
C
    for name in $(env | sed -n 's/^\(\(SLURM\|SRUN\|SBATCH\|SCANCEL\|SQUEUE\)_[A-Za-z0-9_]*\)=.*/\1/p'); do
        unset "$name"
    done
    SLURM_CONF=$cluster/slurm.conf
    export SLURM_CONF

    # --force: the folder lies in /tmp, where everybody may write.
    munged --force --foreground --key-file="$cluster/munge/key" --socket="$cluster/munge/socket" \
        --pid-file="$cluster/munge/pid" --log-file="$cluster/munge/log" \
        --seed-file="$cluster/munge/seed" --num-threads=2 >"$cluster/munge/out" 2>&1 &
    munged_pid=$!
    wait_for "munged" 20 test -S "$cluster/munge/socket"
    slurmctld -D >"$cluster/slurmctld.out" 2>&1 &
    slurmctld_pid=$!
    slurmd -D >"$cluster/slurmd.out" 2>&1 &
    slurmd_pid=$!
    wait_for "the node" 60 node_is_idle
}

node_is_idle() {
    [ "$(sinfo --noheader --format=%T 2>/dev/null)" = idle ]
}

no_jobs() {
    [ -z "$(squeue --noheader 2>/dev/null)" ]
}

# Whatever state it is in. Daemons are ended by their numbers.
cluster_stop() {
    if [ -n "${slurmd_pid:-}" ]; then
        # Should a cancelled job requeue itself, it does not start again, and is cancelled again.
        scontrol update PartitionName=test State=DOWN >/dev/null 2>&1 || :
        tries=0
        until no_jobs || [ "$tries" -ge 60 ]; do
            scancel --user=root >/dev/null 2>&1 || :
            [ "$tries" -lt 20 ] || scancel --user=root --full --signal=KILL >/dev/null 2>&1 || :
            sleep 1
            tries=$((tries + 1))
        done
    fi
    for pid in "${slurmd_pid:-}" "${slurmctld_pid:-}" "${munged_pid:-}"; do
        if [ -n "$pid" ]; then
            kill "$pid" 2>/dev/null || :
            wait "$pid" 2>/dev/null || :
        fi
    done
}
