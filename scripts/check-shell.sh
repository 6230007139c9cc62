#!/bin/sh
# No shell script gives shellcheck anything to say.
set -eu
cd "$(dirname "$0")/.."

command -v shellcheck >/dev/null 2>&1 || {
    echo "skipped: no shellcheck"
    exit 0
}
# Not the cases of tests/cli: run.sh gives them variables. SC1091, SC2013: files that are sourced are
# checked by themselves; names of files here have no blanks.
# shellcheck disable=SC2046 # a list of names
shellcheck --exclude=SC1091,SC2013 .ci/run $(find scripts tests -name '*.sh' ! -path '*/cases/*' | sort)
echo "every shell script is clean"
