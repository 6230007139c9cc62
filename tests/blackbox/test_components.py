"""Duplicate groups: --components."""

import json

import h5py
import numpy as np

import oracle
from support import first_difference, kernel_sets, number, same_bits


def expected(base, metric, base_rows=None, subset=None, groups=None, **limits):
    """(component, keep): the lowest row that a chain of pairs leads to."""
    first, last = base_rows or (0, len(base))
    options = {"base_rows": (first, last), "query_rows": (first, last), "self_job": True}
    if groups is not None:
        options.update(base_groups=groups, query_groups=groups)
    found = oracle.answer(base, base, metric, subset=subset, **options, **limits)
    component = np.arange(first, last)
    taking_part = np.ones(len(base), bool) if subset is None else np.isin(np.arange(len(base)), subset)
    changed = True
    while changed:
        changed = False
        for q in range(first, last):
            if not taking_part[q]:
                continue
            for r in found.rows[q - first]:
                low = min(component[q - first], component[r - first])
                if component[q - first] != low or component[r - first] != low:
                    component[q - first] = component[r - first] = low
                    changed = True
    return component.astype(np.int64), component == np.arange(first, last)


def read(path):
    with h5py.File(path, "r") as f:
        return f["component"][()], f["keep"][()], sorted(f)


def compare(t, label, out, wanted):
    component, keep, _ = read(out)
    if not same_bits(component, wanted[0]):
        t.check(False, f"{label}: {first_difference(component, wanted[0])}")
    t.check(keep.dtype == bool, f"{label}: keep is {keep.dtype}")
    t.check((keep == wanted[1]).all(), f"{label}: keep")


