#!/bin/sh
# Submits a job cut into N shards, an array, and a job that joins their parts to OUTPUT once all are
# done. Run again, it repeats nothing that is finished.
#
#   submit-shards.sh N [OPTION...] INPUT.h5 OUTPUT.h5
#
# Environment, besides that of job.sh:
#   SBATCH_ARGS    options of sbatch for both, such as "--time=12:00:00 --partition=long"
set -eu

case ${1:-} in
'' | *[!0-9]* | 0*) set -- ;;
esac
if [ $# -lt 3 ]; then
    echo "usage: submit-shards.sh N [OPTION...] INPUT.h5 OUTPUT.h5" >&2
    exit 64
fi
script=$(dirname -- "$0")/job.sh
shards=$1
shift
force=
for output; do # which is the last one, in the end
    [ "$output" != --force ] || force=--force
done

# An element that requeues itself is pending again: the dependency waits for it. One that fails
# leaves the join without hope; it goes, then, instead of waiting for ever.
# shellcheck disable=SC2086 # SBATCH_ARGS is a list
array=$(sbatch --parsable --output=%x-%A_%a.out ${SBATCH_ARGS:-} --array="1-$shards" \
    --export="ALL,SHARDS=$shards" "$script" "$@")
array=${array%%;*} # "number;cluster" where there are several

# The names that --shard makes of OUTPUT: out.shard-1-of-8.h5.
name=${output##*/}
extension=
case $name in ?*.*) extension=.${name##*.} ;; esac
stem=${output%"$extension"}
set --
i=1
while [ "$i" -le "$shards" ]; do
    set -- "$@" "$stem.shard-$i-of-$shards$extension"
    i=$((i + 1))
done
# shellcheck disable=SC2086
merge=$(sbatch --parsable --output=%x-%j.out ${SBATCH_ARGS:-} --job-name=engram-merge \
    --cpus-per-task=1 --dependency="afterok:$array" --kill-on-invalid-dep=yes \
    --export=ALL,STAGE=0 "$script" merge ${force:+"$force"} "$@" "$output")
echo "shards: job $array, merge: job ${merge%%;*}"
