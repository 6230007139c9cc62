"""The form of the values: similarities instead of distances, float64 instead of float32."""

import h5py
import numpy as np

import oracle
from support import first_difference, number, same_bits

FORMS = (
    ([], "distance", np.float32),
    (["--similarity"], "similarity", np.float32),
    (["--float64"], "distance", np.float64),
    (["--similarity", "--float64"], "similarity", np.float64),
)


def stored(value, dtype):
    """A float64 as a result holds it; -0 counts as +0."""
    with np.errstate(all="ignore"):
        return (np.asarray(value, dtype=np.float64) + 0.0).astype(dtype)


def read(path):
    with h5py.File(path, "r") as f:
        arrays = {}
        f.visititems(
            lambda name, item: arrays.__setitem__(name, item[()])
            if isinstance(item, h5py.Dataset) else None
        )
        pairs = dict(f["pairs"].attrs) if "pairs" in f else {}
        return arrays, dict(f.attrs), pairs


def same(t, label, got, want):
    if not same_bits(got, want):
        t.check(False, f"{label}: {first_difference(got, want)}")


def matching(what, metric):
    return what == "distance" or metric in ("cosine", "ip")


def data(t):
    base, queries = t.gaussian(70, 11, np.float64), t.gaussian(9, 11, np.float64)
    base[3, 4] = np.nan  # fewer rows than k: padding
    queries[2, 0] = np.inf
    queries[5] = 0
    base[7] = queries[1]
    return base, queries


def test_nearest(t):
    base, queries = data(t)
    path = t.two_sets(base, queries)
    k = 75
    for metric in oracle.METRICS:
        score, key = oracle.scores(queries, base, metric)
        answers = oracle.answer(queries, base, metric, k=k)
        for options, what, dtype in FORMS:
            label = f"{metric} {options}"
            if not matching(what, metric):
                t.fails(64, "--similarity", *options, "--metric", metric, path, t.path("no.h5"))
                continue
            out = t.path("out.h5")
            t.succeeds("--force", "-k", k, "--metric", metric, *options, path, out)
            arrays, attributes, _ = read(out)
            name, other = "distances", "similarities"
            worst = np.inf
            if what == "similarity":
                name, other, worst = other, name, -np.inf
            want = np.full((len(queries), k), worst, dtype=dtype)
            for i, rows in enumerate(answers.rows):
                want[i, : len(rows)] = stored((score if what == "similarity" else key)[i, rows], dtype)
            same(t, f"{label} {name}", arrays.get(name), want)
            same(t, f"{label} neighbors", arrays.get("neighbors"), answers.padded(k)[0])
            t.check(other not in arrays, f"{label}: {other} too")
            t.check(attributes.get("values") == what, f"{label}: {attributes}")
            run = t.run("verify", "--full", path, out)
            t.check(run.code == 0, f"{label}: {run} {run.out}")


def test_pairs(t):
    base, queries = data(t)
    path = t.two_sets(base, queries)
    for metric, limit in (("cosine", 0.8), ("ip", 0.5), ("l2", 4.0)):
        score, key = oracle.scores(queries, base, metric)
        answers = oracle.answer(queries, base, metric, max_distance=limit)
        t.check(0 < answers.counts().sum() < 600, "test data decide nothing")
        for options, what, dtype in FORMS:
            if not matching(what, metric):
                continue
            label = f"{metric} {options}"
            out = t.path("out.h5")
            t.succeeds("--force", "--max-distance", number(limit), "--metric", metric, *options,
                       path, out)
            arrays, attributes, pairs = read(out)
            values = np.concatenate(
                [(score if what == "similarity" else key)[i, rows]
                 for i, rows in enumerate(answers.rows)]
            )
            same(t, f"{label} data", arrays.get("pairs/data"), stored(values, dtype))
            same(t, f"{label} indices", arrays.get("pairs/indices"), answers.csr()[1])
            t.check(attributes.get("values") == what and pairs.get("values") == what,
                    f"{label}: {attributes} {pairs}")
            run = t.run("verify", "--full", path, out)
            t.check(run.code == 0, f"{label}: {run} {run.out}")


def test_form_is_part_of_the_job(t):
    path = t.h5("one.h5", {"x": t.gaussian(20, 6)})
    out = t.path("out.h5")
    t.succeeds("--similarity", path, out)
    run = t.succeeds("--similarity", path, out)
    t.check("up to date" in run.err.lower(), run)
    for other in ([], ["--float64"], ["--similarity", "--float64"]):
        t.fails(73, ["out.h5", "--force"], *other, path, out)


def test_verify_finds_a_wrong_value(t):
    base, queries = t.gaussian(50, 7), t.gaussian(6, 7)
    path = t.two_sets(base, queries, metric="angular")
    out = t.path("out.h5")
    for options, name, bad in (
        (["--similarity"], "similarities", 1e-4),
        (["--float64"], "distances", 1e-9),
        (["--similarity", "--float64"], "similarities", 1e-9),
        (["--float64"], "distances", np.nan),
    ):
        t.succeeds("--force", *options, path, out)
        t.check(t.run("verify", "--full", path, out).code == 0, f"{options}: refused when right")
        with h5py.File(out, "r+") as f:
            f[name][3, 9] = f[name][3, 9] + (bad if name == "distances" else -bad)
        run = t.run("verify", "--full", path, out)
        t.check(run.code == 1, f"{options} {bad}: not found: {run}")


def test_show(t):
    base, queries = t.gaussian(30, 7), t.gaussian(4, 7)
    path = t.two_sets(base, queries, metric="angular")
    out = t.path("out.h5")
    t.succeeds("--similarity", "--float64", "-k", "3", path, out)
    run = t.run("show", "--tsv", out)
    lines = run.out.splitlines()
    t.check(lines[0].split("\t")[-1] == "similarity", lines[0])
    shown = np.array([float(line.split("\t")[-1]) for line in lines[1:]]).reshape(4, 3)
    with h5py.File(out, "r") as f:
        t.check((shown == f["similarities"][()]).all(), "show rounds float64")
    run = t.run("show", out)
    t.check("cosine similarity" in run.out and "distance" not in run.out, run.out)
