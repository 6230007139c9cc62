#!/bin/sh
# Runs the benchmarks; arguments (--json, --threads N) go to each of them.
set -eu
cd "$(dirname "$0")/.."

bench=${BUILD:-build}/engram-bench
for part in arena search; do
    "$bench" "$part" "$@"
done
