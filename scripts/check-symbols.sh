#!/bin/sh
# What the libraries in $BUILD export and import: exported are engram_ functions only, and every
# ENGRAM_API function of the public headers; imported is nothing that prints, exits, sets signal
# handlers or the environment.
set -eu
cd "$(dirname "$0")/.."

BUILD=${BUILD:-build}
bad=0

complain() {
    printf '%s\n' "$@"
    bad=1
}

exported=
for library in "$BUILD"/libengram.so "$BUILD"/libengram-h5.so; do
    [ -e "$library" ] || {
        complain "$library is missing"
        continue
    }
    names=$(nm -D --defined-only "$library" | awk '{ print $NF }' | sed 's/@.*//')
    strange=$(printf '%s\n' "$names" | grep -v '^engram_' || true)
    [ -z "$strange" ] || complain "$library exports:" "$strange"
    exported="$exported $names"
    readelf -d "$library" | grep -q "SONAME.*\[$(basename "$library")\.[0-9]*\]" ||
        complain "$library has no SONAME"
    # Code that would write into its own text pages at load time is not position independent.
    ! readelf -d "$library" | grep -q TEXTREL || complain "$library has text relocations"
done

# No function is exported by both, or that is not declared in a public header, or the reverse.
doubled=$(printf '%s\n' "$exported" | tr ' ' '\n' | sort | uniq -d | grep . || true)
[ -z "$doubled" ] || complain "exported by both libraries:" "$doubled"
declared=$(cat include/engram/*.h | tr '\n' ' ' | sed 's|/\*[^*]*\*\+\([^/*][^*]*\*\+\)*/||g' |
    grep -oE 'ENGRAM_API[^;(]*\(' | grep -oE 'engram_[a-z0-9_]+\(' | tr -d '(' | sort -u)
for name in $declared; do
    case " $(echo "$exported" | tr '\n' ' ') " in
    *" $name "*) ;;
    *) complain "declared in include/engram, but not exported: $name" ;;
    esac
done
for name in $exported; do
    printf '%s\n' "$declared" | grep -qx "$name" ||
        complain "exported, but not declared ENGRAM_API in include/engram: $name"
done

# Hidden names are local to a shared library, but not to a program linked with both archives: the
# linker would silently take one for the other.
for library in "$BUILD"/libengram.a "$BUILD"/libengram-h5.a; do
    [ -e "$library" ] && nm -g --defined-only "$library" 2>/dev/null | awk 'NF == 3 { print $3 }'
done | sort | uniq -d >"$BUILD/doubled-names"
[ ! -s "$BUILD/doubled-names" ] ||
    complain "defined twice in the archives:" "$(cat "$BUILD/doubled-names")"
rm -f "$BUILD/doubled-names"

forbidden='printf|fprintf|vprintf|vfprintf|puts|putchar|fputs|fputc|fwrite|perror|__printf_chk|__fprintf_chk'
forbidden="$forbidden|__vfprintf_chk|exit|_exit|quick_exit|abort|__assert_fail|signal|sigaction|setenv|putenv|unsetenv"
forbidden="$forbidden|stdout|stderr|system|popen"
for library in "$BUILD"/libengram.a "$BUILD"/libengram-h5.a; do
    [ -e "$library" ] || continue
    found=$(nm -A -u "$library" 2>/dev/null | grep -E " U ($forbidden)(@.*)?$" || true)
    [ -z "$found" ] || complain "a library must not print, exit, or change the process:" "$found"
done

[ "$bad" -eq 0 ] || exit 1
echo "$(printf '%s\n' "$declared" | wc -l) functions exported, all of them declared"
