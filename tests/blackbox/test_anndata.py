"""AnnData files: what is searched when nothing is said, what options say, what is refused."""

import h5py
import numpy as np

import oracle
from anndata_files import legacy, modern, sparse

NAMES = [f"CELL-{i}\u00e9" for i in range(30)]


def self_answers(rows, metric="l2", k=3):
    return oracle.answer(rows, rows, metric, k=k, self_job=True)


def expect(t, label, path, rows, *options, ids=True, metric="l2"):
    result = t.job("-k", 3, *options, path)
    t.compare(label, result, self_answers(rows, metric), 3)
    wanted = np.array([n.encode() for n in NAMES])
    for got in (result.query_ids, result.base_ids):
        if ids:
            t.check(got is not None and (got == wanted).all(), f"{label}: ids {got!r}")
        else:
            t.check(got is None, f"{label}: ids from nowhere")


def test_pca_first(t):
    pca, umap = t.gaussian(30, 7), t.gaussian(30, 2, np.float64)
    for encoding in (True, False):
        for index in ("_index", "cell ID", "barcodes"):
            path = modern(
                t.path("a.h5ad"),
                NAMES,
                {"X_pca": pca, "X_umap": umap, "X_a": umap, "spatial": umap},
                x=t.gaussian(30, 4),
                index=index,
                encoding=encoding,
            )
            expect(t, f"default, index {index}", path, pca)
            expect(t, "X_umap", path, umap, "--base", "obsm/X_umap")
            expect(t, "metric", path, pca, "--metric", "cosine", metric="cosine")


def test_metric_is_told(t):
    path = modern(t.path("a.h5ad"), NAMES, {"X_pca": t.gaussian(30, 7)})
    run = t.succeeds("--force", path, t.path("out.h5"))
    t.check("l2 (AnnData)" in run.err, f"metric and reason: {run}")


def test_no_pca(t):
    rows, other = t.gaussian(30, 5), t.gaussian(30, 2)
    x = t.gaussian(30, 4)
    path = modern(t.path("one.h5ad"), NAMES, {"X_scVI": rows, "spatial": other}, x="sparse")
    expect(t, "the only X_*", path, rows)
    path = modern(t.path("two.h5ad"), NAMES, {"X_scVI": rows, "X_umap": other}, x=x)
    t.fails(
        64, ["obsm/X_scVI", "obsm/X_umap", "--base", "and X itself"], path, t.path("out.h5")
    )
    expect(t, "chosen", path, other, "--base", "obsm/X_umap")
    path = modern(t.path("spatial.h5ad"), NAMES, {"spatial": other}, x=x)
    t.fails(64, ["obsm/spatial", "--base"], path, t.path("out.h5"))


def test_x(t):
    x = t.gaussian(30, 4)
    path = modern(t.path("x.h5ad"), NAMES, {}, x=x)
    expect(t, "X is all there is", path, x)
    path = modern(t.path("both.h5ad"), NAMES, {"X_pca": t.gaussian(30, 3)}, x=x)
    expect(t, "X on request", path, x, "--base", "X")
    path = modern(t.path("none.h5ad"), NAMES, {})
    t.fails(64, ["AnnData", "--base"], path, t.path("out.h5"))


def test_sparse_x(t):
    path = modern(t.path("s.h5ad"), NAMES, {}, x="sparse")
    t.fails(64, ["sparse", "toarray"], path, t.path("out.h5"))
    for name in ("X", "/X", "raw/X"):
        t.fails(65, ["sparse", name], "--base", name, path, t.path("out.h5"))
    path = modern(t.path("p.h5ad"), NAMES, {"X_pca": t.gaussian(30, 3)}, x="sparse")
    t.fails(65, ["sparse", "X"], "--base", "X", path, t.path("out.h5"))
    with h5py.File(path, "a") as f:
        sparse(f, "obsm/X_counts", 30, 9)
    expect(t, "a sparse member of obsm", path, h5py.File(path, "r")["obsm/X_pca"][()])


def test_table_in_obsm(t):
    """A DataFrame is a group with a dataset for each column; X does not silently stand in for it."""
    x = t.gaussian(30, 4)
    path = modern(t.path("t.h5ad"), NAMES, {}, x=x)
    with h5py.File(path, "a") as f:
        f["obsm/X_pca/_index"] = NAMES
        for name in "abc":
            f["obsm/X_pca/" + name] = t.gaussian(30, 1)[:, 0]
    t.fails(64, ["obsm/X_pca", "table", "it has X"], path, t.path("out.h5"))
    for name in ("obsm/X_pca", "/obsm/X_pca", f"{path}::obsm/X_pca"):
        t.fails(65, ["obsm/X_pca", "table"], "--base", name, path, t.path("out.h5"))
    expect(t, "chosen", path, x, "--base", "X")


