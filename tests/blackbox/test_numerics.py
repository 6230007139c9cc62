"""Where an almost right answer shows: thresholds at a score, ties, cancellation, extremes."""

import numpy as np

import oracle
from support import heavy

SPREAD = (1e-30, 1e-6, 1.0, 1e6, 1e30)


def limits(t, label, path, queries, base, metric, k=None, self_job=False):
    """Thresholds exactly at, one ulp below and one ulp above the score of a few pairs."""
    score, key = oracle.scores(queries, base, metric)
    for _ in range(2):
        i = int(t.random.integers(len(queries)))
        j = int(t.random.integers(len(base)))
        for toward in (None, -np.inf, np.inf):
            value = key[i, j] if toward is None else np.nextafter(key[i, j], toward)
            t.exact(
                f"{label} max-distance",
                [path],
                queries,
                base,
                metric,
                k=k,
                self_job=self_job,
                max_distance=value,
            )
            if metric in ("cosine", "ip"):
                value = score[i, j] if toward is None else np.nextafter(score[i, j], toward)
                t.exact(
                    f"{label} min-similarity",
                    [path],
                    queries,
                    base,
                    metric,
                    k=k,
                    self_job=self_job,
                    min_similarity=value,
                )


@heavy
def test_threshold_at_a_score(t):
    for dtype in (np.float32, np.float64):
        for dim in (3, 20):
            base = t.gaussian(40, dim, dtype)
            queries = t.gaussian(15, dim, dtype)
            path = t.two_sets(base, queries)
            for metric in oracle.METRICS:
                limits(t, f"{dtype.__name__} dim {dim}", path, queries, base, metric)


def test_threshold_with_k(t):
    base = t.gaussian(60, 6)
    queries = t.gaussian(15, 6)
    path = t.two_sets(base, queries)
    for metric in oracle.METRICS:
        limits(t, "with k", path, queries, base, metric, k=4)


def test_threshold_self(t):
    rows = np.round(t.gaussian(50, 4) * 2)  # many equal scores
    path = t.h5("one.h5", {"x": rows})
    for metric in oracle.METRICS:
        limits(t, "self", path, rows, rows, metric, self_job=True)


def test_both_limits(t):
    base = t.gaussian(60, 6)
    queries = t.gaussian(15, 6)
    path = t.two_sets(base, queries)
    score, key = oracle.scores(queries, base, "cosine")
    for k in (None, 3):
        t.exact(
            "both",
            [path],
            queries,
            base,
            "cosine",
            k=k,
            max_distance=float(key[0, 0]),
            min_similarity=float(score[1, 1]),
        )


def test_similarity_is_compared_as_similarity(t):
    """cos >= X and 1 - cos <= 1 - X differ by rounding: scores near a small X decide."""
    dim = 16
    base = np.zeros((400, dim))
    base[:, 0] = 0.1 * (1 + np.arange(400) * 2.0**-50)
    base[:, 1] = 1
    queries = np.zeros((1, dim))
    queries[0, 0] = 1
    path = t.two_sets(base, queries)
    score, key = oracle.scores(queries, base, "cosine")
    for value in np.unique(score[0])[::40]:
        by_key = int((key <= 1 - value).sum())
        by_score = int((score >= value).sum())
        result = t.exact(
            f"{by_score} by score, {by_key} by key",
            [path],
            queries,
            base,
            "cosine",
            k=None,
            min_similarity=value,
        )
        t.check(result.indptr[-1] == by_score, "pairs")


def test_limits_that_keep_all_or_nothing(t):
    base = t.gaussian(30, 5)
    queries = t.gaussian(8, 5)
    path = t.two_sets(base, queries)
    for metric, value in (("l2", 1e9), ("l2", -1.0), ("l2", 0.0), ("ip", -1e9), ("cosine", 2.0)):
        t.exact(
            f"limit {value}",
            [path],
            queries,
            base,
            metric,
            k=None,
            max_distance=value,
        )
    for metric, value in (("cosine", -1.0), ("cosine", 1.5), ("ip", -1e9)):
        t.exact(
            f"limit {value}",
            [path],
            queries,
            base,
            metric,
            k=None,
            min_similarity=value,
        )


