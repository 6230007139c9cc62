"""Files that other libraries wrote: the right answer, or a message that says why not.

They lie in `../shared/data` beside the checkout (or where ENGRAM_FOREIGN_DATA says), and are no part
of it; without them these tests are skipped. Small equivalents of each kind are in the other tests.
"""

import os
from pathlib import Path

import h5py
import numpy as np

import oracle
from support import ROOT, Result, Skip

REFUSALS = (64, 65, 66, 69)


def folder(name):
    root = Path(os.environ.get("ENGRAM_FOREIGN_DATA", ROOT.parent / "shared" / "data"))
    if not (root / name).is_dir():
        raise Skip(f"no {root / name}")
    return root / name


def matrices(path):
    """(name, array or None where h5py cannot read it) of every 2-D dataset"""
    found = []

    def visit(name, item):
        if isinstance(item, h5py.Dataset) and item.ndim == 2 and item.size < 2**22:
            try:
                found.append((name, item[()]))
            except OSError:
                found.append((name, None))

    try:
        with h5py.File(path, "r") as f:
            f.visititems(visit)
    except OSError:
        return []
    return found


def refused(t, label, run):
    """One line that names the file, and a documented code."""
    lines = [line for line in run.err.splitlines() if line.strip()]
    t.check(run.code in REFUSALS and len(lines) == 1, f"{label}: {run}")


def readable(array):
    if array is None or array.dtype.kind not in "fiub" or array.dtype.itemsize > 8:
        return False
    wide = array.dtype.kind in "iu" and array.dtype.itemsize == 8
    return not wide or not (np.abs(array.astype(np.float64)) > 2**53).any()


def check_dataset(t, path, name, array):
    out = t.path("out.h5")
    label = f"{path.name}: {name}"
    run = t.run("--force", "--self", "--metric", "l2", "-k", 3, "--base", name, path, out)
    if run.code != 0:
        refused(t, label, run)
        # LZF comes with h5py only.
        t.check(not readable(array) or run.code == 69, f"{label}: is readable: {run}")
        return 0
    if t.check(array is not None, f"{label}: h5py cannot read what we could"):
        want = oracle.answer(array, array, "l2", k=3, self_job=True)
        t.compare(label, Result(out), want, 3)
    return 1


def walk(t, name, least):
    compared = 0
    for path in sorted(folder(name).rglob("*")):
        if path.suffix not in (".h5", ".hdf5", ".h5ad", ".nc"):
            continue
        run = t.run("inspect", path)
        t.check(run.code == 0 or run.code in REFUSALS, f"inspect: {run}")
        run = t.run("--force", path, t.path("out.h5"))
        if run.code != 0:
            refused(t, path.name, run)
        for dataset, array in matrices(path):
            compared += check_dataset(t, path, dataset, array)
    t.check(compared >= least, f"only {compared} datasets were read")


def test_storage(t):
    walk(t, "storage", 90)


def test_layouts(t):
    walk(t, "layouts", 10)


def test_anndata(t):
    """What scanpy and anndata wrote, old and new: the same answers and ids."""
    results = []
    for name in ("10x_pbmc68k_reduced.h5ad", "10x_pbmc68k_reduced_legacy.h5ad"):
        path = folder("layouts") / "h5ad" / name
        result = t.job(path)
        results.append(result)
        with h5py.File(path, "r") as f:
            old = isinstance(f["obsm"], h5py.Dataset)
            rows = f["obsm"]["X_pca"] if old else f["obsm/X_pca"][()]
            ids = f["obs"]["index"] if old else f["obs/index"].asstr()[()].astype("S")
        t.compare(name, result, oracle.answer(rows, rows, "l2", k=10, self_job=True), 10)
        t.check((result.base_ids == ids).all(), f"{name}: ids")
    t.check((results[0].neighbors == results[1].neighbors).all(), "old and new differ")
