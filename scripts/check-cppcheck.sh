#!/bin/sh
# cppcheck over the sources. Off, with the reasons:
#   ctuuninitvar                 does not see that memset through a pointer fills a structure
#   uninitvar in src/bench       arrays that a loop fills, sorted by a function
#   shiftNegativeLHS in the table of bits   a constant whose shifted bits are masked; every compiler
#                                we have heard of shifts arithmetically, and a wrong table would fail
#                                every test of bits
set -eu
cd "$(dirname "$0")/.."

command -v cppcheck >/dev/null 2>&1 || {
    echo "skipped: no cppcheck"
    exit 0
}
cppcheck --std=c11 --enable=warning,portability,performance --inline-suppr --quiet -j2 \
    -Iinclude -Isrc --suppress=missingIncludeSystem --suppress=ctuuninitvar \
    --suppress='uninitvar:src/bench/*' --suppress=shiftNegativeLHS:src/kernels/bit_table.h \
    --template='{file}:{line}: {severity} {id}: {message}' --error-exitcode=1 src
echo "nothing found by $(cppcheck --version)"