def test_multiples_of_a_row(t):
    """x against 3x: cosine distances that are zero or nearly zero; order by key, then row."""
    for dtype in (np.float32, np.float64):
        for dim in (2, 5, 33):
            x = t.gaussian(1, dim, dtype)
            factors = np.array([1, 3, 0.1, 7, 1e3, 1 / 3, 2, 0.5, 3, 1], dtype)
            others = [-x, -3 * x, t.gaussian(20, dim, dtype)]
            base = np.concatenate([x * f for f in factors] + others)
            path = t.h5("one.h5", {"x": base})
            for metric in oracle.METRICS:
                t.exact(f"{dtype.__name__} dim {dim}", [path], base, base, metric, self_job=True)
            t.exact(
                "distance 0",
                [path],
                base,
                base,
                "cosine",
                k=None,
                self_job=True,
                max_distance=0.0,
            )
            t.exact(
                "similarity 1",
                [path],
                base,
                base,
                "cosine",
                k=None,
                self_job=True,
                min_similarity=1.0,
            )


def test_identical_rows_have_distance_zero(t):
    for dtype in (np.float16, np.float32, np.float64):
        for dim in (1, 7, 50):
            rows = t.gaussian(40, dim, dtype)
            both = np.concatenate([rows, rows])
            path = t.h5("one.h5", {"x": both})
            for metric in ("cosine", "l2", "sqeuclidean"):
                result = t.exact("twins", [path], both, both, metric, k=1, self_job=True)
                if dim > 1:
                    twins = np.concatenate([np.arange(40, 80), np.arange(40)])
                    t.check((result.neighbors[:, 0] == twins).all(), f"{metric} dim {dim}: twins")
                t.check((result.distances == 0).all(), f"{metric} dim {dim}: distance not 0")


def test_mass_duplicates(t):
    """Hundreds of equal rows: the k-th place is a tie, decided by row index."""
    for total, distinct in ((700, 1), (700, 3), (1500, 12)):
        few = t.gaussian(distinct, 9)
        rows = few[t.random.integers(distinct, size=total)]
        path = t.h5("one.h5", {"x": rows})
        for metric in oracle.METRICS:
            label = f"{distinct} distinct"
            result = t.exact(label, [path], rows, rows, metric, k=10, self_job=True)
        if distinct == 1:
            want = np.arange(11)[np.arange(11) != 5][:10]
            t.check((result.neighbors[5] == want).all(), "ties are not in row order")


def test_ties_at_the_kth_place(t):
    """Small integers: many equal scores exactly, at every rank."""
    base = t.random.integers(-2, 3, size=(900, 5)).astype(np.float32)
    queries = t.random.integers(-2, 3, size=(40, 5)).astype(np.float32)
    path = t.two_sets(base, queries)
    for metric in oracle.METRICS:
        for k in (1, 3, 17, 128):
            t.exact("integers", [path], queries, base, metric, k=k)


def test_one_huge_coordinate(t):
    for dtype in (np.float32, np.float64):
        for huge in (1e4, 1e8, 1e15):
            base = t.gaussian(300, 24, dtype)
            queries = t.gaussian(20, 24, dtype)
            base[:, 3] = huge
            queries[:, 3] = huge
            base[17, 3] = -huge
            path = t.two_sets(base, queries)
            for metric in oracle.METRICS:
                t.exact(f"{dtype.__name__} {huge}", [path], queries, base, metric)


def test_one_huge_row(t):
    """A single giant must not blunt the filter for the others."""
    base = t.gaussian(500, 20)
    base[123] *= 1e25
    base[77] *= 1e-25
    path = t.h5("one.h5", {"x": base})
    for metric in oracle.METRICS:
        t.exact("giant", [path], base, base, metric, self_job=True)


def test_large_mean_small_spread(t):
    for dtype in (np.float32, np.float64):
        for mean in (1e4, 1e6):
            base = (t.random.normal(size=(800, 32)) + mean).astype(dtype)
            queries = (t.random.normal(size=(30, 32)) + mean).astype(dtype)
            path = t.two_sets(base, queries)
            for metric in oracle.METRICS:
                t.exact(f"{dtype.__name__} mean {mean}", [path], queries, base, metric)


def test_clusters_far_apart(t):
    """Small distances inside clusters that lie far from any common centre."""
    centres = t.random.normal(size=(20, 16)) * 1e5
    rows = (centres[t.random.integers(20, size=900)] + t.random.normal(size=(900, 16))).astype("f4")
    path = t.h5("one.h5", {"x": rows})
    for metric in oracle.METRICS:
        t.exact("clusters", [path], rows, rows, metric, self_job=True)


