. "$LIB"
engram-batch -k 2 holes.h5 out.h5 2>&1 | grep -i warning >&2
"$PYTHON" -c 'import h5py; f = h5py.File("out.h5"); print(f["counts"][:10], f["neighbors"][3])'
