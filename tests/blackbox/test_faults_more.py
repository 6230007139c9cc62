"""As test_faults.py, for other inputs: files of items, several files and texts, virtual and external
data, labels of rows; jobs that save often, and jobs that go on where an earlier one ended."""

import errno
import shutil
from pathlib import Path

import h5py
import numpy as np

from faults import Shim, Walk, h5_functions
from support import Skip, is_sanitized

WRITING = "pwrite,write,ftruncate,fallocate,fsync,rename,close"
OFTEN = {"ENGRAM_CHECKPOINT_SECONDS": "0"}


def text_file(t, name, lines):
    Path(t.path(name)).write_text("".join(line + "\n" for line in lines), encoding="utf-8")
    return t.path(name)


def items(t):
    with h5py.File(t.path("items.h5"), "w") as f:
        for i in range(30):
            f[f"group/{i:03}"] = t.gaussian(1, 6)[0]
            f[f"group/{i:03}"].attrs["original_id"] = f"protein {i}"
    labels = [f"protein {i}\tlabel {i % 3}" for i in range(0, 30, 2)]
    return ["--labels", "labels.tsv", "items.h5"], [t.path("items.h5"),
                                                    text_file(t, "labels.tsv", labels)]


def several(t):
    """Two files as one base; which rows may be answers, and whose they are."""
    for name, rows in (("a.h5", 70), ("b.h5", 50)):
        t.h5(name, {"x": (t.gaussian(rows, 6), {"chunks": (16, 6), "compression": 1}),
                    "ok": t.random.random(rows) < 0.7,
                    "own": np.array([b"owner %d" % (i % 5) for i in range(rows)])})
    files = [t.path("a.h5"), t.path("b.h5"), text_file(t, "parts.txt", ["a.h5::x", "b.h5::x"])]
    return ["-k", "3", "--base", "@parts.txt", "--subset", "ok", "--exclude-same", "own",
            "a.h5"], files


def outside(t):
    rows = t.gaussian(40, 6)
    t.h5("far.h5", {"x": rows})
    layout = h5py.VirtualLayout(shape=(40, 6), dtype="f4")
    layout[:] = h5py.VirtualSource("far.h5", "x", shape=(40, 6), dtype="f4")
    rows.tofile(t.path("raw"))
    with h5py.File(t.path("near.h5"), "w", libver="latest") as f:
        f.create_virtual_dataset("v", layout)
        f.create_dataset("e", shape=(40, 6), dtype="f4", external=[("raw", 0, rows.nbytes)])
    return ["-k", "3", "--allow-external", "--base", "near.h5::e", "--queries", "near.h5::v",
            "near.h5"], [t.path(name) for name in ("near.h5", "far.h5", "raw")]


def cells(t):
    """AnnData, with a categorical column and ids of variable length."""
    with h5py.File(t.path("cells.h5ad"), "w") as f:
        f.attrs["encoding-type"] = "anndata"
        f["obsm/X_pca"] = t.gaussian(50, 6)
        obs = f.create_group("obs")
        obs.attrs["_index"] = "name"
        obs.create_dataset("name", data=[f"cell {i}" for i in range(50)], dtype=h5py.string_dtype())
        patient = obs.create_group("patient")
        patient.attrs["encoding-type"] = "categorical"
        patient["codes"] = np.arange(50, dtype=np.int8) % 4
        patient.create_dataset("categories", data=list("abcd"), dtype=h5py.string_dtype())
    return ["-k", "3", "--exclude-same", "obs/patient", "cells.h5ad"], [t.path("cells.h5ad")]


INPUTS = {"items": items, "several": several, "outside": outside, "cells": cells}


def walks(t, shim):
    for name, make in INPUTS.items():
        arguments, files = make(t)
        walk = Walk(t, shim, name, ["-q", *arguments, "out.h5"], files)
        walk.undisturbed()
        yield walk


def saving(t, shim):
    """Jobs that save as often as they can; and the same when there is a checkpoint already."""
    source = t.two_sets(t.gaussian(3000, 8), t.gaussian(2500, 8), metric="euclidean")
    for name, arguments in (("saved knn", ["-k", "3"]), ("saved dense", ["--all"]),
                            ("saved pairs", ["--max-distance", "1.5"])):
        walk = Walk(t, shim, name, ["-q", *arguments, "two.h5", "out.h5"], [source], more=OFTEN)
        walk.undisturbed()
        yield walk
        folder = walk.folder("stopped")
        done = walk.run(folder, "rename", 1, errno.EIO)
        left = [path for path in folder.iterdir() if path.name.startswith("out.h5.")]
        t.check(done.returncode == 74 and left, f"{name}: {done.returncode}: {done.stderr}")
        kept = Path(t.path(name + " kept"))
        kept.mkdir()
        for path in left:
            shutil.move(path, kept / path.name)
        again = Walk(t, shim, "continued " + name[6:], walk.arguments,
                     [source, *sorted(map(str, kept.iterdir()))], more=OFTEN)
        again.undisturbed()
        t.check(again.want == walk.want, f"{name}: other bytes after going on")
        yield again


def test_reading(t):
    shim = Shim(t)
    for walk in walks(t, shim):
        # HDF5 takes a source that it cannot read for one that is not there: every point.
        walk.walk("read,pread", (errno.EIO,), most=60 if walk.name == "outside" else 5)
        walk.walk("open", (errno.EIO,), most=4)
        walk.walk("stat", (errno.EIO,), most=2)


def test_memory(t):
    shim = Shim(t)
    if is_sanitized():
        raise Skip("a sanitizer has the allocations to itself")
    for walk in walks(t, shim):
        walk.walk("malloc", (errno.ENOMEM,), most=12)


def test_hdf5(t):
    shim = Shim(t)
    if not h5_functions():
        raise Skip("no nm to list the calls of HDF5")
    for walk in walks(t, shim):
        walk.walk("h5", (errno.EIO,), most=12)


def test_saving(t):
    shim = Shim(t)
    for walk in saving(t, shim):
        walk.walk(WRITING, (errno.ENOSPC,), (False, True), most=4)
        walk.walk("read,pread,open,stat", (errno.EIO,), most=6)
        if not is_sanitized():
            walk.walk("malloc", (errno.ENOMEM,), most=6)