def test_denormals(t):
    for dtype, smallest in ((np.float32, 2.0**-149), (np.float64, 5e-324), (np.float16, 2.0**-24)):
        steps = t.random.integers(-9, 10, size=(200, 11))
        base = (steps * smallest).astype(dtype)
        base[0] = 0
        base[1:9] = t.gaussian(8, 11, dtype)
        queries = base[:20]
        path = t.two_sets(base, queries)
        for metric in oracle.METRICS:
            t.exact(f"denormal {dtype.__name__}", [path], queries, base, metric)


def test_large_float32(t):
    for scale in (1e18, 1e19, 1e30, 1e38):
        base = (t.random.uniform(-1, 1, size=(300, 13)) * scale).astype(np.float32)
        queries = (t.random.uniform(-1, 1, size=(20, 13)) * scale).astype(np.float32)
        path = t.two_sets(base, queries)
        for metric in oracle.METRICS:
            t.exact(f"scale {scale}", [path], queries, base, metric)


def test_small_float32(t):
    for scale in (1e-18, 1e-20, 1e-23, 1e-38, 1e-42):
        base = (t.random.uniform(-1, 1, size=(300, 13)) * scale).astype(np.float32)
        queries = (t.random.uniform(-1, 1, size=(20, 13)) * scale).astype(np.float32)
        path = t.two_sets(base, queries)
        for metric in oracle.METRICS:
            t.exact(f"scale {scale}", [path], queries, base, metric)


def test_float64_beyond_float32(t):
    for scale in (1e50, 1e150, 1e-50, 1e-150, 1e-200):
        base = t.random.uniform(-1, 1, size=(200, 13)) * scale
        queries = t.random.uniform(-1, 1, size=(20, 13)) * scale
        path = t.two_sets(base, queries)
        for metric in oracle.METRICS:
            t.exact(f"scale {scale}", [path], queries, base, metric)


def test_float64_extremes_under_cosine(t):
    for low, high in ((1e300, 1e300), (1e-300, 1e-300), (1e-300, 1e300), (5e-324, 1.7e308)):
        sign = t.random.uniform(-1, 1, size=(200, 13))
        power = np.exp(t.random.uniform(np.log(low), np.log(high), size=(200, 1)))
        base = np.concatenate([sign * power, t.gaussian(10, 13, np.float64)])
        base[3] = 0
        queries = base[::7]
        path = t.two_sets(base, queries)
        t.exact(f"{low} to {high}", [path], queries, base, "cosine")
        t.exact(
            f"{low} to {high}",
            [path],
            queries,
            base,
            "cosine",
            k=None,
            min_similarity=0.5,
        )


def test_scaling_edge_under_cosine(t):
    """Rows at and one ulp beyond 2^-240 and 2^240, with parts that get lost when scaled down."""
    rows = []
    for edge in (2.0**-240, 2.0**240):
        for magnitude in (edge, np.nextafter(edge, 0), np.nextafter(edge, np.inf)):
            for _ in range(4):
                row = t.random.uniform(-1, 1, size=10) * magnitude
                row[int(t.random.integers(10))] = magnitude * t.random.choice([-1, 1])
                row = np.clip(row, -magnitude, magnitude)
                rows.append(row)
    wide = t.random.uniform(-1, 1, size=10)
    wide[0] = 1.5e308
    wide[1] = 3.3e-20
    rows += [wide, wide * 0.5, np.full(10, 5e-324), np.full(10, 1.7e308)]
    base = np.array(rows)
    path = t.h5("one.h5", {"x": base})
    t.exact("edges", [path], base, base, "cosine", k=len(base), self_job=True)


def test_float64_equal_in_float32(t):
    """Rows that a float32 filter cannot tell apart."""
    for scale in (1.0, 1e-3, 100.0):
        centre = t.random.normal(size=(1, 12)) * scale
        base = centre * (1 + t.random.integers(-40, 41, size=(600, 12)) * 2.0**-50)
        t.check(len(np.unique(base.astype(np.float32), axis=0)) < 20, "test data are too wide")
        queries = base[:25].copy()
        path = t.two_sets(base, queries)
        for metric in oracle.METRICS:
            t.exact(f"scale {scale}", [path], queries, base, metric)


