"""What happens when a single call fails: a read, a write, memory, a thread, HDF5. Each command with
each kind of call; all calls one after the other with ENGRAM_TEST_LONG=1, else some of them. Of a long
run ENGRAM_FAULT_JOBS says how many at once, ENGRAM_FAULT_ONLY names a kind of job."""

import errno
import os

import numpy as np

from faults import Shim, Walk, h5_functions
from support import Skip, is_sanitized

WRITING = "pwrite,write,ftruncate,fallocate,fsync,rename,close"

JOBS = {
    "knn": ["-k", "3"],
    "dense": ["--all"],
    "dense compressed": ["--all", "--compress", "1"],
    "knn compressed": ["-k", "3", "--compress", "1"],
    "pairs": ["--min-similarity", "0.5"],
    "pairwise": ["--pairwise", "--base-rows", "0:40"],
    "components": ["--self", "--base", "train", "--components", "--min-similarity", "0.9"],
    "labels": ["--labels", "labels"],
}


def files(t):
    if os.path.exists(t.path("in.h5")):
        return t.path("in.h5")
    base = t.gaussian(300, 8)
    labels = np.array([b"label %d" % (i % 7) for i in range(300)])
    ids = np.array([b"id %d" % i for i in range(300)])
    return t.h5("in.h5", {"train": (base, {"chunks": (64, 8), "compression": 1, "shuffle": True}),
                          "test": t.gaussian(40, 8), "labels": labels, "train_ids": ids},
                {"distance": "angular"})


def walks(t, shim, names):
    source = files(t)
    for name in names:
        walk = Walk(t, shim, name, ["-q", *JOBS[name], "in.h5", "out.h5"], [source])
        walk.undisturbed()
        yield walk


def mergers(t, shim):
    """The parts of sharded jobs, joined."""
    source = files(t)
    for name in ("knn", "dense"):
        parts = [t.path(f"{name}.shard-{i}-of-2.h5") for i in (1, 2)]
        for i, part in enumerate(parts):
            if not os.path.exists(part):
                t.run("-q", *JOBS[name], "--shard", f"{i + 1}/2", source, t.path(f"{name}.h5"))
        names = [os.path.basename(part) for part in parts]
        walk = Walk(t, shim, f"merge {name}", ["merge", "-q", *names, "out.h5"], parts)
        walk.undisturbed()
        yield walk


def readers(t, shim):
    """Commands that write no file."""
    source = files(t)
    t.succeeds("-q", "-k", "3", source, t.path("result.h5"))
    for name, arguments in (("inspect", ["inspect", "in.h5"]), ("show", ["show", "result.h5"]),
                            ("verify", ["verify", "-q", "in.h5", "result.h5"])):
        walk = Walk(t, shim, name, arguments, [source, t.path("result.h5")], None)
        walk.undisturbed()
        yield walk


def test_writing(t):
    shim = Shim(t)
    for walk in [*walks(t, shim, JOBS), *mergers(t, shim)]:
        total = walk.walk(WRITING, (errno.ENOSPC, errno.EIO), (False, True), most=5)
        t.check(total is None or total >= 5, f"{walk.name}: {total} calls that write")


def test_threads(t):
    shim = Shim(t)
    for walk in walks(t, shim, ("knn", "dense")):
        walk.walk("pthread_create", (errno.EAGAIN,), (False, True))


def test_reading(t):
    shim = Shim(t)
    for walk in [*walks(t, shim, JOBS), *mergers(t, shim), *readers(t, shim)]:
        walk.walk("read,pread", (errno.EIO,), most=5)
        walk.walk("open", (errno.EIO, errno.EMFILE), most=3)
        walk.walk("stat", (errno.EIO,), most=3)


def test_memory(t):
    shim = Shim(t)
    if is_sanitized():
        raise Skip("a sanitizer has the allocations to itself")
    for walk in [*walks(t, shim, JOBS), *mergers(t, shim), *readers(t, shim)]:
        walk.walk("malloc", (errno.ENOMEM,), most=10)


def test_hdf5(t):
    shim = Shim(t)
    if not h5_functions():
        raise Skip("no nm to list the calls of HDF5")
    for walk in [*walks(t, shim, JOBS), *mergers(t, shim), *readers(t, shim)]:
        walk.walk("h5", (errno.EIO,), most=10)
