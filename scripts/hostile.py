#!/usr/bin/env python3
"""Damaged copies of small good files of every layout and storage, by the thousand.

    scripts/hostile.py [--count N] [--seed N] [-j N] [-k KIND] [--keep DIR]

Runs inspect and the job on every one of them (show and verify on damaged results) and says what came
of it: no exit code of 128 or more, nothing over 10 seconds, one message, nothing left behind, and no
answer that differs from what h5py and numpy find in the same file. --count is for all kinds together
(default 10000); -k only kinds whose name holds KIND; --keep keeps the files that were taken wrongly.
The seed is printed, and the same seed makes the same files. ENGRAM_BATCH names the command."""

import argparse
import collections
import multiprocessing
import os
import shutil
import sys
import tempfile
import time
from pathlib import Path

sys.dont_write_bytecode = True
sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests" / "blackbox"))

import hostile_check  # noqa: E402
import hostile_files  # noqa: E402

BATCH = 20


def run_batch(job):
    kind, seeds, keep = job
    folder = tempfile.mkdtemp(prefix="engram-hostile-")
    found, codes = [], collections.Counter()
    try:
        session = hostile_check.Session(kind, folder)
        for seed in seeds:
            what, complaints, ended = session.try_seed(seed)
            codes.update(ended)
            found += [
                f"{kind} {seed}: {command}: {complaint} ({what}): {run.err.strip()[-300:]!r}"
                for command, complaint, run in complaints
            ]
            if complaints and keep:
                with open(os.path.join(keep, f"{kind}-{seed}.h5"), "wb") as f:
                    f.write(hostile_files.damaged(session.good, seed)[0])
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    return len(seeds), found, codes


def batches(kinds, count, seed, keep):
    """Kinds take turns, so that an early end has seen all of them."""
    each = -(-count // len(kinds))
    for first in range(0, each, BATCH):
        for kind in kinds:
            yield kind, range(seed + first, seed + min(first + BATCH, each)), keep


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--count", type=int, default=10000)
    parser.add_argument("--seed", type=int)
    parser.add_argument("-j", "--jobs", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("-k", "--kind", default="")
    parser.add_argument("--keep")
    options = parser.parse_args()
    seed = options.seed
    if seed is None:
        seed = int.from_bytes(os.urandom(3), "little")
    kinds = [k for k in [*hostile_files.KINDS, *hostile_files.RESULTS] if options.kind in k]
    print(f"damaged files of {len(kinds)} kinds, seed {seed}", flush=True)
    if options.keep:
        os.makedirs(options.keep, exist_ok=True)
    began = time.monotonic()
    tried, codes, failures = 0, collections.Counter(), 0
    with multiprocessing.get_context("fork").Pool(options.jobs) as pool:
        for count, found, ended in pool.imap_unordered(
            run_batch, batches(kinds, options.count, seed, options.keep)
        ):
            tried += count
            codes.update(ended)
            failures += len(found)
            for text in found:
                print(text, flush=True)
    runs = ", ".join(f"{n} x {code}" for code, n in sorted(codes.items()))
    print(f"{tried} files in {time.monotonic() - began:.0f} s, seed {seed}; exit codes: {runs}")
    print(f"{failures} complaints")
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
