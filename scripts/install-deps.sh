#!/bin/sh
# Installs what is missing to build (`demo`), to test (`test`) or to check (`check`); quick and
# silent when nothing is missing. With apt, as root or where `sudo -n` works. Otherwise, and always
# with NO_INSTALL=1, it prints the command for this system and fails.
set -eu
cd "$(dirname "$0")/.."

purpose=${1:-test}
CC=${CC:-cc}

# ---- what is missing, as short names

has() {
    command -v "$1" >/dev/null 2>&1
}

# Does the compiler find a header? $1: header, others: flags.
has_header() {
    header=$1
    shift
    # shellcheck disable=SC2086 # CPPFLAGS is a list
    echo "#include <$header>" | "$CC" ${CPPFLAGS:-} "$@" -E -x c - >/dev/null 2>&1
}

# `missing` stops the purpose, `optional` only makes make check skip a step, visibly.
look() {
    missing=
    optional=
    # A compiler without the C library's headers is half installed.
    if ! has "$CC" || ! has_header stdio.h; then
        missing="$missing cc"
    fi
    has make || missing="$missing make"
    if hdf5=$(scripts/find-hdf5.sh --cflags 2>/dev/null); then
        # shellcheck disable=SC2086
        has_header zlib.h $hdf5 || missing="$missing zlib"
    else
        missing="$missing pkg-config hdf5 zlib"
    fi
    case $CC in
    *clang*) has_header omp.h -fopenmp || missing="$missing libomp" ;;
    esac
    case $purpose in
    test | check)
        has_header cmocka.h || missing="$missing cmocka"
        scripts/find-python.sh --quick >/dev/null 2>&1 || missing="$missing python"
        ;;
    esac
    if [ "$purpose" = check ]; then
        has g++ || missing="$missing g++"
        for tool in clang clang-tidy clang-format; do
            has "$tool" || missing="$missing $tool"
        done
        if has clang; then
            echo '#include <omp.h>' | clang -fopenmp -E -x c - >/dev/null 2>&1 ||
                missing="$missing libomp"
            [ -n "$(find "$(clang -print-resource-dir)/lib/" -name '*tsan*' 2>/dev/null)" ] ||
                missing="$missing clang-rt"
        else
            missing="$missing libomp clang-rt"
        fi
        has shellcheck || optional="$optional shellcheck"
        for tool in cppcheck valgrind; do
            has $tool || optional="$optional $tool"
        done
        { has mpicc && has mpirun; } || optional="$optional mpi"
        # Other instruction sets, emulated (scripts/check-avx512-simde.sh, scripts/check-neon.sh).
        case $(uname -m) in
        x86_64 | amd64)
            has_header simde/x86/avx512.h || optional="$optional simde"
            has aarch64-linux-gnu-gcc || optional="$optional aarch64-gcc"
            has qemu-aarch64 || has qemu-aarch64-static || optional="$optional qemu-user"
            ;;
        esac
    fi
    missing=${missing# }
}

# ---- their packages

manager() {
    for name in apt-get dnf zypper apk pacman brew; do
        if has "$name"; then
            echo "$name"
            return
        fi
    done
    echo none
}

