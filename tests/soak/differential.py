#!/usr/bin/env python3
"""Random jobs against the oracle, and against themselves: with other threads, memory, filters,
kernels, shards and processes, and killed now and then.

    tests/soak/differential.py [SECONDS] [--seed SEED] [--cases N] [-j N] [-v] [--keep]

SECONDS: 60 unless told. Case i has the seed SEED + i, whatever runs beside it; --seed that of a failure
with --cases 1 is the same case again, and --keep leaves its files. -j: so many at a time (default 1).
ENGRAM_BATCH names the command (default build/engram-batch)."""

import argparse
import collections
import multiprocessing
import os
import shutil
import sys
import tempfile
import time
import traceback

sys.dont_write_bytecode = True

import disturb  # noqa: E402
import h5py  # noqa: E402
import numpy as np  # noqa: E402
from cases import Case  # noqa: E402
from support import Box, first_difference, kernel_sets, same_bits  # noqa: E402


def compare(case, path):
    """What is wrong with a result; None: nothing."""
    with h5py.File(path, "r") as f:
        for name, want in case.want.items():
            if name not in f:
                return f"no {name}"
            got = f[name][()]
            if isinstance(want, list):
                if [value.decode() for value in got] != want:
                    return f"{name} differ"
            elif not same_bits(got, want):
                return f"{name}: {first_difference(got, want)}"
    return None


def try_case(seed, folder):
    """(tally, what it was about, what is wrong)."""
    random = np.random.default_rng(seed)
    tally = disturb.Tally()
    case = Case(folder, random)
    job = disturb.Job(folder, case.arguments, random, tally, kernel_sets(Box("sets", folder, 0)))
    tally.jobs = 1
    try:
        whole = job.undisturbed()["out.h5"]
        found = job.whole / "out.h5"
        found.write_bytes(whole)
        wrong = compare(case, found)
        if wrong:
            return tally, case, f"{wrong}; last: {job.said[-1]}"
        if random.integers(6) == 0:
            job.verify(found)
        job.ask_memory()
        if random.integers(4) == 0:
            job.in_shards(whole, job.undisturbed(int(random.integers(1, 5))), 1)
        else:
            job.as_a_whole(whole, disturb.one_of(random, (0, 0, 1, 2)))
    except disturb.Wrong as why:
        return tally, case, str(why)
    return tally, case, None


def run(work):
    seed, keep = work
    folder = tempfile.mkdtemp(prefix="engram-soak-")
    wrong = None
    try:
        tally, case, wrong = try_case(seed, folder)
        return seed, tally.__dict__, case.answer, str(case), wrong
    except Exception:  # a broken case must not end the others
        wrong = traceback.format_exc()
        return seed, {}, "broken", "", wrong
    finally:
        if wrong and keep:
            print(f"kept {folder}", flush=True)
        else:
            shutil.rmtree(folder, ignore_errors=True)


def seeds(options, end):
    seed = options.seed
    while (time.monotonic() < end if options.cases is None else seed < options.seed + options.cases):
        yield seed, options.keep
        seed += 1


def outcomes(options, end):
    """In the order in which they end; no more is begun than there is time for."""
    if options.jobs <= 1:
        yield from map(run, seeds(options, end))
        return
    with multiprocessing.get_context("fork").Pool(options.jobs) as pool:
        waiting = collections.deque()
        for work in seeds(options, end):
            waiting.append(pool.apply_async(run, (work,)))
            while len(waiting) >= 2 * options.jobs:
                yield waiting.popleft().get()
        while waiting:
            yield waiting.popleft().get()


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("seconds", metavar="SECONDS", nargs="?", type=float, default=60)
    parser.add_argument("--seed", type=int, default=int.from_bytes(os.urandom(4), "little") >> 2)
    parser.add_argument("--cases", metavar="N", type=int)
    parser.add_argument("-j", "--jobs", metavar="N", type=int, default=1)
    parser.add_argument("-v", "--verbose", action="store_true")
    parser.add_argument("--keep", action="store_true")
    options = parser.parse_args()
    print(f"differential soak of {disturb.binary()}, seed {options.seed}", flush=True)
    total, kinds = disturb.Tally(), collections.Counter()
    passed = failed = 0
    for seed, tally, answer, about, wrong in outcomes(options, time.monotonic() + options.seconds):
        for name, value in tally.items():
            setattr(total, name, getattr(total, name) + value)
        kinds[answer] += 1
        passed += wrong is None
        failed += wrong is not None
        if wrong:
            print(f"FAILED --seed {seed} --cases 1: {about}: {wrong}", flush=True)
        elif options.verbose:
            print(f"passed {seed}: {about}", flush=True)
    print(", ".join(f"{n} {kind}" for kind, n in sorted(kinds.items())))
    print(total)
    print(f"{passed} passed, {failed} failed")
    return 1 if failed or not passed else 0


if __name__ == "__main__":
    sys.exit(main())
