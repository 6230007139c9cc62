# shellcheck shell=bash
# Read by check.sh and soak.sh: steps, and what came of them. Before: $root, a folder for logs, $only,
# names of steps with a space on each side, $lanes, how many steps at a time, and $limit, the seconds
# that each may take.
: "${only?}" "${limit?}"
logs=${root?}
# shellcheck source=scripts/lanes.sh
. scripts/lanes.sh
passed=0
failed=0

# $1: name, others: command
step() {
    case $only in "  " | *" $1 "*) ;; *) return 0 ;; esac
    lane_start "$1" "$limit" "${@:2}"
}

lane_finished() { # $1: name, $2: exit code, $3: seconds, $4: of processor time
    local log=$root/$1.log counts ok=1 bad=0 times="$3 s, processor time $4 s"
    counts=$(tail -n 1 "$log" | sed -n 's/^\([0-9][0-9]*\) passed, \([0-9][0-9]*\) failed$/\1 \2/p')
    [ -z "$counts" ] || ok=${counts% *} bad=${counts#* }
    if [ "$2" -ne 0 ]; then
        [ -n "$counts" ] || ok=0
        [ "$bad" -ne 0 ] || bad=1
    fi
    passed=$((passed + ok))
    failed=$((failed + bad))
    if [ "$bad" -ne 0 ]; then
        echo "FAILED $1 ($times), exit code $2:"
        tail -n 100 "$log" | sed 's/^/    /'
    else
        echo "ok     $1 ($times): $(tail -n 1 "$log")"
        grep -E '^skipped|warning: [0-9]+ lines' "$log" | sed 's/^/       /' || true
    fi
}

lane_stopped() {
    [ "$failed" -ne 0 ] || failed=1
    echo "interrupted"
    echo "$passed passed, $failed failed"
}

# The last line.
tell_total() {
    lane_await_all
    echo "$passed passed, $failed failed"
    [ "$failed" -eq 0 ] && [ "$passed" -gt 0 ]
}
