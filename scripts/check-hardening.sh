#!/bin/sh
# What the linker and the compiler were asked for is in the programs: position-independent, no
# relocation that can be written to after the start, no stack that can be run, guarded stacks,
# checked string functions. BUILD: which build.
set -eu
cd "$(dirname "$0")/.."

BUILD=${BUILD:-build}
command -v readelf >/dev/null 2>&1 || {
    echo "skipped: no readelf"
    exit 0
}
bad=0
facts=0
# $1: what it is, $2: a file, $3: readelf's options, $4: an expression that one line has to match
wants() {
    facts=$((facts + 1))
    # shellcheck disable=SC2086
    readelf -W $3 "$2" 2>/dev/null | grep -Eq "$4" || {
        echo "$2: $1 is missing"
        bad=1
    }
}
for file in "$BUILD"/engram-batch "$BUILD"/engram-bench "$BUILD"/libengram.so.[0-9]*.* \
    "$BUILD"/libengram-h5.so.[0-9]*.*; do
    wants "RELRO" "$file" -l 'GNU_RELRO'
    wants "immediate binding" "$file" -d 'BIND_NOW|Flags:.*NOW'
    wants "a stack that cannot be run" "$file" -l 'GNU_STACK.* RW +0x'
    facts=$((facts + 1))
    if readelf -Wd "$file" | grep -Eq 'TEXTREL|\((RPATH|RUNPATH)\)'; then
        echo "$file: text relocations, or a search path for libraries"
        bad=1
    fi
done
wants "position independence" "$BUILD/engram-batch" -h 'Type: *DYN'
wants "the stack protector" "$BUILD/engram-batch" --dyn-syms '__stack_chk_(fail|guard)'
wants "_FORTIFY_SOURCE" "$BUILD/engram-batch" --dyn-syms '__[a-z]*printf_chk'
case $(uname -m) in
x86_64 | amd64) wants "control flow protection" "$BUILD/obj/cli/main.o" -n 'IBT' ;;
esac
[ $bad -eq 0 ] || exit 1
echo "$facts facts hold"
