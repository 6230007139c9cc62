"""Exact reference for engram-batch, in numpy.

Written from the definition in include/engram/search.h, not from the C code. Every score is the
canonical one, bit for bit:

    values are widened to float64; element i goes to partial sum i mod 8, in order, without fused
    multiply-add; sum = ((s0+s4) + (s2+s6)) + ((s1+s5) + (s3+s7))

numpy multiplies and adds arrays in separate passes, so nothing can be contracted. Hence the main
check is plain equality of neighbours and of float32 distances.

`loose_check` is a second opinion that knows nothing of the summation order: distances in extended
precision (numpy's longdouble), a swap of two answers accepted only where their exact distances
differ by no more than LOOSE_BOUND times the scale of the pair.
"""

import numpy as np

METRICS = ("cosine", "ip", "l2", "sqeuclidean", "l1")  # of numbers
BIT_METRICS = ("hamming", "jaccard")  # of rows of zeros and ones
SCALE_LOW = 2.0**-240
SCALE_HIGH = 2.0**240
# Elements of the temporaries below: small enough to stay in the cache.
BLOCK_ELEMENTS = 1 << 19


def widen(rows):
    """Rows as native float64, dimension padded with zeros to a multiple of 8.

    Padding adds +0 to partial sums, which changes no sum (at most the sign of a zero, which the
    definition discards)."""
    rows = np.asarray(rows)
    wide = np.zeros((rows.shape[0], -(-rows.shape[1] // 8) * 8))
    wide[:, : rows.shape[1]] = rows
    return wide


def finite_rows(wide):
    return np.isfinite(wide).all(axis=1)


def _tree(partial):
    s = [partial[..., j] for j in range(8)]
    return ((s[0] + s[4]) + (s[2] + s[6])) + ((s[1] + s[5]) + (s[3] + s[7]))


def _sum_over_pairs(q, x, term):
    """term(q element, x element) summed in the canonical order; (q rows, x rows)."""
    out = np.empty((len(q), len(x)))
    block = max(1, BLOCK_ELEMENTS // max(1, 8 * len(x)))
    for first in range(0, len(q), block):
        part = q[first : first + block]
        partial = np.zeros((len(part), len(x), 8))
        for column in range(0, q.shape[1], 8):
            partial += term(part[:, None, column : column + 8], x[None, :, column : column + 8])
        out[first : first + block] = _tree(partial)
    return out


def _sum_over_rows(x):
    partial = np.zeros((len(x), 8))
    for column in range(0, x.shape[1], 8):
        partial += x[:, column : column + 8] * x[:, column : column + 8]
    return _tree(partial)


def cosine_scaled(wide):
    """Rows whose largest magnitude lies outside [2^-240, 2^240] times the power of two that
    brings it into [1, 2). (Values of float32 and of integers never do.)"""
    if wide.shape[1] == 0:
        return wide
    largest = np.abs(wide).max(axis=1)
    odd = (largest != 0) & ((largest < SCALE_LOW) | (largest > SCALE_HIGH))
    if not odd.any():
        return wide
    wide = wide.copy()
    exponent = np.frexp(largest[odd])[1]  # largest = m * 2^exponent with m in [0.5, 1)
    wide[odd] = np.ldexp(wide[odd], (1 - exponent)[:, None])
    return wide


def bit_scores(queries, base, metric):
    """The same of rows of zeros and ones: counts are integers, and there is one division."""
    q = np.asarray(queries) != 0
    x = np.asarray(base) != 0
    both = q.astype(np.int64) @ x.T.astype(np.int64)
    sizes = q.sum(axis=1)[:, None] + x.sum(axis=1)[None, :]
    if metric == "hamming":
        score = (sizes - 2 * both) / max(1, q.shape[1])
        return score, score
    score = np.zeros(both.shape)
    np.divide(both, sizes - both, out=score, where=sizes != both)
    return score, 1.0 - score


def scores(queries, base, metric):
    """(score, key) of every pair, float64. Non-finite rows count as zero here; mask them."""
    if metric in BIT_METRICS:
        return bit_scores(queries, base, metric)
    q = widen(queries)
    x = widen(base)
    with np.errstate(all="ignore"):
        q[~finite_rows(q)] = 0
        x[~finite_rows(x)] = 0
        if metric in ("l2", "sqeuclidean"):
            def squared(a, b):
                difference = a - b
                return difference * difference

            score = _sum_over_pairs(q, x, squared)
            if metric == "l2":
                score = np.sqrt(score)
            key = score
        elif metric == "l1":
            score = key = _sum_over_pairs(q, x, lambda a, b: np.abs(a - b))
        elif metric == "ip":
            score = _sum_over_pairs(q, x, np.multiply)
            key = -score
        elif metric == "cosine":
            q = cosine_scaled(q)
            x = cosine_scaled(x)
            dot = _sum_over_pairs(q, x, np.multiply)
            qq = _sum_over_rows(q)
            xx = _sum_over_rows(x)
            product = qq[:, None] * xx[None, :]
            score = np.zeros_like(dot)
            np.divide(dot, np.sqrt(product), out=score, where=product != 0)
            score = np.minimum(1.0, np.maximum(-1.0, score))
            key = 1.0 - score
        else:
            raise ValueError(metric)
    return score, key + 0.0  # -0 becomes +0


class Answers:
    """One list of (row, key) per query, best first."""

    def __init__(self, rows, keys):
        self.rows = rows
        self.keys = keys

    def counts(self):
        return np.array([len(r) for r in self.rows], dtype=np.int64)

    def padded(self, k):
        """neighbors (n, k) int64 with -1, distances (n, k) float32 with +inf, counts int32."""
        neighbors = np.full((len(self.rows), k), -1, dtype=np.int64)
        distances = np.full((len(self.rows), k), np.inf, dtype=np.float32)
        with np.errstate(all="ignore"):
            for i, (rows, keys) in enumerate(zip(self.rows, self.keys)):
                neighbors[i, : len(rows)] = rows
                distances[i, : len(rows)] = keys.astype(np.float32)
        return neighbors, distances, self.counts().astype(np.int32)

    def csr(self):
        indptr = np.concatenate([[0], np.cumsum(self.counts())]).astype(np.int64)
        indices = np.concatenate([np.empty(0, np.int64)] + list(self.rows))
        with np.errstate(all="ignore"):
            data = np.concatenate([np.empty(0)] + list(self.keys)).astype(np.float32)
        return indptr, indices.astype(np.int64), data


def row_range(bounds, rows):
    return (0, rows) if bounds is None else bounds


def allowed_pairs(queries, base, query_rows, base_rows, self_job):
    q0, q1 = query_rows
    b0, b1 = base_rows
    with np.errstate(all="ignore"):
        allowed = (
            finite_rows(widen(queries[q0:q1]))[:, None] & finite_rows(widen(base[b0:b1]))[None, :]
        )
    if self_job:
        allowed &= np.arange(q0, q1)[:, None] != np.arange(b0, b1)[None, :]
    return allowed


def answer(
    queries,
    base,
    metric,
    k=None,
    self_job=False,
    query_rows=None,
    base_rows=None,
    max_distance=None,
    min_similarity=None,
    subset=None,
    base_groups=None,
    query_groups=None,
):
    """What a job must give; k None: no limit. Rows are rows of the whole base dataset. subset:
    row numbers allowed as answers; groups: numbers of all rows, negative for none."""
    query_rows = row_range(query_rows, len(queries))
    base_rows = row_range(base_rows, len(base))
    score, key = scores(queries[slice(*query_rows)], base[slice(*base_rows)], metric)
    keep = allowed_pairs(queries, base, query_rows, base_rows, self_job)
    if subset is not None:
        keep &= np.isin(np.arange(*base_rows), np.asarray(subset, np.int64))[None, :]
    if base_groups is not None:
        own = np.asarray(query_groups)[slice(*query_rows), None]
        keep &= (own < 0) | (own != np.asarray(base_groups)[None, slice(*base_rows)])
    if max_distance is not None:
        keep &= key <= max_distance
    if min_similarity is not None:
        keep &= score >= min_similarity
    rows, keys = [], []
    for i in range(len(key)):
        candidates = np.flatnonzero(keep[i])
        order = np.argsort(key[i, candidates], kind="stable")[:k]
        rows.append(candidates[order] + base_rows[0])
        keys.append(key[i, candidates[order]])
    return Answers(rows, keys)


# Second opinion. A float64 sum of n terms in any order differs from the exact one by at most
# about n * 2^-53 of the sum of magnitudes; distances are stored as float32 (2^-24 of the value).
# So the stated bound is generous for dimensions below 10^4 and far below what a wrong answer shows.
LOOSE_BOUND = 1e-6
# Two answers may be swapped where their exact distances differ by less than this share of scale.
SWAP_BOUND = 1e-11


def loose_keys(queries, base, metric):
    """(key, scale) in extended precision, without any particular order of summation."""
    q = np.asarray(queries).astype(np.longdouble)
    x = np.asarray(base).astype(np.longdouble)
    with np.errstate(all="ignore"):
        q[~np.isfinite(q).all(axis=1)] = 0
        x[~np.isfinite(x).all(axis=1)] = 0
        qn = np.sqrt((q * q).sum(axis=1))[:, None]
        xn = np.sqrt((x * x).sum(axis=1))[None, :]
        if metric in ("ip", "cosine"):
            dot = q @ x.T
            if metric == "ip":
                return -dot, qn * xn
            norms = qn * xn
            cos = np.zeros_like(dot)
            np.divide(dot, norms, out=cos, where=norms != 0)
            return 1 - cos, np.ones_like(dot)
        key = np.empty((len(q), len(x)), dtype=np.longdouble)
        for i in range(len(q)):
            apart = x - q[i]
            key[i] = (np.abs(apart) if metric == "l1" else apart**2).sum(axis=1)
        if metric == "l2":
            key = np.sqrt(key)
        return key, key.copy()


def loose_check(queries, base, metric, neighbors, distances, self_job=False):
    """None when each row of neighbors is a right answer up to SWAP_BOUND, else what is wrong.
    `neighbors` may be the answers to the first few queries only."""
    queries = queries[: len(neighbors)]
    key, scale = loose_keys(queries, base, metric)
    allowed = allowed_pairs(queries, base, (0, len(queries)), (0, len(base)), self_job)
    for i in range(len(queries)):
        candidates = np.flatnonzero(allowed[i])
        best = candidates[np.argsort(key[i, candidates], kind="stable")][: neighbors.shape[1]]
        given = neighbors[i][neighbors[i] >= 0]
        if len(given) != len(best) or len(set(given)) != len(given):
            return f"query {i}: {len(given)} answers, expected {len(best)} distinct ones"
        if not allowed[i, given].all():
            return f"query {i}: an answer that is not allowed"
        for rank, (row, want) in enumerate(zip(given, best)):
            size = max(scale[i, row], scale[i, want])
            if abs(key[i, row] - key[i, want]) > SWAP_BOUND * size:
                return f"query {i} rank {rank}: row {row}, expected {want}"
            stored = np.longdouble(distances[i, rank])
            if np.isfinite(stored) and abs(stored - key[i, row]) > LOOSE_BOUND * size:
                return f"query {i} rank {rank}: distance {stored}, expected {key[i, row]}"
    return None