def test_legacy(t):
    pca, umap = t.gaussian(30, 7), t.gaussian(30, 2, np.float64)
    half = t.gaussian(30, 3).astype(np.float16)
    big = t.gaussian(30, 5).astype(">f4")
    counts = t.random.integers(-100, 100, (30, 4)).astype(np.int8)
    sets = {"X_umap": umap, "X_pca": pca, "X_half": half, "X_big": big, "X_counts": counts}
    for storage in ({}, {"compression": "gzip", "chunks": (7,)}, {"shuffle": True, "chunks": (44,)}):
        if storage.get("chunks", (0,))[0] > 30:
            storage["maxshape"] = (None,)
        path = legacy(t.path("old.h5ad"), NAMES, sets, x=t.gaussian(30, 4), **storage)
        expect(t, f"default {storage}", path, pca)
        for name, rows in sets.items():
            expect(t, name, path, rows, "--base", f"obsm/{name}")
    path = legacy(t.path("only.h5ad"), NAMES, {"X_diffmap": umap})
    expect(t, "the only member", path, umap)
    path = legacy(t.path("two.h5ad"), NAMES, {"X_a": umap, "X_b": pca})
    t.fails(64, ["obsm/X_a", "obsm/X_b", "--base"], path, t.path("out.h5"))
    t.fails((65, 66), "obsm", "--base", "obsm", path, t.path("out.h5"))
    t.fails(66, "X_c", "--base", "obsm/X_c", path, t.path("out.h5"))


def test_compound_elsewhere(t):
    """A table of ids and vectors is a set as well."""
    rows = t.gaussian(30, 6)
    table = np.zeros(30, [("id", "S40"), ("vector", "<f4", (6,)), ("n", "<i8")])
    table["vector"] = rows
    table["id"] = [n.encode() for n in NAMES]
    path = t.h5("table.h5", {"items": table})
    expect(t, "table", path, rows, metric="cosine")
    expect(t, "named", path, rows, "--base", "items/vector", metric="cosine")
    expect(t, "--ids", path, rows, "--ids", "items/id", metric="cosine")


def test_row_ranges(t):
    pca = t.gaussian(30, 7)
    for write in (modern, legacy):
        path = write(t.path("a.h5ad"), NAMES, {"X_pca": pca})
        t.exact(
            write.__name__, [path], pca, pca, "l2", k=4, base_rows=(3, 21), query_rows=(5, 30),
            self_job=True,
        )


def test_two_files(t):
    """Queries of one study against cells of another."""
    base, queries = t.gaussian(30, 7), t.gaussian(11, 7)
    reference = modern(t.path("ref.h5ad"), NAMES, {"X_pca": base})
    ours = modern(t.path("ours.h5ad"), [f"q{i}" for i in range(11)], {"X_pca": queries})
    result = t.job("-k", 3, "--base", reference, ours)
    t.compare("two files", result, oracle.answer(queries, base, "l2", k=3), 3)
    t.check(result.query_ids[10] == b"q10", f"query ids {result.query_ids}")
    wrong = modern(t.path("wrong.h5ad"), NAMES, {"X_pca": t.gaussian(30, 6)})
    t.fails(65, ["dimensions", "7", "6"], "--base", wrong, ours, t.path("out.h5"))


def test_no_index(t):
    """obs without `_index`, or with one that names nothing: no ids, and no harm."""
    pca = t.gaussian(30, 7)
    path = modern(t.path("a.h5ad"), NAMES, {"X_pca": pca}, index="lost")
    with h5py.File(path, "a") as f:
        del f["obs/lost"]
    expect(t, "names nothing", path, pca, ids=False)
    with h5py.File(path, "a") as f:
        f["obs"].attrs["_index"] = 5
        f["obs/_index"] = NAMES
    expect(t, "a number", path, pca)


def test_many_datasets(t):
    """More datasets than are listed: those that decide are found all the same."""
    pca = t.gaussian(30, 7)
    path = modern(t.path("a.h5ad"), NAMES, {"X_pca": pca}, index="zzz")
    with h5py.File(path, "a", libver="latest") as f:
        for i in range(5000):
            f.create_dataset(f"obs/aaa/{i}", data=np.int8(1))
    expect(t, "crowded", path, pca)
