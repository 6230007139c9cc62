#!/bin/sh
# Measures engram against the machine's peak and against its peers (FAISS, scikit-learn, a tuned
# BLAS); `make bench` builds and calls this. `scripts/bench.sh --help` lists the options.
#
# The peers come from the Python package index, into build/venv; with NO_INSTALL=1, or where that
# fails, those that the system's own Python has are used, and the others are reported as missing.
set -eu
cd "$(dirname "$0")/.."

export BUILD="${BUILD:-build}"
# Always: a library of another commit would be measured, or not even fit.
${MAKE:-make} --no-print-directory bench-library >&2
venv=build/venv
packages='faiss-cpu scikit-learn numpy scipy h5py threadpoolctl'

make_venv() {
    base=$(scripts/find-python.sh 2>/dev/null || command -v python3) || return 1
    echo "installing into $venv: $packages" >&2
    rm -rf "$venv"
    mkdir -p "$(dirname "$venv")"
    # shellcheck disable=SC2086 # a list of words
    if "$base" -m venv "$venv" >"$venv.log" 2>&1 &&
        "$venv/bin/python" -m pip install --quiet $packages >>"$venv.log" 2>&1; then
        : >"$venv/complete"
        rm -f "$venv.log"
    else
        echo "no peers from the package index: $(tail -n 1 "$venv.log")" >&2
        rm -rf "$venv"
        return 1
    fi
}

if [ ! -e "$venv/complete" ]; then
    case ${NO_INSTALL:-0} in
    0 | '') make_venv || true ;;
    esac
fi
if [ -e "$venv/complete" ]; then
    python=$venv/bin/python
elif ! python=$(scripts/find-python.sh); then
    echo "measuring without peers" >&2
    for part in arena kernels search; do
        "$BUILD/engram-bench" "$part"
    done
    exit 0
fi

exec "$python" scripts/bench.py "$@"
