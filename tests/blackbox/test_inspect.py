"""What inspect tells of the sets: the decision, the others, a sample."""

import os
import re

import h5py
import numpy as np

from anndata_files import modern


def line(run, start):
    return next((text for text in run.out.splitlines() if text.startswith(start)), "")


def test_sample(t):
    rows = t.gaussian(50, 6)
    rows[3] = rows[40]
    rows[7] = 0
    rows[9, 2] = np.nan
    path = t.h5("x.h5", {"x": rows})
    run = t.run("inspect", path)
    text = line(run, "sample")
    for part in ("50 rows", "1 with NaN", "1 all zero", "1 equal"):
        t.check(part in text, f"{part}: {text}")
    norms = np.sort(np.linalg.norm(np.delete(rows, 9, axis=0).astype(np.float64), axis=1))
    for value in (norms[0], norms[-1], norms[len(norms) // 2]):
        t.check(f"{value:.6g}" in text, f"{value:.6g}: {text}")
    t.check("the only two-dimensional" in line(run, "layout"), line(run, "layout"))


def test_large_sample(t):
    """Blocks spread over the rows, the last one too."""
    rows = np.ones((20_000, 3), np.float32)
    rows[-1] = [3, 4, 12]
    run = t.run("inspect", t.h5("x.h5", {"x": rows}))
    text = line(run, "sample")
    t.check("4,096 rows" in text and "to 13," in text, text)


def test_bits(t):
    rows = np.zeros((20, 30), bool)
    rows[:, :4] = True
    run = t.run("inspect", t.h5("x.h5", {"x": rows}))
    t.check("ones in a row 4 to 4" in line(run, "sample"), run.out)


def test_others(t):
    path = modern(
        t.path("a.h5ad"),
        [f"c{i}" for i in range(9)],
        {"X_pca": t.gaussian(9, 4), "X_umap": t.gaussian(9, 2)},
        x=t.gaussian(9, 5),
    )
    run = t.run("inspect", path)
    t.check("obsm/X_pca comes first" in line(run, "layout"), run.out)
    t.check("/X, /obsm/X_umap" in line(run, "others"), run.out)
    run = t.run("inspect", "--base", "X", path)
    t.check("--base" in line(run, "layout"), run.out)


def test_unreadable(t):
    """A sample that cannot be read is the error that the job would have."""
    rows = np.zeros((4, 3), np.int64)
    rows[2, 1] = 2**60
    run = t.run("inspect", t.h5("x.h5", {"x": rows}))
    t.check(run.code == 65 and "row 2" in run.err, f"{run}")


def test_vectors_are_listed(t):
    """However many other datasets come before them."""
    path = t.path("many.h5")
    with h5py.File(path, "w") as f:
        for i in range(60):
            f[f"a/{i:02d}"] = np.arange(i + 1)
        f["vectors"] = t.gaussian(20, 6)
        f["z"] = np.arange(3)
    out = t.run("inspect", path).out
    t.check("  /vectors " in out and "  /z " not in out and "and 21 more" in out, out)
    t.check("  /z " in t.run("inspect", "-v", path).out, "-v")


def test_ids_that_are_not_clear(t):
    rows = t.gaussian(20, 6)
    names = [f"row {i}" for i in range(20)]
    path = t.h5("x.h5", {"x": rows, "bar": names, "foo": names, "other": names[:7]})
    text = line(t.run("inspect", path), "base")
    t.check("no ids" in text and "--ids" in text and "/bar" in text, text)
    t.check("--ids" not in line(t.run("inspect", "--ids", "foo", path), "base"), "named")


def test_external_links_are_named(t):
    """They are not followed; the file that they lead into is said."""
    t.h5("elsewhere.h5", {"x": t.gaussian(20, 6)})
    path = t.path("link.h5")
    with h5py.File(path, "w") as f:
        f["v"] = h5py.ExternalLink("elsewhere.h5", "/x")
    parts = ["/v", "elsewhere.h5::/x", "not followed"]
    t.fails(64, parts, path, t.path("out.h5"))
    t.fails(66, parts, "--base", "v", path, t.path("out.h5"))
    run = t.run("inspect", path)
    t.check(all(part in run.out for part in parts), run.out)


def seconds(text):
    found = re.match(r"time +(?:about|at least) ([0-9.e+-]+) (s|min|h) \(", text)
    return float(found[1]) if found else 0


def test_time(t):
    """How long it takes is said for every kind of answer; how right it is depends on the machine."""
    path = t.h5("x.h5", {"x": t.gaussian(3000, 40)})
    before = sorted(os.listdir(os.path.dirname(path)))
    for options in (
        ["-k", "5"],
        ["-k", "2000", "--filter", "int"],
        ["--metric", "l1"],
        ["--metric", "ip", "-k", "9"],
        ["--min-similarity", "0.7"],
        ["--min-similarity", "0.7", "-k", "3"],
        ["--components", "--max-distance", "0.3"],
        ["--all"],
        ["--filter", "prefix"],
        ["--memory", "64M"],
    ):
        run = t.run("inspect", *options, path)
        text = line(run, "time")
        t.check(seconds(text) > 0, f"{options}: {text}")
    t.check(sorted(os.listdir(os.path.dirname(path))) == before, "files were written")


def test_time_of_bits(t):
    rows = t.gaussian(3000, 64) > 0
    run = t.run("inspect", "--metric", "hamming", t.h5("x.h5", {"x": rows}))
    t.check(seconds(line(run, "time")) > 0, run.out)


def test_time_of_little(t):
    """Nothing is measured where nothing takes long."""
    run = t.run("inspect", t.h5("x.h5", {"x": t.gaussian(50, 6)}))
    t.check(line(run, "time") == "time     under a second", run.out)
