"""Values of DESIGN: rows that are not finite, zero vectors, padding, empty sets, limits."""

import h5py
import numpy as np

import oracle

DIMENSIONS = (1, 2, 3, 7, 8, 9, 15, 16, 17, 33, 100)


def test_every_dimension(t):
    for dim in DIMENSIONS:
        base = t.gaussian(61, dim)
        queries = t.gaussian(19, dim)
        path = t.two_sets(base, queries)
        for metric in oracle.METRICS:
            t.exact(f"dim {dim}", [path], queries, base, metric)


def test_self_every_dimension(t):
    for dim in DIMENSIONS:
        rows = t.gaussian(67, dim)
        path = t.h5("one.h5", {"x": rows})
        metric = oracle.METRICS[dim % len(oracle.METRICS)]
        result = t.exact(f"dim {dim}", [path], rows, rows, metric, self_job=True)
        t.check(
            not (result.neighbors == np.arange(67)[:, None]).any(), f"dim {dim}: a row found itself"
        )


def spoiled(t, rows, dim, dtype=np.float32):
    array = t.gaussian(rows, dim, dtype)
    array[2, 0] = np.nan
    array[5, dim - 1] = np.inf
    array[rows - 1, dim // 2] = -np.inf
    array[7, :] = np.nan
    return array


def test_non_finite_rows(t):
    for dtype in (np.float16, np.float32, np.float64):
        for dim in (1, 5, 24):
            base = spoiled(t, 40, dim, dtype)
            queries = spoiled(t, 12, dim, dtype)
            path = t.two_sets(base, queries)
            for metric in oracle.METRICS:
                result = t.exact(f"{dtype.__name__} dim {dim}", [path], queries, base, metric)
                for bad in (2, 5, 7, 39):
                    t.check(not (result.neighbors == bad).any(), f"row {bad} was returned")
                t.check((result.counts[[2, 5, 7, 11]] == 0).all(), "a bad query has answers")
            t.exact(
                "pairs", [path], queries, base, "l2", k=None, max_distance=2.0
            )


def test_non_finite_rows_self_and_report(t):
    rows = spoiled(t, 30, 6)
    path = t.h5("one.h5", {"x": rows})
    for metric in oracle.METRICS:
        t.exact("self", [path], rows, rows, metric, self_job=True)
    run = t.succeeds("--force", path, t.path("out.h5"))
    said = run.err.lower()
    t.check("finite" in said or "nan" in said, f"rows left out are not reported: {run}")


def test_all_rows_non_finite(t):
    rows = np.full((9, 4), np.nan, np.float32)
    path = t.h5("one.h5", {"x": rows})
    for metric in oracle.METRICS:
        result = t.exact("all NaN", [path], rows, rows, metric, self_job=True)
        t.check((result.counts == 0).all(), "counts")


def test_zero_vectors(t):
    base = t.gaussian(30, 5)
    base[[0, 4, 29]] = 0
    base[8] = -0.0
    queries = t.gaussian(6, 5)
    queries[[1, 5]] = 0
    path = t.two_sets(base, queries)
    for metric in oracle.METRICS:
        result = t.exact("zeros", [path], queries, base, metric, k=30)
        if metric == "cosine":
            t.check((result.distances[1] == 1).all(), "zero query: distance 1 to everything")
            t.check(
                (result.neighbors[1] == np.arange(30)).all(), "zero query: rows in order of index"
            )
    rows = np.zeros((7, 3), np.float32)
    path = t.h5("zeros.h5", {"x": rows})
    for metric in oracle.METRICS:
        t.exact("only zeros", [path], rows, rows, metric, k=4, self_job=True)


def test_k_beyond_n(t):
    base = t.gaussian(5, 9)
    queries = t.gaussian(4, 9)
    path = t.two_sets(base, queries)
    single = t.h5("one.h5", {"x": base})
    for metric in oracle.METRICS:
        for k in (1, 4, 5, 6, 40):
            result = t.exact(f"k {k}", [path], queries, base, metric, k=k)
            t.check((result.neighbors[:, 5:] == -1).all(), "padding is not -1")
            t.check(np.isposinf(result.distances[:, 5:]).all(), "padding is not +inf")
        t.exact("self", [single], base, base, metric, k=5, self_job=True)


def test_empty_sets(t):
    some = t.gaussian(5, 6)
    none = np.empty((0, 6), np.float32)
    cases = (("base", none, some), ("queries", some, none), ("both", none, none))
    for storage in ({}, {"chunks": (4, 6), "maxshape": (None, 6)}):
        for label, base, queries in cases:
            path = t.two_sets(base, queries, **storage)
            for metric in ("cosine", "l2"):
                t.exact(f"empty {label}", [path], queries, base, metric)
                t.exact(
                    f"empty {label} pairs",
                    [path],
                    queries,
                    base,
                    metric,
                    k=None,
                    max_distance=1.0,
                )
        path = t.h5("one.h5", {"x": none}, **storage)
        t.exact("empty self", [path], none, none, "ip", self_job=True)


def test_empty_ranges(t):
    rows = t.gaussian(9, 6)
    path = t.two_sets(rows, rows)
    t.exact("no base rows", [path], rows, rows, "l2", base_rows=(4, 4))
    t.exact("no query rows", [path], rows, rows, "l2", query_rows=(9, 9))


def test_one_row_self(t):
    rows = t.gaussian(1, 12)
    path = t.h5("one.h5", {"x": rows})
    for metric in oracle.METRICS:
        result = t.exact("one row", [path], rows, rows, metric, k=3, self_job=True)
        t.check(result.counts.tolist() == [0], "counts")
        t.check((result.neighbors == -1).all(), "neighbors")


def test_one_row_two_sets(t):
    rows = t.gaussian(1, 12)
    path = t.two_sets(rows, rows)
    for metric in oracle.METRICS:
        t.exact("one row", [path], rows, rows, metric, k=2)


def test_no_dimensions(t):
    rows = np.empty((4, 0), np.float32)
    path = t.h5("flat.h5", {"x": rows})
    for metric in oracle.METRICS:
        t.exact("dim 0", [path], rows, rows, metric, k=2, self_job=True)


def test_dimensions_differ(t):
    path = t.two_sets(t.gaussian(5, 8), t.gaussian(3, 9))
    t.fails(65, ["8", "9"], "--metric", "l2", path, t.path("out.h5"))
    other = t.h5("other.h5", {"y": t.gaussian(3, 4)})
    one = t.h5("one.h5", {"x": t.gaussian(3, 5)})
    t.fails(65, ["4", "5"], "--queries", other, one, t.path("out.h5"))


def test_float64_limit(t):
    base = t.gaussian(10, 5, np.float64)
    queries = t.gaussian(4, 5, np.float64)
    base[6, 1] = -1e150
    path = t.two_sets(base, queries)
    for metric in oracle.METRICS:
        t.exact("at the limit", [path], queries, base, metric)
    base[6, 1] = -np.nextafter(1e150, np.inf)
    path = t.two_sets(base, queries)
    out = t.path("fail.h5")
    for metric in ("ip", "l2", "sqeuclidean", "l1"):
        t.fails(65, ["train", "row 6"], "--metric", metric, path, out)
    t.exact("beyond", [path], queries, base, "cosine")
    for metric in ("ip", "l2"):
        t.fails(65, ["row 6"], "--metric", metric, "--base-rows", "3:9", path, out)
        t.exact("outside the range", [path], queries, base, metric, base_rows=(0, 6))
    queries[3, 4] = 1.7e308
    path = t.two_sets(t.gaussian(10, 5, np.float64), queries)
    t.fails(65, ["test", "row 3"], "--metric", "ip", path, out)
    rows = t.gaussian(10, 5, np.float64)
    rows[9, 0] = 1e200
    path = t.h5("one.h5", {"x": rows})
    t.fails(65, ["row 9"], "--metric", "l2", path, out)
    t.exact("self", [path], rows, rows, "cosine", self_job=True)


def test_integer_limit(t):
    limit = 2**53
    for dtype, good, bad in (
        (np.int64, [limit, -limit], [limit + 1, -limit - 1, limit + 2, 2**63 - 1, -(2**63)]),
        (np.uint64, [limit, 0], [limit + 1, limit + 2, 2**63, 2**64 - 1]),
    ):
        rows = t.random.integers(0, 1000, size=(8, 3)).astype(dtype)
        rows[3, 0] = good[0]
        rows[5, 2] = good[1]
        path = t.h5("one.h5", {"x": rows})
        for metric in oracle.METRICS:
            t.exact(f"{dtype.__name__} at 2^53", [path], rows, rows, metric, self_job=True)
        for value in bad:
            rows[3, 0] = value
            path = t.h5("one.h5", {"x": rows})
            for metric in ("cosine", "l2"):
                t.fails(65, ["row 3"], "--metric", metric, path, t.path("fail.h5"))


def test_distance_overflows_float32(t):
    base = (t.random.choice([-1.0, 1.0], size=(20, 40)) * 3e38).astype(np.float32)
    queries = (t.random.choice([-1.0, 1.0], size=(7, 40)) * 3e38).astype(np.float32)
    path = t.two_sets(base, queries)
    for metric in oracle.METRICS:
        result = t.exact("3e38", [path], queries, base, metric, k=25)
        t.check((result.counts == 20).all(), "counts")
        t.check((result.neighbors[:, :20] >= 0).all(), "neighbors")
        if metric in ("sqeuclidean",):
            t.check(np.isposinf(result.distances[:, :20]).all(), "distances should be inf")
        if metric == "ip":
            t.check(np.isneginf(result.distances[:, 0]).all(), "the best should be -inf")
    t.exact(
        "limit beyond float32",
        [path],
        queries,
        base,
        "sqeuclidean",
        k=None,
        max_distance=7e78,
    )


def test_float64_distances_round_once(t):
    """Keys whose float32 value is a tie: rounding is to nearest even and comes last."""
    base = np.zeros((40, 1))
    base[:, 0] = 1 + np.arange(40) * 2.0**-25
    queries = np.zeros((1, 1))
    path = t.two_sets(base, queries)
    for metric in ("l2", "ip"):
        t.exact("ties of float32", [path], queries, base, metric, k=40)


def test_output_shapes_and_types(t):
    base = t.gaussian(12, 4)
    queries = t.gaussian(3, 4)
    path = t.two_sets(base, queries)
    result = t.exact("types", [path], queries, base, "l2", k=5)
    t.check(result.neighbors.dtype == np.dtype("<i8"), result.neighbors.dtype)
    t.check(result.distances.dtype == np.dtype("<f4"), result.distances.dtype)
    t.check(result.counts.dtype == np.dtype("<i4"), result.counts.dtype)
    t.check(sorted(result.names) == ["counts", "distances", "neighbors"], result.names)


def test_bundled_files(t):
    from support import DATA

    with h5py.File(DATA / "annbench-600x16.h5", "r") as f:
        base, queries = f["train"][:], f["test"][:]
        truth = f["neighbors"][:]
    path = str(DATA / "annbench-600x16.h5")
    for metric in oracle.METRICS:
        result = t.exact("annbench", [path], queries, base, metric, k=100)
        few = slice(0, 50)
        reason = oracle.loose_check(
            queries, base, metric, result.neighbors[few], result.distances[few]
        )
        t.check(reason is None, f"second opinion, {metric}: {reason}")
        if metric == "l2":
            agreement = (result.neighbors == truth[:, :100]).mean()
            t.check(agreement > 0.999, f"the file's own truth agrees in {agreement}")
    with h5py.File(DATA / "minilm-778x384.h5", "r") as f:
        rows = f["embeddings"][:]
    path = str(DATA / "minilm-778x384.h5")
    for metric in ("cosine", "l2"):
        result = t.exact("minilm", [path], rows, rows, metric, self_job=True)
        few = slice(0, 100)
        reason = oracle.loose_check(
            rows, rows, metric, result.neighbors[few], result.distances[few], True
        )
        t.check(reason is None, f"second opinion, {metric}: {reason}")
