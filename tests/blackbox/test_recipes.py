"""The recipes of README, each run as it stands there, with the libraries it is about."""

import importlib.util
import os
import re
import shlex
import subprocess
import sys

import h5py
import numpy as np

from support import ROOT, Skip, binary

README = ROOT / "README.md"
VENV = ROOT / "build" / "recipes" / "bin" / "python"  # scripts/recipes-venv.sh


def recipe(title):
    """(language, text) of the blocks under one heading."""
    text = README.read_text(encoding="utf-8")
    found = re.search(rf"^### {re.escape(title)}\n(.*?)(?=^##)", text, re.MULTILINE | re.DOTALL)
    return re.findall(r"^```(\w*)\n(.*?)^```$", found.group(1), re.MULTILINE | re.DOTALL)


def interpreter(*modules):
    """A Python that has these modules."""
    if all(importlib.util.find_spec(module) for module in modules):
        return sys.executable
    if "ENGRAM_TEST_RECIPES" not in os.environ:
        raise Skip(f"needs {', '.join(modules)}: `scripts/check.sh recipes` runs it")
    probe = "import importlib.util as u, sys; sys.exit(not all(u.find_spec(m) for m in sys.argv[1:]))"
    if VENV.exists() and subprocess.run([VENV, "-c", probe, *modules], check=False).returncode == 0:
        return str(VENV)
    raise Skip(f"no Python with {', '.join(modules)}")


def follow(t, title, *modules):
    """Runs the blocks of a recipe; returns what they printed."""
    python = interpreter(*modules)
    command = t.folder / "bin" / "engram-batch"
    if not command.exists():
        command.parent.mkdir()
        command.symlink_to(binary())
    env = dict(os.environ, PATH=f"{command.parent}{os.pathsep}{os.environ['PATH']}",
               NUMBA_CACHE_DIR=t.path("numba"), MPLCONFIGDIR=t.path("matplotlib"))
    printed = []
    blocks = recipe(title)
    t.require(blocks, f"no recipe {title!r}")
    for language, text in blocks:
        lines = [[python, "-c", text]] if language == "python" else map(shlex.split, text.splitlines())
        for line in lines:
            done = subprocess.run(line, cwd=t.folder, env=env, capture_output=True, text=True,
                                  check=False, timeout=300)
            t.require(done.returncode == 0, f"{title}: {line[:3]}: {done.stderr[-800:]}")
            printed.append(done.stdout)
    return printed


def vectors(t):
    base = t.gaussian(400, 16)
    queries = t.gaussian(30, 16)
    with open(t.path("sift_base.fvecs"), "wb") as f:
        for row in base:
            f.write(np.int32(16).tobytes() + row.tobytes())
    np.save(t.path("sift_query.npy"), queries)
    return base, queries


def test_vectors_to_truth(t):
    base, queries = vectors(t)
    follow(t, "From .npy and .fvecs to HDF5")
    with h5py.File(t.path("sift.h5")) as f:
        t.check(np.array_equal(f["train"][:], base), "the base is another one")
        t.check(np.array_equal(f["test"][:], queries), "the queries are others")
    follow(t, "Truth for ann-benchmarks")
    wide = np.linalg.norm(queries[:, None].astype("f8") - base[None].astype("f8"), axis=2)
    with h5py.File(t.path("sift.h5")) as f:
        t.check(np.array_equal(f["neighbors"][:], np.argsort(wide, axis=1)[:, :100]), "neighbours")
        t.check(np.allclose(f["distances"][:], np.sort(wide, axis=1)[:, :100]), "distances")
    run = t.run("verify", t.path("sift.h5"), t.path("truth.h5"))
    t.check(run.code == 0 and "recall" in run.out + run.err, f"verify: {run}")


def test_pandas(t):
    vectors(t)
    follow(t, "From .npy and .fvecs to HDF5")
    follow(t, "Truth for ann-benchmarks")
    printed = follow(t, "A table of neighbours with pandas", "pandas")
    t.check("rank" in printed[0] and "30.0" in printed[0], f"printed {printed}")


CELLS = """
import anndata, numpy as np, sys
cells = anndata.AnnData(np.zeros((300, 4), dtype=np.float32))
cells.obsm["X_pca"] = np.random.default_rng(3).normal(size=(300, 20)).astype(np.float32)
cells.write_h5ad("cells.h5ad")
"""

COMPARE = """
import anndata, numpy as np, scanpy as sc
ours = anndata.read_h5ad("cells-with-graph.h5ad")
theirs = anndata.read_h5ad("cells.h5ad")
sc.pp.neighbors(theirs, use_rep="X_pca", n_neighbors=15)
for name in ("distances", "connectivities"):
    print(name, abs(ours.obsp[name] - theirs.obsp[name]).max())
"""


def test_scanpy(t):
    modules = ("scanpy", "anndata", "umap", "scipy")
    python = interpreter(*modules)
    subprocess.run([python, "-c", CELLS], cwd=t.folder, check=True, capture_output=True)
    printed = follow(t, "A neighbour graph for scanpy", *modules)
    with h5py.File(t.path("cells.h5ad")) as f:
        x = f["obsm/X_pca"][:].astype("f8")
    wide = np.linalg.norm(x[:, None] - x[None], axis=2)
    near = int((wide <= 6).sum()) - len(x)
    t.check(f"{near} pairs" in printed[-1], f"{near} pairs, it printed {printed[-1]!r}")
    done = subprocess.run([python, "-c", COMPARE], cwd=t.folder, capture_output=True, text=True,
                          check=True)
    for line in done.stdout.splitlines():
        name, difference = line.split()
        # UMAP solves for its weights by bisection, up to 1e-5 in their sum.
        limit = 1e-5 if name == "distances" else 5e-3
        t.check(float(difference) < limit, f"scanpy's own graph differs: {line}")


def test_proteins(t):
    known = t.gaussian(40, 32)
    with h5py.File(t.path("per-protein.h5"), "w") as f:
        for i, row in enumerate(known):
            f[f"P{i:05}"] = row.astype(np.float16)
    with h5py.File(t.path("new.h5"), "w") as f:
        for i in range(10):
            f[f"Q{i}"] = known[3 * i].astype(np.float16)
        f["Q_far"] = -known.sum(axis=0).astype(np.float16)
    with open(t.path("terms.tsv"), "w", encoding="utf-8") as f:
        f.writelines(f"P{i:05}\tGO:{i:07}\n" for i in range(0, 40, 2))
    printed = follow(t, "Annotations from the nearest protein")[-1]
    t.check("GO:0000006" in printed, f"query Q2 is P00006: {printed!r}")
    with h5py.File(t.path("transfer.h5")) as f:
        labels = f["labels"].asstr()[:]
        order = f["query_ids"].asstr()[:]
    for i in range(0, 10, 2):
        found = labels[list(order).index(f"Q{i}")]
        t.check(found == f"GO:{3 * i:07}", f"Q{i}: {found}")


def test_near_duplicates(t):
    rows = t.gaussian(200, 24)
    rows[50:60] = rows[7] * 2
    t.h5("embeddings.h5", {"embeddings": rows, "ids": [f"r{i}" for i in range(200)]})
    follow(t, "One of every group of near duplicates")
    with h5py.File(t.path("unique.h5")) as f:
        t.check(len(f["embeddings"]) == 190 and len(f["ids"]) == 190, f"{len(f['ids'])} rows")
