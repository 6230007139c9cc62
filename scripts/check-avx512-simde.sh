#!/bin/sh
# The AVX-512 kernels on machines that have no AVX-512: the same src/kernels/avx512.c, compiled with
# SIMDe's portable implementations of the intrinsics, against the portable kernels. This proves what
# the source says (lanes, masks, tails, the tree of additions, codes' signs), not what a compiler
# makes of it; the self-test at first use does that on the CPU itself.
set -eu
cd "$(dirname "$0")/.."

CC=${CC:-cc}
BUILD=${BUILD:-build/check}/simde
mkdir -p "$BUILD"

case $("$CC" -dumpmachine) in
x86_64-* | amd64-*) ;;
*)
    echo "skipped: sets of x86-64 are not part of a build for $("$CC" -dumpmachine)"
    exit 0
    ;;
esac
if ! echo '#include <simde/x86/avx512.h>' | "$CC" -E -x c - >/dev/null 2>&1; then
    echo "skipped: no SIMDe (Debian's libsimde-dev)"
    exit 0
fi

# As the Makefile compiles kernels, but for the baseline; -isystem keeps SIMDe's headers out of our
# warnings. -Wno-psabi: vectors of 64 bytes that no other object passes.
flags="-std=c11 -O2 -g -fopenmp -ffp-contract=off -fno-fast-math -fno-math-errno -Iinclude -Isrc"
flags="$flags -isystem tests/simde -Wall -Wextra -Wno-psabi -Werror"
# shellcheck disable=SC2086 # a list of words
"$CC" $flags -DCROSSCHECK_SET=engram_kernels_avx512 -o "$BUILD/crosscheck" \
    tests/kernels/crosscheck.c src/kernels/avx512.c src/kernels/avx512_pack.c src/kernels/avx512_bits.c \
    src/kernels/portable.c src/kernels/selftest.c -lm
# No instruction of AVX-512 came in by another way.
if objdump -d "$BUILD/crosscheck" | grep -q '%zmm'; then
    echo "FAILED: the emulation uses AVX-512"
    echo "0 passed, 1 failed"
    exit 1
fi
"$BUILD/crosscheck"
