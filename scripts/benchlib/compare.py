"""Whose answer is right? Where two answers differ, float64 decides."""

import numpy as np

# float64 sums in another order than ours: differences below this are none.
TINY = 1e-12


def scores(base, queries, metric, query, row):
    """Keys (smaller is nearer) of the listed pairs, in float64."""
    result = np.empty(len(query))
    step = 1 << 14
    for first in range(0, len(query), step):
        q = queries[query[first:first + step]].astype(np.float64)
        x = base[row[first:first + step]].astype(np.float64)
        if metric == "l1":
            key = np.abs(q - x).sum(axis=1)
        elif metric in ("l2", "sqeuclidean"):
            key = np.einsum("ij,ij->i", q - x, q - x)
            key = np.sqrt(key) if metric == "l2" else key
        else:
            key = -np.einsum("ij,ij->i", q, x)
            if metric == "cosine":
                norms = np.einsum("ij,ij->i", q, q) * np.einsum("ij,ij->i", x, x)
                key = np.where(norms > 0, 1 + key / np.sqrt(np.where(norms > 0, norms, 1)), 1)
        result[first:first + step] = key
    return result


class Verdict:
    """How a peer's answers differ from ours."""

    def __init__(self, total):
        self.total = total   # answers compared
        self.missed = 0      # ours the peer does not have, where ours is strictly better
        self.ties = 0        # as good in float64
        self.order = 0       # queries with the same answers in another order
        self.ours_wrong = 0  # where the peer's is better: never, if we are exact

    def text(self):
        if self.ours_wrong:
            return f"OURS WRONG in {self.ours_wrong:,} of {self.total:,} answers"
        if not (self.missed or self.ties or self.order):
            return f"all {self.total:,} answers equal"
        parts = [f"{self.missed:,} of {self.total:,} answers missed"]
        if self.ties:
            parts.append(f"{self.ties:,} ties")
        if self.order:
            parts.append(f"{self.order:,} queries in another order")
        return ", ".join(parts)


def knn(base, queries, metric, ours, theirs):
    """Compares the first rows of `ours` with `theirs` (which may have fewer)."""
    ours = ours[:len(theirs)]
    verdict = Verdict(ours.size)
    rows = np.nonzero((ours != theirs).any(axis=1))[0]
    for q in rows:
        only_ours = np.setdiff1d(ours[q], theirs[q])
        only_theirs = np.setdiff1d(theirs[q], ours[q])
        only_ours, only_theirs = only_ours[only_ours >= 0], only_theirs[only_theirs >= 0]
        if len(only_ours) == 0 and len(only_theirs) == 0:
            verdict.order += 1
            continue
        a = np.sort(scores(base, queries, metric, np.full(len(only_ours), q), only_ours))
        b = np.sort(scores(base, queries, metric, np.full(len(only_theirs), q), only_theirs))
        shared = min(len(a), len(b))
        tiny = TINY * max(1.0, float(np.abs(a).max(initial=0)), float(np.abs(b).max(initial=0)))
        # All of ours must be at least as good as any of theirs that is not ours.
        worse = int((a > b.min(initial=np.inf) + tiny).sum()) + max(0, len(b) - len(a))
        better = int((b[:shared] > a[:shared] + tiny).sum()) + max(0, len(a) - len(b))
        verdict.ours_wrong += worse
        verdict.missed += better
        verdict.ties += len(only_ours) - better if worse == 0 else 0
    return verdict


def pairs(base, similarity, ours, theirs, queries):
    """Self join under cosine: (indptr, rows) of ours, cut to the first `queries`, and of theirs,
    which pairs a row with itself too."""
    def codes(indptr, rows):
        query = np.repeat(np.arange(queries, dtype=np.int64), np.diff(indptr[:queries + 1]))
        rows = np.asarray(rows[:indptr[queries]], dtype=np.int64)
        keep = query != rows
        return np.sort(query[keep] * len(base) + rows[keep])

    a = codes(*(np.asarray(part).astype(np.int64) for part in ours))
    b = codes(*(np.asarray(part).astype(np.int64) for part in theirs))
    verdict = Verdict(len(a))
    for only, mine in ((np.setdiff1d(a, b), True), (np.setdiff1d(b, a), False)):
        found = 1 - scores(base, base, "cosine", only // len(base), only % len(base))
        edge = np.abs(found - similarity) <= TINY
        verdict.ties += int(edge.sum())
        good = (found >= similarity) & ~edge
        bad = (found < similarity) & ~edge
        verdict.missed += int((good if mine else bad).sum())
        verdict.ours_wrong += int((bad if mine else good).sum())
    return verdict