def test_norms_of_every_size(t):
    for dtype in (np.float32, np.float64):
        power = t.random.uniform(-30, 30, size=(600, 1))
        base = (t.random.normal(size=(600, 14)) * 10.0**power).astype(dtype)
        queries = (t.random.normal(size=(20, 14)) * 10.0 ** t.random.uniform(-30, 30, size=(20, 1)))
        queries = queries.astype(dtype)
        path = t.two_sets(base, queries)
        for metric in oracle.METRICS:
            t.exact(f"norms {dtype.__name__}", [path], queries, base, metric)


def test_columns_of_every_size(t):
    base = t.random.normal(size=(400, 20)) * 10.0 ** t.random.uniform(-15, 15, size=20)
    base = base.astype(np.float32)
    path = t.h5("one.h5", {"x": base})
    for metric in oracle.METRICS:
        t.exact("columns", [path], base, base, metric, self_job=True)


def test_orthogonal_and_opposite(t):
    base = np.concatenate([np.eye(16), -np.eye(16), np.eye(16) * 7]).astype(np.float32)
    path = t.h5("one.h5", {"x": base})
    for metric in oracle.METRICS:
        t.exact("axes", [path], base, base, metric, k=20, self_job=True)
    t.exact(
        "right angles", [path], base, base, "cosine", k=None, self_job=True,
        max_distance=1.0,
    )
    t.exact(
        "right angles", [path], base, base, "ip", k=None, self_job=True,
        min_similarity=0.0,
    )


def test_more_rows_than_a_block(t):
    """Sizes around the grain of 1024 rows and around tile sizes."""
    for rows, queries in ((1023, 7), (1024, 33), (1025, 65), (2049, 1), (3000, 129)):
        base = t.gaussian(rows, 24)
        probe = t.gaussian(queries, 24)
        path = t.two_sets(base, probe)
        for metric in ("cosine", "l2"):
            t.exact(f"{queries} x {rows}", [path], probe, base, metric)


def test_few_queries_on_many_rows(t):
    base = t.gaussian(30000, 12)
    base[15000:15100] = base[7]
    probe = base[[7, 3]]
    path = t.two_sets(base, probe)
    for metric in oracle.METRICS:
        t.exact("two queries", [path], probe, base, metric, k=50)


def test_fuzz(t):
    """Random shapes, types, ranges and options."""
    for round_number in range(60):
        dim = int(t.random.choice([1, 2, 4, 5, 8, 12, 13, 31, 64, 65, 130]))
        rows = int(t.random.integers(1, 400))
        queries_count = int(t.random.integers(1, 60))
        dtype = t.random.choice(["<f4", ">f4", "<f8", "<f2", "<i1", "<u2", ">i4"])
        metric = str(t.random.choice(oracle.METRICS))
        scale = t.random.choice(SPREAD) if dtype in ("<f4", "<f8") else 40

        def rows_of(count):
            values = t.random.normal(size=(count, dim)) * scale
            if t.random.random() < 0.3:
                values = np.round(values / scale * 2) * scale
            if t.random.random() < 0.3:
                values += 50 * scale
            if dtype[1] in "iu":
                values = np.clip(np.round(values), 0 if dtype[1] == "u" else -128, 127)
            return values.astype(dtype)

        base = rows_of(rows)
        self_job = bool(t.random.random() < 0.4)
        queries = base if self_job else rows_of(queries_count)
        options = {}
        if t.random.random() < 0.4:
            options["base_rows"] = tuple(sorted(int(x) for x in t.random.integers(0, rows + 1, 2)))
        if t.random.random() < 0.4:
            options["query_rows"] = tuple(
                sorted(int(x) for x in t.random.integers(0, len(queries) + 1, 2))
            )
        k = int(t.random.integers(1, 40))
        pairs = bool(t.random.random() < 0.4)
        if pairs:
            key = oracle.scores(queries[:20], base, metric)[1]
            options["max_distance"] = float(t.random.choice(key.ravel()))
            if t.random.random() < 0.5:
                k = None
        storage = {}
        if t.random.random() < 0.5:
            storage = {
                "chunks": (int(t.random.integers(1, 100)), int(t.random.integers(1, dim + 1))),
                "maxshape": (None, None),
                "compression": "gzip" if t.random.random() < 0.5 else None,
            }
        if self_job:
            path = t.h5("one.h5", {"x": base}, **storage)
        else:
            path = t.two_sets(base, queries, **storage)
        label = f"round {round_number}: {len(queries)} x {rows} x {dim} {dtype} {options} k {k}"
        t.exact(
            label, [path], queries, base, metric, k=k, self_job=self_job, **options
        )
