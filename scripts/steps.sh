# shellcheck shell=sh
# Read by check.sh and soak.sh: steps, and what came of them. Before: $root, a folder for logs, and
# $only, names of steps with a space on each side.
: "${only?}"
mkdir -p "${root?}"
passed=0
failed=0

# $1: name, others: command. (A function that is run here runs without the effect of `set -e`.)
step() {
    name=$1
    shift
    case $only in "  " | *" $name "*) ;; *) return 0 ;; esac
    log=$root/$name.log
    start=$(date +%s)
    code=0
    "$@" >"$log" 2>&1 </dev/null || code=$?
    seconds=$(($(date +%s) - start))
    counts=$(tail -n 1 "$log" | sed -n 's/^\([0-9][0-9]*\) passed, \([0-9][0-9]*\) failed$/\1 \2/p')
    ok=1
    bad=0
    [ -z "$counts" ] || ok=${counts% *} bad=${counts#* }
    if [ "$code" -ne 0 ]; then
        [ -n "$counts" ] || ok=0
        [ "$bad" -ne 0 ] || bad=1
    fi
    passed=$((passed + ok))
    failed=$((failed + bad))
    if [ "$bad" -ne 0 ]; then
        echo "FAILED $name (${seconds} s):"
        tail -n 100 "$log" | sed 's/^/    /'
    else
        echo "ok     $name (${seconds} s): $(tail -n 1 "$log")"
        grep -E '^skipped|warning: [0-9]+ lines' "$log" | sed 's/^/       /' || true
    fi
}

# The last line.
tell_total() {
    echo "$passed passed, $failed failed"
    [ "$failed" -eq 0 ] && [ "$passed" -gt 0 ]
}