def clustered(t, rows, dim, centres, spread=0.25):
    points = t.gaussian(centres, dim)
    base = (points[t.random.integers(0, centres, rows)] + spread * t.gaussian(rows, dim)).astype("f4")
    base[rows // 2 : rows // 2 + 5] = base[3]
    base[7, 0] = np.nan
    base[11] = 0
    return base


def test_against_the_oracle(t):
    base = clustered(t, 250, 8, 80)
    rows = t.random.permutation(250)[:130]
    own = t.random.integers(-1, 12, 250)
    path = t.h5("in.h5", {"x": base, "rows": rows, "own": own})
    out = t.path("out.h5")
    for metric, limit in (("cosine", 0.05), ("l2", 0.8), ("ip", -9.0), ("l1", 1.8)):
        for label, extra, options in (
            ("all", [], {}),
            ("range", ["--base-rows=13:237"], {"base_rows": (13, 237)}),
            ("subset", ["--subset=rows"], {"subset": rows}),
            ("groups", ["--exclude-same=own"], {"groups": own}),
            ("both", ["--subset=rows", "--exclude-same=own"], {"subset": rows, "groups": own}),
        ):
            arguments = ["--components", "--metric", metric, f"--max-distance={number(limit)}"]
            t.succeeds("--force", *arguments, *extra, path, out)
            compare(t, f"{metric} {label}", out, expected(base, metric, max_distance=limit, **options))
            run = t.run("verify", "--full", path, out)
            t.check(run.code == 0, f"{metric} {label}: {run} {run.out}")
    t.succeeds("--force", "--components", "--min-similarity=0.9", "--compress=6", path, out)
    compare(t, "similarity", out, expected(base, "cosine", min_similarity=0.9))


def test_dtypes(t):
    base = t.random.integers(0, 3, (300, 6))
    for dtype in ("i1", "f8", "f2"):
        path = t.h5("in.h5", {"x": base.astype(dtype)})
        t.succeeds("--force", "--components", "--metric=l2", "--max-distance=1", path, t.path("out.h5"))
        compare(t, dtype, t.path("out.h5"), expected(base, "l2", max_distance=1.0))


def test_extremes(t):
    line = np.arange(3000, dtype="f4")[:, None] * np.float32(0.5)
    shuffled = line[t.random.permutation(3000)]
    same = np.ones((3000, 4), "f4")
    out = t.path("out.h5")
    for label, base in (("a chain", line), ("a shuffled chain", shuffled), ("all alike", same)):
        path = t.h5("in.h5", {"x": base})
        t.succeeds("--force", "--components", "--metric=l2", "--max-distance=0.5", path, out)
        component, keep, _ = read(out)
        t.check((component == 0).all() and keep.sum() == 1, f"{label}: {component[:9]}")
        t.succeeds("--force", "--components", "--metric=l2", "--max-distance=-1", path, out)
        component, keep, _ = read(out)
        t.check((component == np.arange(3000)).all() and keep.all(), f"{label}: no pairs")
    path = t.h5("in.h5", {"x": np.empty((0, 4), "f4")})
    t.succeeds("--force", "--components", "--max-distance=0.5", path, out)
    t.check(len(read(out)[0]) == 0, "no rows")


def test_same_bytes(t):
    base = clustered(t, 3000, 24, 900, 0.4)
    path = t.h5("in.h5", {"x": base, "ids": [f"r{i}" for i in range(3000)]})
    variants = [["--threads", n] for n in (1, 2, 3, 4)]
    variants += [["--filter", name] for name in ("canonical", "f32", "int")]
    variants += [["--isa", name, "--threads=3"] for name in kernel_sets(t)]
    for limit in (0.05, 0.2, 0.6):
        reference = None
        for extra in variants:
            out = t.path("out.h5")
            t.succeeds("--force", "--components", f"--max-distance={limit}", *extra, path, out)
            with open(out, "rb") as f:
                got = f.read()
            reference = reference or got
            t.check(got == reference, f"{limit}: {extra} gives other bytes")


def test_errors_and_reports(t):
    base = clustered(t, 200, 6, 50)
    path = t.h5("in.h5", {"x": base, "ids": [f"r{i}" for i in range(200)]})
    two = t.two_sets(base, base[:20], metric="euclidean")
    out, stats = t.path("out.h5"), t.path("stats.json")
    common = ["--components", "--max-distance=0.05"]
    t.fails(64, "one set", *common, two, out)
    t.fails(64, "exclude", *common, "--query-rows=0:9", path, out)
    t.fails(64, "exclude", *common, "--queries=x", path, out)
    run = t.run(*common, "--stats", stats, path, out)
    t.check(run.code == 0 and "chains" in run.err, run)
    component, keep, names = read(out)
    t.check(names == ["base_ids", "component", "keep", "query_ids"], names)
    sizes = np.bincount(component, minlength=200)
    with open(stats, encoding="utf-8") as f:
        said = json.load(f)
    wanted = {"result": "components", "kept_rows": int(keep.sum()),
              "groups": int((sizes > 1).sum()), "largest_group": int(sizes.max())}
    t.check({k: said.get(k) for k in wanted} == wanted, f"{said}, expected {wanted}")
    t.check("up to date" in t.run(*common, path, out).err, "run again")
    run = t.run("show", "--tsv", "-n", "200", out)
    lines = [line.split("\t") for line in run.out.splitlines()][1:]
    t.check([int(line[2]) for line in lines] == component.tolist(), run)
    largest = int(sizes.argmax())
    run = t.run("show", "-n", "1", out)
    t.check(f"group {largest}: {sizes[largest]} rows" in run.out, run.out)
    run = t.run("show", out, f"r{largest}")
    members = [f"row {r}: r{r}" for r in np.flatnonzero(component == largest)]
    t.check([line.strip() for line in run.out.splitlines()[4:]] == members, run.out)


def test_verify_finds_errors(t):
    base = clustered(t, 300, 6, 60, 0.1)
    path, out = t.h5("in.h5", {"x": base}), t.path("out.h5")
    t.succeeds("--components", "--metric=l2", "--max-distance=0.4", path, out)
    component, keep, _ = read(out)
    pair = np.flatnonzero(np.bincount(component, minlength=300) > 1)[0]
    member = np.flatnonzero(component == pair)[1]
    alone = np.flatnonzero(np.bincount(component, minlength=300) == 1)[-1]
    wrong = {
        "split": (member, member, True),
        "joined": (alone, pair if pair < alone else 0, False),
        "mark": (member, component[member], True),
    }
    for label, (row, value, kept) in wrong.items():
        with h5py.File(out, "a") as f:
            f["component"][...] = component
            f["keep"][...] = keep
            f["component"][row] = value
            f["keep"][row] = kept
        run = t.run("verify", "--full", path, out)
        t.check(run.code == 1, f"{label}: {run} {run.out}")
    joined = component.copy()  # two whole groups made one: each pair fits, no chain connects them
    groups = np.flatnonzero(np.bincount(component, minlength=300) > 1)
    joined[component == groups[1]] = groups[0]
    with h5py.File(out, "a") as f:
        f["component"][...] = joined
        f["keep"][...] = joined == np.arange(300)
    run = t.run("verify", "--full", path, out)
    t.check(run.code == 1, f"two groups as one: {run} {run.out}")
