"""verify: recall of a result against the neighbours that its input holds, and what explains it."""

import h5py
import numpy as np

import oracle

K = 5


def make(t):
    """A file with its truth: neighbours and distances under l2."""
    base, queries = t.gaussian(80, 6), t.gaussian(12, 6)
    base[40:] = base[:40]  # every neighbour has a twin at the same distance
    truth = oracle.answer(queries, base, "l2", k=K)
    path = t.path("truth.h5")
    with h5py.File(path, "w") as f:
        f["train"], f["test"] = base, queries
        f.attrs["distance"] = "euclidean"
        f["neighbors"] = np.array([list(rows) for rows in truth.rows], np.int32)
        f["distances"] = np.array([list(keys) for keys in truth.keys], np.float32)
    return path


def recall(t, path, *options):
    t.succeeds("--force", "-k", K, *options, path, t.path("out.h5"))
    run = t.run("verify", path, t.path("out.h5"))
    t.check(run.code == 0, f"verify: {run}")
    return run.out


def test_the_same(t):
    out = recall(t, make(t))
    t.check("1.000000 by row, 1.000000 by distance" in out and "others" not in out, out)


def test_ties(t):
    """Five rows: two pairs of twins and one of a third pair. The truth may hold the other one."""
    path = make(t)
    with h5py.File(path, "r+") as f:
        neighbors = f["neighbors"][:]
        neighbors[:, -1] = (neighbors[:, -1] + 40) % 80
        f["neighbors"][...] = neighbors
    out = recall(t, path)
    t.check("0.800000 by row, 1.000000 by distance" in out, out)
    t.check("others      12 as far" in out and " 0 nearer" in out and " 0 farther" in out, out)
    t.check("another metric" not in out, out)


def test_misses_and_errors(t):
    path = make(t)
    with h5py.File(path, "r+") as f:
        neighbors, distances = f["neighbors"][:], f["distances"][:]
        neighbors[:2, 0], distances[:2, -1] = 79, distances[:2, -1] * 2
        neighbors[2, -1], distances[2, -1] = 78, distances[2, -1] / 2
        f["neighbors"][...], f["distances"][...] = neighbors, distances
    out = recall(t, path)
    t.check(" 2 nearer" in out and " 1 farther: errors" in out and "others      0" in out, out)


def test_another_metric(t):
    t.check("another metric" in recall(t, make(t), "--metric", "cosine"), "metric")


def test_without_distances(t):
    path = make(t)
    with h5py.File(path, "r+") as f:
        del f["distances"]
    out = recall(t, path)
    t.check("1.000000 by row" in out and "by distance" not in out, out)
