# The job cleans up; SIGINT kills it as a shell expects, other signals end in exit code 75.
"$PYTHON" - <<'P'
import h5py
import numpy as np

with h5py.File("large.h5", "w") as f:  # minutes of work
    f["vectors"] = np.random.RandomState(1).randint(-99, 100, (60000, 128)).astype("f4")
P
for signal in INT TERM HUP USR1; do
    "$PYTHON" - $signal <<'P'
import os
import signal
import subprocess
import sys
import time

number = getattr(signal, "SIG" + sys.argv[1])
job = subprocess.Popen(
    "engram-batch --isa portable --filter canonical --progress none large.h5 out.h5".split(),
    stderr=subprocess.PIPE, text=True)
mask = 0
while not mask >> (number - 1) & 1:  # until the job catches the signal
    time.sleep(0.02)
    with open(f"/proc/{job.pid}/status") as status:
        mask = int([line.split()[1] for line in status if line.startswith("SigCgt")][0], 16)
time.sleep(0.3)
job.send_signal(number)
err = job.communicate(timeout=60)[1]
kept = os.path.exists("out.h5.checkpoint")  # whether some of the work was done by then
if kept:
    os.remove("out.h5.checkpoint")
print(sys.argv[1], job.returncode, [n for n in os.listdir(".") if "out" in n])
print(err.split(";")[0], kept == ("is in out.h5.checkpoint" in err), file=sys.stderr)
P
done
