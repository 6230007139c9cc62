. "$LIB"
engram-batch words.h5 out.h5 2>summary
echo "exit $?"
plain_summary <summary >&2
"$PYTHON" - <<'P'
import h5py

with h5py.File("out.h5") as f:
    for name in "neighbors", "distances", "counts":
        print(name, f[name].shape, f[name].dtype)
P
outputs
