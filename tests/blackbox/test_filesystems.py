"""File systems of clusters: without locks, mounted read-only, with memory for a part of the data."""

import errno
import os
import subprocess

from faults import Shim, Walk
from support import binary


def test_no_locks(t):
    """Neither reading nor writing needs them: some parallel file systems have none."""
    source = t.h5("in.h5", {"train": t.gaussian(3000, 40), "test": t.gaussian(200, 40)},
                  {"distance": "angular"}, chunks=(100, 40), compression="gzip")
    walk = Walk(t, Shim(t), "no locks", ["-q", "-k", "5", "in.h5", "out.h5"], [source])
    walk.undisturbed()
    t.check(walk.count("flock") > 0, "nothing was locked: this tests nothing")
    for error in (errno.ENOSYS, errno.EOPNOTSUPP, errno.ENOLCK):
        folder = walk.folder(errno.errorcode[error])
        done = walk.run(folder, "flock", at=1, error=error, sticky=True)
        name = errno.errorcode[error]
        t.check(done.returncode == 0 and done.stderr == "",
                f"{name}: exit {done.returncode}: {done.stderr!r}")
        t.check(walk.content(folder) == walk.want, f"{name}: another result")


def test_read_only_input(t):
    """A folder nobody can write to, and a file nobody can write to: nothing is left beside it."""
    os.mkdir(t.path("data"))
    source = t.h5("data/in.h5", {
        "x": t.gaussian(3000, 40)})
    os.chmod(source, 0o444)
    os.chmod(t.path("data"), 0o555)
    try:
        done = subprocess.run([binary(), "-q", source, t.path("out.h5")], capture_output=True,
                              text=True, check=False, timeout=120)
        t.check(done.returncode == 0, done.stderr)
        t.check(os.listdir(t.path("data")) == ["in.h5"], f"{os.listdir(t.path('data'))}")
    finally:
        os.chmod(t.path("data"), 0o755)
