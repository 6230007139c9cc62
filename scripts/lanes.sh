# shellcheck shell=bash
# Read by scripts that run many commands: some of them at a time, each with a log, a limit on its time
# and a process group of its own, so that it can be ended with all that it started. Results are told
# in the order in which the commands were given. Before: $lanes, how many at a time, and $logs, a
# folder. The reader has two functions:
#   lane_finished NAME CODE SECONDS CPU   a command is done; CPU: its processor time, in seconds
#   lane_stopped                          a signal ended the rest, all that is done was told
: "${lanes?}" "${logs?}"
mkdir -p "$logs"

declare -A lane_pid=() lane_began=() lane_limit=() lane_code=() lane_seconds=()
lane_order=()
lane_told=0
lane_pipe=$(mktemp -u "$logs/.done.XXXXXX")
mkfifo "$lane_pipe"
exec {lane_fd}<>"$lane_pipe"
rm "$lane_pipe"

# In the background. $1: name, others: command. (A function runs without the effect of `set -e`.)
lane_run() {
    local name=$1 code=0 TIMEFORMAT='%U %S'
    shift
    { time "$@" >"$logs/$name.log" 2>&1 </dev/null {lane_fd}>&-; } 2>"$logs/$name.time" || code=$?
    echo "$code" >"$logs/$name.code"
    echo >&"$lane_fd"
}

# Ends a process group: politely, so that temporary files go, then for good. $1: its leader
lane_kill() {
    kill -TERM -- "-$1" 2>/dev/null || return 0
    for _ in {1..50}; do
        kill -0 -- "-$1" 2>/dev/null || return 0
        sleep 0.1
    done
    kill -KILL -- "-$1" 2>/dev/null || true
}

lane_done() { # $1: name, $2: code
    lane_code[$1]=$2
    lane_seconds[$1]=$((SECONDS - lane_began[$1]))
    unset "lane_pid[$1]"
}

# Waits for news, for a second at most, and ends what has had its time.
lane_look() {
    local name
    # Only to wake up: what comes when the second is over is lost.
    read -r -t 1 -u "$lane_fd" _ || true
    for name in "${!lane_pid[@]}"; do
        if [ -s "$logs/$name.code" ]; then
            lane_done "$name" "$(<"$logs/$name.code")"
        elif ! kill -0 "${lane_pid[$name]}" 2>/dev/null; then
            [ -s "$logs/$name.code" ] || lane_done "$name" 137
        elif [ $((SECONDS - lane_began[$name])) -ge "${lane_limit[$name]}" ]; then
            lane_kill "${lane_pid[$name]}"
            echo "ended: it took more than ${lane_limit[$name]} s" >>"$logs/$name.log"
            lane_done "$name" 124
        fi
    done
    [ $lane_signal -eq 0 ] || lane_interrupted
    while [ $lane_told -lt ${#lane_order[@]} ] && [ -n "${lane_code[${lane_order[$lane_told]}]:-}" ]; do
        lane_tell "${lane_order[$lane_told]}"
        lane_told=$((lane_told + 1))
    done
}

lane_tell() { # $1: name
    local cpu
    cpu=$(awk '{ cpu = $1 + $2 } END { printf "%.1f", cpu }' "$logs/$1.time" 2>/dev/null) || cpu=0
    # Without the effect of `set -e`: a signal may end a command in it.
    lane_finished "$1" "${lane_code[$1]}" "${lane_seconds[$1]}" "$cpu" || true
}

# $1: name, which is also that of the log, $2: seconds it may take, others: a command or function
lane_start() {
    local name=$1 limit=$2
    shift 2
    while [ ${#lane_pid[@]} -ge "$lanes" ]; do
        lane_look
    done
    rm -f "$logs/$name.code" "$logs/$name.time"
    set -m # a process group for what is started in the background
    lane_run "$name" "$@" &
    set +m
    lane_pid[$name]=$!
    disown # nothing to be said when it is ended
    lane_began[$name]=$SECONDS
    lane_limit[$name]=$limit
    lane_order+=("$name")
}

# Waits for a command that others need; one that was not given is no reason to wait.
lane_await() { # $1: name
    while [ -n "${lane_pid[$1]:-}" ]; do
        lane_look
    done
}

lane_await_all() {
    while [ $lane_told -lt ${#lane_order[@]} ]; do
        lane_look
    done
}

# Ends everything, tells what came of it, and exits.
lane_interrupted() {
    local name
    trap '' INT TERM HUP
    for name in "${!lane_pid[@]}"; do
        lane_kill "${lane_pid[$name]}"
        lane_done "$name" $((128 + lane_signal))
    done
    while [ $lane_told -lt ${#lane_order[@]} ]; do
        lane_tell "${lane_order[$lane_told]}"
        lane_told=$((lane_told + 1))
    done
    lane_stopped
    exit $((128 + lane_signal))
}
# Only noted here: what a handler does while `read` waits is cut off when its time is over.
lane_signal=0
trap 'lane_signal=1' HUP
trap 'lane_signal=2' INT
trap 'lane_signal=15' TERM
