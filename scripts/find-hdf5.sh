#!/bin/sh
# Finds HDF5 and prints compiler flags (--cflags) or linker flags (--libs).
#
# Looked for in this order: $HDF5_DIR; pkg-config, where Debian's `hdf5-serial` comes before `hdf5`
# (which is the MPI build when both are installed); `h5cc -show`, then `h5pcc -show` (conda, module
# trees, own builds). Libraries outside the system's folders get an rpath, so that programs run
# without LD_LIBRARY_PATH. An MPI build of HDF5 brings the flags of mpi.h along.
# Exit code 1 and one line on standard error when there is none.
set -eu

cflags=
libs=

# Is $1 a folder that compiler and loader search by themselves?
is_system_include() {
    case $1 in /usr/include | /usr/local/include) return 0 ;; esac
    return 1
}
is_system_lib() {
    case $1 in
    /lib | /lib64 | /usr/lib | /usr/lib64 | /usr/local/lib | /lib/*-linux-* | /usr/lib/*-linux-* | \
        /usr/lib64/*) return 0 ;;
    esac
    return 1
}

add_lib_folder() {
    case " $libs " in *" -L$1 "*) return ;; esac
    if is_system_lib "$1"; then
        libs="$libs -L$1"
    else
        libs="$libs -L$1 -Wl,-rpath,$1"
    fi
}

# Takes over the words of a compile or link line that matter: -I, -D of HDF5's API choice, -L, -l,
# rpaths; an absolute static library stands for its folder.
take_words() {
    for word in "$@"; do
        case $word in
        -I*) is_system_include "${word#-I}" || cflags="$cflags $word" ;;
        -DH5*) cflags="$cflags $word" ;;
        -L*) add_lib_folder "${word#-L}" ;;
        -lhdf5_hl | -lhdf5) ;;
        -l*) extra="$extra $word" ;;
        -Wl,-rpath*) libs="$libs $word" ;;
        /*/libhdf5.a | /*/libhdf5.so) add_lib_folder "${word%/*}" ;;
        esac
    done
}

# Is the HDF5 of $cflags an MPI build? Its headers then include mpi.h.
is_parallel() {
    for word in $cflags -I/usr/include -I/usr/local/include; do
        for header in "${word#-I}"/H5pubconf*.h; do
            [ -f "$header" ] || continue
            if grep -q '^#define H5_HAVE_PARALLEL 1' "$header"; then
                return 0
            fi
            return 1
        done
    done
    return 1
}

has_mpi_h() {
    for word in $cflags; do
        [ ! -f "${word#-I}/mpi.h" ] || return 0
    done
    return 1
}

add_mpi() {
    if ! is_parallel || has_mpi_h; then
        return
    fi
    for mpicc in "${MPICC:-mpicc}" mpicc.openmpi mpicc.mpich; do
        if command -v "$mpicc" >/dev/null 2>&1; then
            # shellcheck disable=SC2046 # words are what we want
            take_words $("$mpicc" -show 2>/dev/null)
            return
        fi
    done
}

from_folder() {
    [ -n "${HDF5_DIR:-}" ] || return 1
    [ -f "$HDF5_DIR/include/hdf5.h" ] || {
        problem="HDF5_DIR is $HDF5_DIR, but there is no include/hdf5.h in it"
        return 1
    }
    cflags="-I$HDF5_DIR/include"
    for folder in "$HDF5_DIR/lib" "$HDF5_DIR/lib64" "$HDF5_DIR"/lib/*-linux-*; do
        for library in "$folder"/libhdf5.so "$folder"/libhdf5.a "$folder"/libhdf5.dylib; do
            if [ -f "$library" ]; then
                add_lib_folder "$folder"
                case $library in *.a) extra="$extra -lsz -lz -ldl -lm" ;; esac
                return 0
            fi
        done
    done
    problem="HDF5_DIR is $HDF5_DIR, but there is no libhdf5 in its lib folder"
    return 1
}

from_pkg_config() {
    command -v "${PKG_CONFIG:-pkg-config}" >/dev/null 2>&1 || return 1
    for name in hdf5-serial hdf5 hdf5-openmpi hdf5-mpich; do
        if words=$("${PKG_CONFIG:-pkg-config}" --cflags --libs "$name" 2>/dev/null); then
            # shellcheck disable=SC2086
            take_words $words
            return 0
        fi
    done
    return 1
}

from_wrapper() {
    for wrapper in h5cc h5pcc h5cc.mpich h5pcc.openmpi; do
        command -v "$wrapper" >/dev/null 2>&1 || continue
        words=$("$wrapper" -show 2>/dev/null) || continue
        # shellcheck disable=SC2086
        take_words $words
        # A wrapper that names no folders relies on its own place: PREFIX/bin/h5cc.
        root=$(command -v "$wrapper")
        root=${root%/bin/*}
        case "$cflags" in
        *-I*) ;;
        *) is_system_include "$root/include" || [ ! -f "$root/include/hdf5.h" ] ||
            cflags="$cflags -I$root/include" ;;
        esac
        case "$libs" in
        *-L*) ;;
        *) [ ! -e "$root/lib/libhdf5.so" ] || add_lib_folder "$root/lib" ;;
        esac
        # The wrapper lists what a static HDF5 needs; a shared one brings it along, and the
        # development files of these need not be installed.
        for word in $libs; do
            [ ! -e "${word#-L}/libhdf5.so" ] || extra=
        done
        return 0
    done
    return 1
}

how_to_install() {
    if command -v apt-get >/dev/null 2>&1; then
        echo "apt-get install libhdf5-dev zlib1g-dev pkg-config"
    elif command -v dnf >/dev/null 2>&1; then
        echo "dnf install hdf5-devel zlib-devel"
    elif command -v zypper >/dev/null 2>&1; then
        echo "zypper install hdf5-devel zlib-devel"
    elif command -v apk >/dev/null 2>&1; then
        echo "apk add hdf5-dev zlib-dev"
    elif command -v pacman >/dev/null 2>&1; then
        echo "pacman -S hdf5 zlib"
    elif command -v brew >/dev/null 2>&1; then
        echo "brew install hdf5"
    elif command -v module >/dev/null 2>&1 || [ -n "${MODULEPATH:-}" ]; then
        echo "module load hdf5"
    else
        echo "the HDF5 development package of your system"
    fi
}

extra=
problem="HDF5 was not found"
if [ -n "${HDF5_DIR:-}" ]; then
    from_folder || found=no
else
    from_pkg_config || from_wrapper || found=no
fi
if [ "${found:-yes}" = no ]; then
    echo "$problem: install it with \"$(how_to_install)\", or set HDF5_DIR=/where/it/is" >&2
    exit 1
fi
add_mpi

case ${1:-} in
--cflags) echo "${cflags# }" ;;
--libs)
    libs="$libs -lhdf5$extra"
    echo "${libs# }"
    ;;
*) printf 'CFLAGS: %s\nLIBS: %s\n' "${cflags# }" "${libs# } -lhdf5$extra" ;;
esac
