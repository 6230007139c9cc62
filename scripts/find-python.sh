#!/bin/sh
# Prints a Python interpreter that imports h5py and numpy: $PYTHON, python3, or the system's own
# (a virtual environment may hide it). --quick looks whether both are there without importing them.
set -eu

if [ "${1:-}" = --quick ]; then
    probe='import importlib.util as u, sys; sys.exit(not (u.find_spec("h5py") and u.find_spec("numpy")))'
else
    probe='import h5py, numpy'
fi
for python in ${PYTHON:+"$PYTHON"} python3 /usr/bin/python3; do
    if command -v "$python" >/dev/null 2>&1 && "$python" -c "$probe" >/dev/null 2>&1; then
        echo "$python"
        exit 0
    fi
done
echo "no Python with h5py and numpy was found: install them, or set PYTHON" >&2
exit 1
