#!/usr/bin/env python3
"""A large real job against the oracle: 2,000 random rows of a file of word vectors as queries, the
others as base, k = 10.

    tests/blackbox/glove_full.py FILE.h5 [--metric M]... [--seed N] [--keep DIR]

FILE.h5 holds `embeddings` (for example 200,000 GloVe vectors). Two checks: every neighbour and
every float32 distance equals the oracle's, and the file has the same bytes with 1, 2 and 3 threads
and with --isa portable. The oracle finds candidates with a float64 matrix product, keeps all whose
distance is within a safe margin of the k-th, and scores those canonically. Not part of `make test`:
it takes a minute and a gigabyte. Prints one line per check; exits with 1 when one fails."""

import argparse
import hashlib
import os
import shutil
import sys
import tempfile
import time

import h5py
import numpy as np

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import oracle  # noqa: E402
import support  # noqa: E402

QUERIES = 2000
K = 10
CHUNK = 100
# Relative to the scale of a pair; rounding of a 100-term float64 product is below 1e-13 of it.
MARGIN = 1e-9


def candidates_of(queries, base, metric):
    """For each query the rows that may be among its K best, ascending."""
    base = base.astype(np.float64)
    queries = queries.astype(np.float64)
    if metric == "cosine":
        base /= np.linalg.norm(base, axis=1, keepdims=True)
        queries /= np.linalg.norm(queries, axis=1, keepdims=True)
    squares = (base * base).sum(axis=1)
    largest = np.sqrt(squares.max())
    for first in range(0, len(queries), CHUNK):
        part = queries[first : first + CHUNK]
        key = part @ base.T
        norms = np.sqrt((part * part).sum(axis=1))
        if metric in ("l2", "sqeuclidean"):
            key *= -2
            key += squares
            scale = (norms + largest) ** 2
        else:
            np.negative(key, out=key)
            scale = norms * largest
        kth = np.partition(key, K - 1, axis=1)[:, K - 1]
        for i in range(len(part)):
            yield np.flatnonzero(key[i] <= kth[i] + MARGIN * scale[i])


def expected(queries, base, metric):
    neighbors = np.empty((len(queries), K), np.int64)
    distances = np.empty((len(queries), K), np.float32)
    most = 0
    for i, rows in enumerate(candidates_of(queries, base, metric)):
        key = oracle.scores(queries[i : i + 1], base[rows], metric)[1][0]
        order = np.argsort(key, kind="stable")[:K]
        neighbors[i] = rows[order]
        distances[i] = key[order].astype(np.float32)
        most = max(most, len(rows))
    return neighbors, distances, most


def report(good, text):
    print(("ok      " if good else "FAILED  ") + text, flush=True)
    return good


def check_metric(box, path, queries, base, metric):
    began = time.monotonic()
    neighbors, distances, most = expected(queries, base, metric)
    print(f"oracle, {metric}: {time.monotonic() - began:.0f} s, at most {most} candidates a query")
    good = True
    reference = None
    isa_variants = [(f"--isa {name}", ["--isa", name]) for name in support.kernel_sets(box)]
    for label, extra in [(f"--threads {n}", ["--threads", n]) for n in (1, 2, 3)] + isa_variants:
        out = box.path("out.h5")
        began = time.monotonic()
        run = box.run("--force", "--metric", metric, "-k", K, *extra, path, out)
        seconds = time.monotonic() - began
        if run.code != 0:
            return report(False, f"{metric} {label}: {run}")
        with open(out, "rb") as f:
            digest = hashlib.sha256(f.read()).hexdigest()
        if reference is None:
            reference = digest
            got = support.Result(out)
            for name, have, want in (
                ("neighbors", got.neighbors, neighbors),
                ("distances", got.distances, distances),
                ("counts", got.counts, np.full(len(queries), K, np.int32)),
            ):
                same = support.same_bits(have, want)
                why = "" if same else ": " + support.first_difference(have, want)
                good &= report(same, f"{metric} {name} equal to the oracle{why}")
        good &= report(
            digest == reference, f"{metric} {label}: same bytes ({seconds:.1f} s, {digest[:16]})"
        )
    return good


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("file")
    parser.add_argument("--metric", action="append", choices=oracle.METRICS)
    parser.add_argument("--seed", type=int, default=20240229)
    parser.add_argument("--keep", metavar="DIR", help="keep the files there")
    options = parser.parse_args()
    with h5py.File(options.file, "r") as f:
        rows = f["embeddings"][:]
    chosen = np.zeros(len(rows), bool)
    chosen[np.random.default_rng(options.seed).permutation(len(rows))[:QUERIES]] = True
    base, queries = rows[~chosen], rows[chosen]
    print(f"{len(queries)} queries, {len(base)} base rows, {rows.shape[1]} dimensions, k {K}, "
          f"seed {options.seed}", flush=True)
    folder = options.keep or tempfile.mkdtemp(prefix="engram-glove-")
    os.makedirs(folder, exist_ok=True)
    try:
        box = support.Box("glove_full", folder, options.seed)
        path = box.two_sets(base, queries)
        metrics = options.metric or ["cosine"]
        good = all([check_metric(box, path, queries, base, metric) for metric in metrics])
        for reason in box.reasons:
            good = report(False, reason)
    finally:
        if not options.keep:
            shutil.rmtree(folder, ignore_errors=True)
    print("glove_full: " + ("all equal" if good else "DIFFERENT"))
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
