. "$LIB"
try -q --max-distance 0.5 words.h5 a.h5
try --min-similarity 0.5 --metric l2 words.h5 b.h5
try --min-similarity 0.5 ann.h5 b.h5
try -q --min-similarity 0x1p-1 words.h5 b.h5
try -q --max-distance inf -k 2 words.h5 c.h5
"$PYTHON" -c 'import h5py
for n in "abc":
    f = h5py.File(n + ".h5")
    print("pairs" in f, "neighbors" in f)'
