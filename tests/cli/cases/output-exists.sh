. "$LIB"
echo precious >out.h5
try words.h5 out.h5
cat out.h5
engram-batch -q words.h5 other.h5
try -k 3 words.h5 other.h5
try -q --force -k 3 words.h5 other.h5
try -q --force words.h5 out.h5
"$PYTHON" -c 'import h5py; print(h5py.File("out.h5")["neighbors"].shape, h5py.File("other.h5")["neighbors"].shape)'
