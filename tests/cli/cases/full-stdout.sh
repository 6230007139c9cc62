. "$LIB"
for command in --help --version "inspect words.h5"; do
    engram-batch $command >/dev/full
    echo "exit $?"
done
# The list is written before the error below it: its own failure is told all the same.
"$PYTHON" -c "import h5py
h5py.File('huge.h5', 'w').create_dataset('x', shape=(2**40, 4), dtype='f4', chunks=(1, 4))"
engram-batch inspect huge.h5 2>&1 >/dev/full | tail -n 1
engram-batch --help >&-
echo "exit $?"
