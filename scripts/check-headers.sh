#!/bin/sh
# Every public header compiles alone, as C11 and as C++17, with the compilers there are.
set -eu
cd "$(dirname "$0")/.."

warnings='-Wall -Wextra -Wpedantic -Wconversion -Wsign-conversion -Wshadow -Wundef -Werror'
count=0
for header in include/engram/*.h; do
    name=engram/$(basename "$header")
    for compiler in gcc clang; do
        command -v "$compiler" >/dev/null 2>&1 || continue
        # A second include shows that the guard works.
        # shellcheck disable=SC2086
        printf '#include <%s>\n#include <%s>\nextern int nothing;\n' "$name" "$name" |
            "$compiler" -std=c11 $warnings -Wstrict-prototypes -Wmissing-prototypes -Iinclude \
                -fsyntax-only -x c -
        count=$((count + 1))
    done
    for compiler in g++ clang++; do
        command -v "$compiler" >/dev/null 2>&1 || continue
        # shellcheck disable=SC2086
        printf '#include <%s>\n#include <%s>\nextern int nothing;\n' "$name" "$name" |
            "$compiler" -std=c++17 $warnings -Iinclude -fsyntax-only -x c++ -
        count=$((count + 1))
    done
done
[ "$count" -gt 0 ]
echo "$count compilations"
