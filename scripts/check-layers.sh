#!/bin/sh
# The include rules: layers point downward only, and outside libraries stay where they belong.
#   cli -> job -> {io, search} -> kernels -> base; bench stands above all
# Prints every breach as file:line; also warns about files that grow too long.
set -eu
cd "$(dirname "$0")/.."

MAX_LINES=500

# Layers that a layer's files may include, itself among them.
allowed() {
    case $1 in
    base) echo base ;;
    kernels) echo base kernels ;;
    search) echo base kernels search ;;
    io) echo base kernels io ;;
    job) echo base kernels search io job ;;
    cli) echo base kernels search io job cli ;;
    bench) echo base kernels search io job bench ;;
    *) echo ;;
    esac
}

# Public headers that a layer may see.
allowed_public() {
    case $1 in
    base) echo arena status version ;;
    kernels | search | io) echo arena status version search ;;
    *) echo arena status version search job ;;
    esac
}

breaches=$(mktemp "${TMPDIR:-/tmp}/engram-layers.XXXXXX")
trap 'rm -f "$breaches"' EXIT

# $1: file, $2: extended regular expression, $3: what is wrong
forbid() {
    grep -nE "$2" "$1" | sed "s|^\([0-9]*\):.*|$1:\1: $3|" >>"$breaches" || true
}

include_of() { # a pattern for an #include of $1
    echo "^[[:space:]]*#[[:space:]]*include[[:space:]]*[<\"]$1[>\"]"
}

# Headers of src/io through which hdf5.h would leak.
hdf5_headers=$(grep -lE "$(include_of 'hdf5.*\.h')" src/io/*.h 2>/dev/null | sed 's|^src/||' || true)
while :; do
    more=$hdf5_headers
    for header in $hdf5_headers; do
        more="$more $(grep -lE "$(include_of "$header")" src/io/*.h 2>/dev/null | sed 's|^src/||' || true)"
    done
    more=$(printf '%s\n' "$more" | tr ' ' '\n' | sort -u | tr '\n' ' ')
    [ "$more" != "$(printf '%s\n' "$hdf5_headers" | tr ' ' '\n' | sort -u | tr '\n' ' ')" ] || break
    hdf5_headers=$more
done

files=0
for file in src/*/*.c src/*/*.h; do
    [ -e "$file" ] || continue
    files=$((files + 1))
    layer=${file#src/}
    layer=${layer%%/*}
    names=$(allowed "$layer")
    [ -n "$names" ] || echo "$file:1: unknown layer $layer" >>"$breaches"

    # Project headers are included as "layer/name.h" or "engram/name.h".
    grep -nE '^[[:space:]]*#[[:space:]]*include[[:space:]]*"' "$file" |
        sed 's|^\([0-9]*\):.*"\(.*\)".*|\1 \2|' |
        while read -r line header; do
            other=${header%%/*}
            name=${header##*/}
            if [ "$other" = "$header" ]; then
                echo "$file:$line: include \"$header\" by its layer"
            elif [ "$other" = engram ]; then
                case " $(allowed_public "$layer") " in
                *" ${name%.h} "*) ;;
                *) echo "$file:$line: $layer must not include $header" ;;
                esac
            else
                case " $names " in
                *" $other "*) ;;
                *) echo "$file:$line: $layer must not include $header" ;;
                esac
            fi
        done >>"$breaches" || true

    case $layer in
    io) ;;
    *)
        forbid "$file" "$(include_of '(hdf5|H5[A-Za-z0-9]*).*\.h')" "hdf5.h belongs to src/io"
        for header in $hdf5_headers; do
            forbid "$file" "$(include_of "$header")" "$header brings in hdf5.h, which belongs to src/io"
        done
        ;;
    esac
    [ "$file" = src/io/codec.c ] ||
        forbid "$file" "$(include_of '(zlib|libdeflate)\.h')" "compression belongs to src/io/codec.c"
    [ "$file" = src/job/ranks_mpi.c ] ||
        forbid "$file" "$(include_of 'mpi\.h')" "MPI belongs to src/job/ranks_mpi.c"
    case $file in
    src/kernels/avx2.c | src/kernels/avx512.c | src/kernels/neon.c | src/kernels/sve.c) ;;
    src/kernels/avx2_pack.c | src/kernels/avx512_pack.c | \
        src/kernels/avx2_bits.c | src/kernels/avx512_bits.c) ;;
    *)
        forbid "$file" "$(include_of '([a-z0-9]*intrin|arm_[a-z]*)\.h')" \
            "intrinsics belong to one file per instruction set in src/kernels"
        ;;
    esac
    case $layer in
    base | kernels | cli)
        forbid "$file" "$(include_of 'omp\.h')|^[[:space:]]*#[[:space:]]*pragma[[:space:]]+omp" \
            "OpenMP belongs where the loops are, not to $layer"
        ;;
    esac
done

# Public headers stand on themselves and the C library.
for file in include/engram/*.h; do
    grep -nE '^[[:space:]]*#[[:space:]]*include' "$file" |
        grep -vE '"engram/[a-z0-9_]+\.h"|<std(bool|def|int)\.h>' |
        sed "s|^\([0-9]*\):.*|$file:\1: a public header includes engram/*.h and <std*.h> only|" \
            >>"$breaches" || true
done

for file in src/*/*.[ch] include/engram/*.h tests/unit/*.[ch]; do
    [ -e "$file" ] || continue
    lines=$(wc -l <"$file")
    [ "$lines" -le "$MAX_LINES" ] || echo "$file: warning: $lines lines, more than $MAX_LINES"
done

if [ -s "$breaches" ]; then
    sort -u "$breaches"
    exit 1
fi
[ "$files" -gt 0 ]
echo "$files files keep to their layers"
