#!/usr/bin/env python3
"""Jobs of every kind, killed at random moments and run again until they end with the bytes of a run
that nobody disturbed.

    tests/soak/kills.py [N] [--seed SEED] [-k KIND] [-v]

N: how many runs have to be killed or stopped by a signal (default 200). -k: only kinds whose name
holds KIND. The seed is printed; the same seed makes the same jobs, though moments are never quite the
same. ENGRAM_BATCH names the command (default build/engram-batch)."""

import argparse
import os
import resource
import shutil
import sys
import tempfile

sys.dont_write_bytecode = True

import disturb  # noqa: E402
import numpy as np  # noqa: E402
from support import Box, kernel_sets  # noqa: E402

ROWS, QUERIES, DIM = 10000, 5000, 40
STOPS = 4  # of one job, at most


def inputs(t):
    """Two sets in clusters, with a row that is not finite, rows twice, ids, labels and groups."""
    centres = t.gaussian(ROWS // 20, DIM)
    base = centres[t.random.integers(0, len(centres), ROWS)] + 0.4 * t.gaussian(ROWS, DIM)
    base[12, 3] = np.nan
    base[ROWS // 3] = base[5]
    queries = base[t.random.permutation(ROWS)[:QUERIES]] + 0.05 * t.gaussian(QUERIES, DIM)
    rest = {
        "own": t.random.integers(-1, 40, ROWS),
        "some": t.random.random(ROWS) < 0.6,
        "texts": [f"label {i % 37}" if i % 3 == 0 else "" for i in range(ROWS)],
    }
    two = t.h5("two.h5", {"train": base.astype("f4"), "test": queries.astype("f4"), **rest})
    one = t.h5("one.h5", {"x": (base.astype("f4"), {"chunks": (777, DIM), "compression": "gzip"}),
                          **rest})
    bits = t.h5("bits.h5", {"x": t.random.integers(0, 2, (ROWS, 200)).astype(bool)})
    return two, one, bits


def jobs(t):
    two, one, bits = inputs(t)
    return {
        "knn": ["--metric=cosine", two],
        "knn self": ["--metric=l2", "-k", "3", "--float64", "--compress=1", one],
        "knn bits": ["--metric=hamming", bits],
        "knn groups": ["--metric=ip", "--subset=some", "--exclude-same=own", one],
        "pairs with k": ["--metric=l2", "--max-distance=3", "-k", "4", two],
        "pairs": ["--metric=cosine", "--min-similarity=0.6", two],
        "pairs self": ["--metric=l2", "--max-distance=3", one],
        "pairs groups": ["--metric=l1", "--max-distance=14", "--exclude-same=own", one],
        "components": ["--components", "--metric=cosine", "--min-similarity=0.8", one],
        "labels": ["--metric=l2", "--labels=texts", two],
        "dense": ["--all", "--metric=l2", "--base-rows=:1500", two],
        "dense compressed": ["--all", "--metric=cosine", "--similarity", "--compress=1",
                             "--base-rows=7:1100", two],
        "pairwise": ["--pairwise", "--metric=l2", "--base", "train", "--queries", "train", two],
    }  # fmt: skip


class Kind:
    """A job, and the bytes of undisturbed runs of it, as a whole and in shards."""

    def __init__(self, t, arguments, tally):
        self.job = disturb.Job(t.folder, arguments, t.random, tally, kernel_sets(t))
        self.whole = self.job.undisturbed()["out.h5"]
        self.job.ask_memory()
        self.parts = {}

    def story(self, t):
        shutil.rmtree(self.job.work)
        self.job.work.mkdir()
        self.job.tally.jobs += 1
        if t.random.integers(4) != 0:
            self.job.as_a_whole(self.whole, STOPS)
            return
        count = int(t.random.integers(2, 4))
        if count not in self.parts:
            self.parts[count] = self.job.undisturbed(count)
        self.job.in_shards(self.whole, self.parts[count], 2)


def soak(t, wanted, names, verbose):
    """Kinds take turns; one whose bytes were wrong is not tried again."""
    tally, kinds, wrong = disturb.Tally(), {}, 0
    todo = {name: arguments for name, arguments in jobs(t).items() if names in name}
    before = 0
    while todo and tally.kills + tally.stops < wanted:
        for name in t.random.permutation(sorted(todo)):
            if tally.kills + tally.stops >= wanted:
                break
            try:
                if name not in kinds:
                    kinds[name] = Kind(t, todo[name], tally)
                kinds[name].story(t)
            except disturb.Wrong as why:
                print(f"FAILED {name}: {why}", flush=True)
                wrong += 1
                del todo[name]
            if verbose:
                print(f"{name}: {tally.kills + tally.stops - before} more, {tally}", flush=True)
                before = tally.kills + tally.stops
    return tally, wrong, len(kinds)


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("kills", metavar="N", nargs="?", type=int, default=200)
    parser.add_argument("--seed", type=int, default=int.from_bytes(os.urandom(4), "little"))
    parser.add_argument("-k", metavar="KIND", default="")
    parser.add_argument("-v", "--verbose", action="store_true")
    options = parser.parse_args()
    print(f"killing {disturb.binary()}, seed {options.seed}", flush=True)
    folder = tempfile.mkdtemp(prefix="engram-kills-")
    try:
        box = Box("kills", folder, options.seed)
        tally, wrong, kinds = soak(box, options.kills, options.k, options.verbose)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    used = [resource.getrusage(w) for w in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    print(f"{tally}; {sum(u.ru_utime + u.ru_stime for u in used):.0f} s of processor time, "
          f"seed {options.seed}")
    print(f"{kinds - wrong} passed, {wrong} failed")
    return 1 if wrong or tally.kills + tally.stops < options.kills else 0


if __name__ == "__main__":
    sys.exit(main())
