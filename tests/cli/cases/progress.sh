# On a terminal: a bar, and a clean line for what is said after it. Elsewhere: no bar.
"$PYTHON" -c 'import pty; pty.openpty()' 2>/dev/null || {
    echo "there are no pseudo-terminals" >SKIPPED
    exit 0
}
"$PYTHON" - <<'P'
import h5py
import numpy as np

with h5py.File("large.h5", "w") as f:  # minutes of work
    f["vectors"] = np.random.RandomState(1).randint(-99, 100, (60000, 128)).astype("f4")
P
TERM=xterm "$PYTHON" - <<'P'
import os
import pty
import signal
import subprocess
import time

command = "engram-batch --isa portable --filter canonical large.h5 out.h5".split()
master, slave = pty.openpty()
job = subprocess.Popen(command, stderr=slave)
os.close(slave)
seen = b""
while seen.count(b"searching") < 3:
    seen += os.read(master, 65536)
job.send_signal(signal.SIGTERM)
try:
    while part := os.read(master, 65536):
        seen += part
except OSError:  # the other end is closed
    pass
print(job.wait(), b"% [" in seen, b"pairs/s" in seen, b"left\x1b[K" in seen)
print(seen.split(b"\x1b[K")[-1].decode().split(";")[0].strip())

job = subprocess.Popen(command, stderr=subprocess.PIPE)
time.sleep(2)
job.send_signal(signal.SIGTERM)
print(job.communicate()[1].decode().split(";")[0])
P
