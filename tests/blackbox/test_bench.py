"""What the benchmark's verdicts rest on: the comparison of answers, and data that do not change."""

import importlib.util
import subprocess
import sys

import h5py
import numpy as np

from support import ROOT, same_bits

sys.path.insert(0, str(ROOT / "scripts"))
from benchlib import compare, measure  # noqa: E402

GENERATOR = ROOT / "scripts" / "make-synthetic.py"


def neighbours(base, queries, metric, k):
    every = np.stack([compare.scores(base, queries, metric, np.full(len(base), q),
                                     np.arange(len(base))) for q in range(len(queries))])
    return np.argsort(every, axis=1, kind="stable")[:, :k]


def counts(verdict):
    return (verdict.missed, verdict.ties, verdict.order, verdict.ours_wrong)


def test_knn_verdicts(t):
    base = t.gaussian(300, 7).astype(np.float32)
    queries = t.gaussian(20, 7).astype(np.float32)
    base[17] = base[250]
    queries[3] = base[17] * np.float32(1.5)
    for metric in ("cosine", "ip", "l2"):
        truth = neighbours(base, queries, metric, 6)
        longer = neighbours(base, queries, metric, 7)
        good = truth[:, :5]
        t.check(counts(compare.knn(base, queries, metric, good, good.copy())) == (0, 0, 0, 0),
                f"{metric}: equal answers")
        swapped = good.copy()
        swapped[4, :2] = swapped[4, 1::-1]
        t.check(counts(compare.knn(base, queries, metric, good, swapped)) == (0, 0, 1, 0),
                f"{metric}: another order")
        worse = good.copy()
        worse[7, 2] = longer[7, 6]
        t.check(counts(compare.knn(base, queries, metric, good, worse)) == (1, 0, 0, 0),
                f"{metric}: the peer misses one")
        t.check(compare.knn(base, queries, metric, worse, good).ours_wrong == 1,
                f"{metric}: we miss one")
        short = good.copy()
        short[7, 4] = -1
        t.check(counts(compare.knn(base, queries, metric, good, short)) == (1, 0, 0, 0),
                f"{metric}: the peer has one less")
        t.check(compare.knn(base, queries, metric, short, good).ours_wrong == 1,
                f"{metric}: we have one less")
        t.check(compare.knn(base, queries, metric, good, good[:5]).total == 25,
                f"{metric}: a sample of the queries")
    # Rows 17 and 250 are equal: either may stand at the end.
    first = neighbours(base, queries, "l2", 1)
    other = first.copy()
    other[3, 0] = 250
    t.check(first[3, 0] == 17 and counts(compare.knn(base, queries, "l2", first, other)) ==
            (0, 1, 0, 0), "a tie")


def test_pair_verdicts(t):
    base = t.gaussian(60, 4).astype(np.float32)
    limit = 0.7
    count = len(base)
    table = np.stack([1 - compare.scores(base, base, "cosine", np.full(count, q),
                                         np.arange(count)) for q in range(count)])
    keep = table >= limit

    def csr(mask):
        return np.concatenate([[0], np.cumsum(mask.sum(axis=1))]), np.nonzero(mask)[1]

    own = keep & ~np.eye(count, dtype=bool)
    t.check(own.sum() > 10, "the data have pairs")
    equal = compare.pairs(base, limit, csr(own), csr(keep), count)
    t.check(counts(equal) == (0, 0, 0, 0) and equal.total == own.sum(), "equal pairs")
    row, column = (int(i[0]) for i in np.nonzero(own))
    fewer = own.copy()
    fewer[row, column] = False
    t.check(counts(compare.pairs(base, limit, csr(own), csr(fewer), count)) == (1, 0, 0, 0),
            "the peer misses a pair")
    t.check(counts(compare.pairs(base, limit, csr(fewer), csr(own), count)) == (0, 0, 0, 1),
            "we miss a pair")
    row, column = (int(i[0]) for i in np.nonzero(~keep))
    more = own.copy()
    more[row, column] = True
    t.check(counts(compare.pairs(base, limit, csr(more), csr(own), count)) == (0, 0, 0, 1),
            "we have a pair too many")
    part = csr(keep[:20])
    t.check(counts(compare.pairs(base, limit, csr(own), part, 20)) == (0, 0, 0, 0), "a sample")


def test_ratios_are_taken_within_a_round(t):
    a = measure.Contender("a", None)
    b = measure.Contender("b", None)
    # A machine that is three times slower for one round in three.
    a.seconds, b.seconds = [1.0, 3.0, 1.0], [2.0, 6.0, 2.0]
    a.peaks = [10.0, 10 / 3, 10.0]
    t.check(a.times_of(b) == 2, "ratio")
    t.check(abs(a.peak_share(5) - 0.5) < 1e-12, "share of the peak")


def test_rounds_take_turns(t):
    turns = []

    def contender(name):
        return measure.Contender(name, lambda: turns.append(name) or 0.25, share=0.5)

    every = [contender("a"), contender("b")]
    peaks = measure.run_rounds(every, measure.Pace(0, 3, 3), lambda seconds: 7.0)
    t.check("".join(turns) == "ab" + "ab" + "ba" + "ab", f"order {turns}")
    t.check(len(peaks) == 6 and every[0].seconds == [0.5] * 3 and every[0].peaks == [7.0] * 3,
            "seconds are divided by the share of the work")


def generated(t, name, *options):
    path = t.path(name)
    subprocess.run([sys.executable, str(GENERATOR), *options, path], check=True)
    with h5py.File(path, "r") as file:
        return file["train"][()], file["test"][()], file.attrs["distance"]


def test_synthetic_data(t):
    spec = importlib.util.spec_from_file_location("make_synthetic", GENERATOR)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    for kind in ("spectrum", "gaussian"):
        few = ("--kind", kind, "--rows", "5000", "--queries", "10", "--dim", "24")
        base, queries, metric = generated(t, "a.h5", *few)
        again, _, _ = generated(t, "b.h5", *few, "--gzip")
        more, _, _ = generated(t, "c.h5", "--kind", kind, "--rows", "9000", "--queries", "0",
                               "--dim", "24", "--metric", "euclidean")
        other, _, _ = generated(t, "d.h5", *few, "--seed", "2")
        t.check(metric == "angular" and base.shape == (5000, 24) and queries.shape == (10, 24),
                f"{kind}: shapes")
        t.check(same_bits(again, base), f"{kind}: the same again")
        t.check(same_bits(more[:4096], base[:4096]), f"{kind}: rows do not depend on the count")
        t.check(not np.array_equal(other, base) and not np.array_equal(queries, base[:10]),
                f"{kind}: seeds and queries differ")
        t.check(same_bits(module.array(kind, 5000, 24, 1), base), f"{kind}: in memory")
    base, _, _ = generated(t, "e.h5", "--rows", "4000", "--dim", "64")
    unit = base / np.linalg.norm(base, axis=1, keepdims=True)
    values = np.linalg.eigvalsh(np.cov(base.T))[::-1]
    t.check(0.1 < float((unit @ unit.T).mean()) < 0.5, "rows share a direction")
    t.check(values[:16].sum() > 0.5 * values.sum(), "the spectrum decays")