package() { # $1: manager, $2: short name
    case $1:$2 in
    apt-get:cc) case $CC in *clang*) echo clang libc6-dev ;; *) echo gcc libc6-dev ;; esac ;;
    apt-get:hdf5) echo libhdf5-dev ;;
    apt-get:zlib) echo zlib1g-dev ;;
    apt-get:cmocka) echo libcmocka-dev ;;
    apt-get:python) echo python3 python3-h5py python3-numpy ;;
    apt-get:libomp) echo libomp-dev ;;
    apt-get:simde) echo libsimde-dev ;;
    apt-get:mpi) echo libopenmpi-dev openmpi-bin ;;
    apt-get:aarch64-gcc) echo gcc-aarch64-linux-gnu libc6-dev-arm64-cross ;;
    # Older releases have it inside another package that clang brings along.
    apt-get:clang-rt) ! apt-cache show libclang-rt-dev >/dev/null 2>&1 || echo libclang-rt-dev ;;

    dnf:shellcheck | zypper:shellcheck) echo ShellCheck ;;
    dnf:cc | zypper:cc) echo gcc ;;
    dnf:pkg-config) echo pkgconf-pkg-config ;;
    dnf:g++ | zypper:g++) echo gcc-c++ ;;
    dnf:hdf5 | zypper:hdf5) echo hdf5-devel ;;
    dnf:zlib | zypper:zlib) echo zlib-devel ;;
    dnf:cmocka | zypper:cmocka) echo libcmocka-devel ;;
    dnf:python | zypper:python) echo python3-h5py python3-numpy ;;
    dnf:libomp | zypper:libomp) echo libomp-devel ;;
    dnf:clang-tidy | dnf:clang-format | zypper:clang-tidy | zypper:clang-format) echo clang-tools-extra ;;
    dnf:clang-rt) echo compiler-rt ;;
    zypper:clang-rt) ;;

    apk:cc | apk:make) echo build-base ;;
    apk:g++) echo g++ ;;
    apk:pkg-config | pacman:pkg-config) echo pkgconf ;;
    apk:hdf5) echo hdf5-dev ;;
    apk:zlib) echo zlib-dev ;;
    apk:cmocka) echo cmocka-dev ;;
    apk:python) echo py3-h5py py3-numpy ;;
    apk:libomp) echo openmp-dev ;;
    apk:clang-tidy | apk:clang-format) echo clang-extra-tools ;;
    apk:clang-rt | pacman:clang-rt) echo compiler-rt ;;

    pacman:cc | pacman:g++) echo gcc ;;
    pacman:python) echo python-h5py python-numpy ;;
    pacman:libomp) echo openmp ;;
    pacman:clang-tidy | pacman:clang-format) echo clang ;;

    brew:cc | brew:g++) echo gcc ;;
    brew:python) echo python numpy h5py ;;
    brew:clang-tidy | brew:clang-format | brew:clang-rt) echo llvm ;;
    *) echo "$2" ;;
    esac
}

command_of() {
    case $1 in
    apk) echo apk add ;;
    pacman) echo pacman -S ;;
    *) echo "$1" install ;;
    esac
}

packages_of() { # $1: manager, others: short names
    with=$1
    shift
    for name in "$@"; do
        package "$with" "$name"
    done | tr ' ' '\n' | awk 'NF && !seen[$0]++' | tr '\n' ' '
}

give_up() {
    [ -n "$missing" ] || exit 0
    if [ "$manager" = none ]; then
        echo "missing: $missing. Install them, or load their modules (module load gcc hdf5), and try again" >&2
    else
        echo "missing: $missing. Install them with: $(command_of "$manager") ${packages% }" >&2
    fi
    exit 1
}

# ---- go

look
[ -n "$missing$optional" ] || exit 0
manager=$(manager)
# shellcheck disable=SC2086 # a list of words
packages=$(packages_of "$manager" $missing)

case ${NO_INSTALL:-0} in
0 | '') ;;
*) give_up ;;
esac
[ "$manager" = apt-get ] || give_up
if [ "$(id -u)" = 0 ]; then
    as_root=
elif has sudo && sudo -n true 2>/dev/null; then
    as_root='sudo -n'
else
    give_up
fi

log=$(mktemp "${TMPDIR:-/tmp}/engram-install.XXXXXX")
trap 'rm -f "$log"' EXIT
apt() {
    $as_root env DEBIAN_FRONTEND=noninteractive apt-get -q -y -o DPkg::Lock::Timeout=300 \
        "$@" >"$log" 2>&1 </dev/null
}
apt update || true # old lists may be good enough
# shellcheck disable=SC2086
packages=$(packages_of "$manager" $missing) # now that the lists are known
# shellcheck disable=SC2086
extras=$(packages_of "$manager" $optional)
echo "installing: $packages${extras% }"
# shellcheck disable=SC2086
if [ -n "$missing" ] && ! apt install --no-install-recommends $packages; then
    tail -n 5 "$log" >&2
    give_up
fi
# shellcheck disable=SC2086
[ -z "$optional" ] || apt install --no-install-recommends $extras || true
look
[ -z "$missing" ] || give_up
