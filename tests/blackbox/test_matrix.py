"""--all and --pairwise: a value for every pair asked about, NaN where a row is not finite."""

import hashlib
import json
import os

import h5py
import numpy as np

import oracle
from support import Result, Skip, first_difference, kernel_sets, same_bits

NUMBER_METRICS = ("cosine", "ip", "l2", "sqeuclidean", "l1")


def values(queries, base, metric, similarity=False, dtype=np.float32):
    """The whole matrix as a result holds it."""
    score, key = oracle.scores(queries, base, metric)
    with np.errstate(all="ignore"):
        matrix = ((score if similarity else key) + 0.0).astype(dtype)
        matrix[~oracle.finite_rows(oracle.widen(queries)), :] = np.nan
        matrix[:, ~oracle.finite_rows(oracle.widen(base))] = np.nan
    return matrix


def run(t, *arguments, name="distances", out="out.h5"):
    t.succeeds("--force", *arguments, t.path(out))
    with h5py.File(t.path(out), "r") as f:
        t.check("neighbors" not in f and "pairs" not in f, f"more than asked for: {list(f)}")
        t.check(name in f, f"no {name}: {list(f)}")
        return f[name][()] if name in f else np.empty(0), dict(f.attrs)


def same(t, label, got, want):
    if not same_bits(got, want):
        t.check(False, f"{label}: {first_difference(got, want)}")


def digest(path):
    with open(path, "rb") as f:
        return hashlib.sha256(f.read()).hexdigest()


def odd_sets(t, dtype=np.float32, rows=(83, 19), dim=13):
    base, queries = t.gaussian(rows[0], dim, dtype), t.gaussian(rows[1], dim, dtype)
    base[3, 4], base[7], base[-1, 0] = np.nan, queries[1], -np.inf
    queries[2, 0], queries[5] = np.inf, 0
    return base, queries


def test_all(t):
    for dtype in (np.float32, np.float64):
        base, queries = odd_sets(t, dtype)
        path = t.two_sets(base, queries)
        for metric in NUMBER_METRICS:
            got, attributes = run(t, "--all", "--metric", metric, path)
            same(t, f"{metric} {dtype}", got, values(queries, base, metric))
            t.check(attributes.get("answer") == "dense" and attributes.get("values") == "distance",
                    attributes)
            t.check("k" not in attributes, attributes)
            verify = t.run("verify", "--full", path, t.path("out.h5"))
            t.check(verify.code == 0, f"{metric}: {verify} {verify.out}")


def test_all_forms(t):
    base, queries = odd_sets(t)
    path = t.two_sets(base, queries)
    for metric in NUMBER_METRICS:
        got, _ = run(t, "--all", "--float64", "--metric", metric, path)
        same(t, f"{metric} float64", got, values(queries, base, metric, dtype=np.float64))
    for metric in ("cosine", "ip"):
        got, _ = run(t, "--all", "--similarity", "--metric", metric, path, name="similarities")
        same(t, f"{metric} similarity", got, values(queries, base, metric, True))
        verify = t.run("verify", "--full", path, t.path("out.h5"))
        t.check(verify.code == 0, f"{metric}: {verify} {verify.out}")
    t.fails(64, "--similarity", "--all", "--similarity", "--metric", "l2", path, t.path("no.h5"))


def test_all_of_one_set(t):
    rows = t.gaussian(70, 9)
    path = t.h5("one.h5", {"x": rows, "ids": [f"row {i}" for i in range(70)]})
    for metric in ("cosine", "l2", "l1"):
        got, attributes = run(t, "--all", "--metric", metric, path)
        same(t, metric, got, values(rows, rows, metric))
        t.check((np.diag(got) == 0).all(), f"{metric}: a row is not at distance 0 from itself")
        t.check((got == got.T).all(), f"{metric}: not symmetric")
        t.check(int(attributes["self"]) == 1, attributes)
    result = Result(t.path("out.h5"))
    t.check(list(result.base_ids) == list(result.query_ids), "ids differ")
    t.check(result.base_ids[69] == b"row 69", result.base_ids[69])


