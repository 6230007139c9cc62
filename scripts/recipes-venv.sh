#!/bin/sh
# Makes build/recipes, a virtual environment with the libraries that the recipes in README are about,
# from the Python package index; tests/blackbox/test_recipes.py finds it there. Does nothing when it
# is complete. Without the index the recipes that need them are skipped, visibly.
set -eu
cd "$(dirname "$0")/.."

venv=build/recipes
[ ! -e "$venv/complete" ] || exit 0
case ${NO_INSTALL:-0} in
0 | '') ;;
*) exit 0 ;;
esac
base=$(scripts/find-python.sh 2>/dev/null || command -v python3)
rm -rf "$venv"
mkdir -p build
if "$base" -m venv "$venv" >"$venv.log" 2>&1 &&
    "$venv/bin/python" -m pip install --quiet scanpy anndata pandas scipy h5py >>"$venv.log" 2>&1; then
    : >"$venv/complete"
    rm -f "$venv.log"
else
    echo "the recipes' libraries cannot be installed: $(tail -n 1 "$venv.log")" >&2
    rm -rf "$venv"
fi
