#!/bin/sh
# Runs a fuzz target under libFuzzer: scripts/fuzz.sh TARGET SECONDS [libFuzzer's options...]
# or each of them for so many seconds:  scripts/fuzz.sh all SECONDS
#
# Targets are tests/fuzz/fuzz_TARGET.c. Seeds are made by tests/fuzz/make-seeds.py; what a run found
# interesting stays in build/fuzz/corpus/TARGET, where the next one starts. A run goes on after a
# finding; findings are files in build/fuzz/findings/TARGET, and the exit code 1. Once mended, each
# becomes a small file in tests/fuzz/regressions/TARGET, which `make test` replays.
#
# Crashes and loops inside libhdf5, which is not ours and breaks on some files, are counted only
# (tests/fuzz/isolate.h). Its leaks are not looked for either.
set -eu
cd "$(dirname "$0")/.."

[ $# -ge 2 ] || {
    sed -n '2,3s/^# //p' "$0" >&2
    exit 64
}
target=$1
seconds=$2
shift 2

clang=${FUZZ_CC:-clang}
echo 'int LLVMFuzzerTestOneInput(const char *d, long n) { (void)d; return n < 0; }' |
    "$clang" -x c - -fsanitize=fuzzer,address -o /dev/null 2>/dev/null || {
    echo "skipped: no clang with libFuzzer"
    exit 0
}

root=build/fuzz
seeds=$root/seeds
mkdir -p "$root"
make --no-print-directory -j"$(nproc 2>/dev/null || echo 2)" CC="$clang" CFLAGS='-O1 -g -Wno-pass-failed' \
    SANITIZE=fuzzer-no-link,address,undefined,float-cast-overflow,implicit-conversion \
    BUILD=$root/build \
    $root/build/engram-batch fuzz-targets >"$root/build.log" 2>&1 || {
    cat "$root/build.log"
    exit 1
}
export OMP_NUM_THREADS=1 OMP_WAIT_POLICY=passive
# Memory that cannot be had is an error that the code handles. Names of frames cost a second each.
export ASAN_OPTIONS="allocator_may_return_null=1:max_allocation_size_mb=1000:detect_leaks=0:symbolize=0"
export UBSAN_OPTIONS="halt_on_error=1:print_stacktrace=1"
[ "$(find tests/fuzz/make-seeds.py -newer $seeds 2>/dev/null || echo new)" = "" ] || {
    rm -rf $seeds $seeds.new
    "$(scripts/find-python.sh)" tests/fuzz/make-seeds.py $seeds.new $root/build/engram-batch
    mv $seeds.new $seeds
}

FUZZ_FOLDER=$(mktemp -d "$([ -w /dev/shm ] && echo /dev/shm || echo "${TMPDIR:-/tmp}")/engram-fuzz.XXXXXX")
export FUZZ_FOLDER
trap 'rm -rf "$FUZZ_FOLDER"' EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

findings=0
# $1: target, others: options
run() {
    name=$1
    shift
    corpus=${FUZZ_CORPUS:-$root/corpus}/$name
    found=$root/findings/$name
    log=$root/$name.log
    case $name in layout | reader | column) folder=h5 ;; *) folder=$name ;; esac
    longest=32768
    [ "$name" != merge ] || longest=131072 # two files
    mkdir -p "$corpus" "$found"
    before=$(find "$found" -type f | wc -l)
    set -- "$@" "$corpus" "$seeds/$folder"
    [ ! -d "tests/fuzz/regressions/$name" ] || set -- "$@" "tests/fuzz/regressions/$name"
    [ ! -e "tests/fuzz/$name.dict" ] || set -- "-dict=tests/fuzz/$name.dict" "$@"
    : >"$log"
    start=$(date +%s)
    end=$((start + seconds))
    while left=$((end - $(date +%s))) && [ $left -gt 0 ]; do
        "$root/build/fuzz/$name" -max_total_time=$left -timeout=100 -report_slow_units=1000 -rss_limit_mb=0 \
            -malloc_limit_mb=0 -max_len=$longest -print_final_stats=1 -artifact_prefix="$found/" \
            "$@" >>"$log" 2>&1 && break
        [ "$(find "$found" -type f | wc -l)" -lt $((before + 20)) ] || break
    done
    new=$(($(find "$found" -type f | wc -l) - before))
    findings=$((findings + new))
    awk -v name="$name" -v seconds=$(($(date +%s) - start)) -v new=$new '
        /^stat::number_of_executed_units:/ { runs += $2 }
        / cov: / { for (i = 1; i < NF; i++) if ($i == "cov:") cov = $(i + 1) }
        / corp: / { for (i = 1; i < NF; i++) if ($i == "corp:") corpus = $(i + 1) }
        /^crashes or loops inside libhdf5:/ { hdf5 += $NF }
        END {
            printf "%s: %d s, %d executions, %d edges, corpus %s, %d findings", name, seconds, runs,
                cov, corpus, new
            if (hdf5 > 0) {
                printf ", %d ends inside libhdf5", hdf5
            }
            print ""
        }' "$log"
}

if [ "$target" = all ]; then
    for source in tests/fuzz/fuzz_*.c; do
        name=${source#tests/fuzz/fuzz_}
        run "${name%.c}" "$@"
    done
else
    run "$target" "$@"
fi
[ $findings -eq 0 ] || {
    echo "findings: see build/fuzz/findings"
    exit 1
}