def test_row_ranges(t):
    base, queries = odd_sets(t)
    path = t.two_sets(base, queries)
    got, attributes = run(t, "--all", "--metric", "l2", "--base-rows", "2:40", "--query-rows", "1:9",
                          path)
    same(t, "ranges", got, values(queries[1:9], base[2:40], "l2"))
    t.check(list(attributes["base_rows"]) == [2, 40], attributes)
    verify = t.run("verify", "--full", path, t.path("out.h5"))
    t.check(verify.code == 0, f"{verify} {verify.out}")
    got, _ = run(t, "--pairwise", "--metric", "l2", "--base-rows", "2:20", "--query-rows", "1:19",
                 path)
    same(t, "row by row", got, np.diag(values(queries[1:19], base[2:20], "l2")).copy())
    verify = t.run("verify", "--full", path, t.path("out.h5"))
    t.check(verify.code == 0, f"{verify} {verify.out}")


def test_small_and_empty(t):
    for rows, queries, dim in ((1, 1, 1), (1, 3, 0), (0, 4, 5), (4, 0, 5), (0, 0, 3), (130, 2, 31)):
        base, asked = t.gaussian(rows, dim), t.gaussian(queries, dim)
        path = t.two_sets(base, asked)
        for compress in (0, 4):
            got, _ = run(t, "--all", "--metric", "cosine", "--compress", compress, path)
            same(t, f"{queries} x {rows} x {dim}", got, values(asked, base, "cosine"))
            verify = t.run("verify", "--full", path, t.path("out.h5"))
            t.check(verify.code == 0, f"{queries} x {rows}: {verify} {verify.out}")
            t.check(t.run("show", t.path("out.h5")).code == 0, f"show {queries} x {rows}")


def test_same_bytes(t):
    base, queries = odd_sets(t, rows=(700, 90), dim=37)
    path = t.two_sets(base, queries)
    for kind in (["--all"], ["--pairwise", "--base-rows", "0:90"]):
        for form in ([], ["--compress", "3"], ["--float64", "--similarity"]):
            seen = set()
            for isa in kernel_sets(t):
                for threads in (1, 2, 5):
                    t.succeeds("--force", *kind, *form, "--metric", "cosine", "--isa", isa,
                               "--threads", threads, path, t.path("out.h5"))
                    seen.add(digest(t.path("out.h5")))
            t.succeeds("--force", *kind, *form, "--metric", "cosine", "--filter", "int", path,
                       t.path("out.h5"))
            seen.add(digest(t.path("out.h5")))
            t.check(len(seen) == 1, f"{kind} {form}: {len(seen)} different files")
            run_again = t.succeeds(*kind, *form, "--metric", "cosine", path, t.path("out.h5"))
            t.check("up to date" in run_again.err.lower(), f"{kind} {form}: {run_again}")


def test_pairwise(t):
    for left_type, right_type in ((np.float32, np.float32), (np.float64, np.float32)):
        left, right = odd_sets(t, left_type)[0], odd_sets(t, right_type)[0]
        right[11] = left[11]
        path = t.h5("two.h5", {"a": left, "b": right})
        for metric in NUMBER_METRICS:
            got, attributes = run(t, "--pairwise", "--queries", "a", "--base", "b",
                                  "--metric", metric, path)
            same(t, metric, got, np.diag(values(left, right, metric)).copy())
            t.check(attributes.get("answer") == "pairwise", attributes)
            verify = t.run("verify", "--full", path, t.path("out.h5"))
            t.check(verify.code == 0, f"{metric}: {verify} {verify.out}")
        got, _ = run(t, "--pairwise", "--queries", "a", "--base", "b", "--similarity", "--float64",
                     path, name="similarities")
        same(t, "similarity", got,
             np.diag(values(left, right, "cosine", True, np.float64)).copy())


def test_pairwise_in_slabs(t):
    """More rows than are in memory at a time, stored differently on both sides."""
    left, right = t.gaussian(9000, 1100), t.gaussian(9000, 1100)
    left[8500, 3] = np.nan
    path = t.h5("two.h5", {"a": left, "b": (right, {"chunks": (700, 1100), "compression": 1})})
    got, _ = run(t, "--pairwise", "--queries", "a", "--base", "b", "--metric", "l2", path)
    wanted = np.linalg.norm(left.astype(float) - right, axis=1)
    close = np.isclose(got, wanted, rtol=1e-6, equal_nan=True)
    t.check(close.all(), f"{np.flatnonzero(~close)[:5]}")
    sample = slice(8180, 8200)
    same(t, "sample", got[sample], np.diag(values(left[sample], right[sample], "l2")).copy())
    got, _ = run(t, "--pairwise", "--self", "--base", "b", "--metric", "l2", path)
    t.check(got.shape == (9000,) and (got == 0).all(), "not at distance 0 from itself")


