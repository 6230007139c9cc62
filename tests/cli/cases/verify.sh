. "$LIB"
engram-batch -q words.h5 out.h5
plain() {
    sed -e 's/^difference  [-+0-9.e]*/difference  D/'
}
try verify words.h5 out.h5 | plain
try verify --full words.h5 out.h5 | plain
engram-batch -q -k 3 ann.h5 ann-out.h5
try verify --sample 2 ann.h5 ann-out.h5 | plain
try verify -q --sample 7 words.h5 out.h5
"$PYTHON" -c 'import h5py
with h5py.File("out.h5", "r+") as f: f["neighbors"][5, 0] = (f["neighbors"][5, 0] + 17) % 60'
try verify --full words.h5 out.h5 | plain
try verify -q --full words.h5 out.h5
try verify words.h5 missing.h5
try verify words.h5 text.h5
