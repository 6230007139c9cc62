#!/bin/sh
# Where there is no scheduler: runs a job in slices of time until it is done. Each slice ends with
# SIGTERM, a checkpoint and exit code 75, and the next one continues.
#
#   loop.sh SECONDS [OPTION...] INPUT.h5 OUTPUT.h5
#
# Environment:
#   ENGRAM_BATCH   the command [engram-batch]
#   PAUSE          seconds between slices, for others who use the machine [0]
#
# Within another scheduler's time limit run one slice a job: timeout -s TERM ... alone.
set -u

case ${1:-} in
'' | *[!0-9]* | 0) set -- ;;
esac
if [ $# -lt 3 ]; then
    echo "usage: loop.sh SECONDS [OPTION...] INPUT.h5 OUTPUT.h5" >&2
    exit 64
fi
slice=$1
shift

# A signal to this script is passed on and ends the loop; the checkpoint stays. In the background
# the command does not see Ctrl-C itself.
stop=
interrupted=
child=
trap 'stop=1 interrupted=1; [ -z "$child" ] || kill -TERM "$child"' INT TERM HUP

while :; do
    # --preserve-status: the command's 75 instead of 124. --kill-after: when a file system hangs.
    timeout --preserve-status --signal=TERM --kill-after=120 "$slice" \
        "${ENGRAM_BATCH:-engram-batch}" "$@" &
    child=$!
    while :; do
        interrupted=
        code=0
        wait "$child" || code=$?
        [ -n "$interrupted" ] || break # that was the command's exit code, not a signal's
    done
    child=
    [ "$code" -eq 75 ] || exit "$code"
    [ -z "$stop" ] || exit 75
    sleep "${PAUSE:-0}"
done