def test_pairwise_needs_equal_lengths(t):
    path = t.h5("two.h5", {"a": t.gaussian(7, 3), "b": t.gaussian(8, 3), "c": t.gaussian(7, 4)})
    out = t.path("out.h5")
    t.fails(65, ["/a gives 7", "/b gives 8"], "--pairwise", "--queries", "a", "--base", "b", path,
            out)
    t.fails(65, "dimensions", "--pairwise", "--queries", "a", "--base", "c", path, out)


def test_bits(t):
    bits = t.random.integers(0, 2, size=(40, 21)).astype(bool)
    other = t.random.integers(0, 2, size=(40, 21)).astype(bool)
    other[3] = bits[3]
    path = t.h5("two.h5", {"a": bits, "b": other})
    different = (bits[:, None, :] != other[None, :, :]).sum(axis=2)
    common = (bits[:, None, :] & other[None, :, :]).sum(axis=2)
    either = (bits[:, None, :] | other[None, :, :]).sum(axis=2)
    for metric, key in (("hamming", different / 21), ("jaccard", 1 - common / either)):
        for option, want in (("--all", key), ("--pairwise", np.diag(key))):
            got, _ = run(t, option, "--queries", "a", "--base", "b", "--metric", metric, path)
            same(t, f"{option} {metric}", got, want.astype(np.float32).copy())
            verify = t.run("verify", "--full", path, t.path("out.h5"))
            t.check(verify.code == 0, f"{option} {metric}: {verify} {verify.out}")


def test_verify_finds_a_wrong_value(t):
    base, queries = odd_sets(t)
    path = t.two_sets(base, queries)
    out = t.path("out.h5")
    for place, value in (((4, 6), 0.5), ((4, 3), 1.0), ((2, 9), 1.0), ((4, 6), np.nan)):
        t.succeeds("--force", "--all", "--metric", "cosine", path, out)
        with h5py.File(out, "r+") as f:
            f["distances"][place] = value
        verify = t.run("verify", "--full", path, out)
        t.check(verify.code == 1, f"{place} = {value}: not found: {verify}")


def test_show(t):
    base, queries = odd_sets(t)
    path = t.two_sets(base, queries)
    got, _ = run(t, "--all", "--metric", "l2", path)
    lines = t.run("show", "--tsv", t.path("out.h5"), "4").out.splitlines()
    t.check(lines[0] == "query_row\tquery_id\tbase_row\tbase_id\tdistance", lines[0])
    t.check(len(lines) == 84, len(lines))
    shown = np.array([line.split("\t")[-1] for line in lines[1:]], dtype=np.float32)
    t.check(np.array_equal(shown, got[4], equal_nan=True), "show prints other values")
    people = t.run("show", t.path("out.h5"), "4").out
    t.check("more base rows" in people, people)


def test_stats_and_summary(t):
    base, queries = odd_sets(t)
    path = t.two_sets(base, queries)
    run_of = t.run("--all", "--metric", "l2", "--stats", t.path("s.json"), path, t.path("out.h5"))
    with open(t.path("s.json"), encoding="ascii") as f:
        stats = json.load(f)
    t.check(stats["result"] == "dense" and stats["answers"] == 19 * 83, stats)
    t.check(stats["filter"]["name"] == "canonical" and stats["canonical_pairs"] == 19 * 83, stats)
    t.check("1,577 distances" in run_of.err and "their values are NaN" in run_of.err, run_of.err)
    inspect = t.run("inspect", "--pairwise", "--base-rows", "0:19", "--metric", "l2", path)
    whole = t.run("inspect", "--all", "--float64", "--metric", "l2", path)
    t.check("disk     12.3 KiB in OUTPUT" in whole.out, whole.out)
    t.check("each row and the same row" in inspect.out and "19 pairs" in inspect.out, inspect.out)


def test_a_result_that_cannot_fit_is_refused_before_any_work(t):
    """800,000 rows against each other: 2.3 TiB of float32."""
    path = t.h5("one.h5", {"x": t.random.integers(0, 9, size=(800000, 1)).astype(np.int8)})
    free = os.statvfs(t.folder)
    if free.f_bavail * free.f_frsize > 4 * 800000**2:
        raise Skip("a disk that large")
    t.fails(74, "disk is full", "--all", path, t.path("out.h5"))
    free_after = os.statvfs(t.folder)
    t.check(free_after.f_bavail > free.f_bavail // 2, "space was taken and not given back")
