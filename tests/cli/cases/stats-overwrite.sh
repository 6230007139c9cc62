# Never over a file of the job.
. "$LIB"
cp words.h5 copy.h5
ln words.h5 hard.h5
try_quietly --stats words.h5 words.h5 out.h5
try_quietly --stats hard.h5 words.h5 out.h5
try_quietly --stats out.h5 words.h5 out.h5
try_quietly --stats ./words.h5 --base words.h5::vectors --queries test ann.h5 out.h5
try_quietly -q --stats ./out.h5 words.h5 out.h5
cmp words.h5 copy.h5
"$PYTHON" -c 'import h5py; print("neighbors" in h5py.File("out.h5"))'
