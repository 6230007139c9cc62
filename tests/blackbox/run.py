#!/usr/bin/env python3
"""Black-box tests: runs the command on files made with h5py and reads its results with h5py.

    tests/blackbox/run.py [-k SUBSTRING] [--seed N] [-j N] [-l] [-v] [--times]

-k runs tests whose name holds SUBSTRING (may be repeated), -l lists the names, -v says which passed,
-j runs so many at once (default: the cores, at most 4; each has its own folder and random numbers).
--times ends with the processor time of every test, the most expensive first: unlike seconds on the
clock it does not depend on what else the machine does. ENGRAM_TEST_LIGHT=1 leaves out the tests
that are marked as heavy. ENGRAM_BATCH names the command (default
build/engram-batch). Data are random: the seed is printed, and the same seed makes the same tests."""

import argparse
import importlib
import multiprocessing
import os
import resource
import shutil
import signal
import sys
import tempfile
import time
import traceback
from pathlib import Path

sys.dont_write_bytecode = True
# Threads that wait give their core away, in commands and where the library is loaded.
os.environ.setdefault("OMP_WAIT_POLICY", "passive")
# A shell's background job ignores this, and commands would inherit that; some tests send it.
if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)
HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE))

REASONS_SHOWN = 40
LIGHT = os.environ.get("ENGRAM_TEST_LIGHT") == "1"


def collect():
    tests = []
    for path in sorted(HERE.glob("test_*.py")):
        module = importlib.import_module(path.stem)
        for name, function in vars(module).items():
            if name.startswith("test_") and callable(function):
                tests.append((f"{path.stem[5:]}.{name[5:]}", function))
    return tests


class Outcome:
    """What came of one test; goes from the process that ran it to the one that prints."""

    def __init__(self, name, kind, box, seconds):
        self.name = name
        self.kind = kind
        self.reasons = box.reasons
        self.skip_reason = box.skip_reason
        self.runs = box.runs
        self.seconds = seconds


def cpu_seconds():
    """Of this process and the commands that it ran."""
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(u.ru_utime + u.ru_stime for u in used)


def run_one(job):
    import support

    name, function, seed = job
    began = cpu_seconds()
    folder = tempfile.mkdtemp(prefix="engram-blackbox-")
    box = support.Box(name, folder, seed)
    kind = "passed"
    try:
        function(box)
    except support.Stop:
        pass
    except support.Skip as reason:
        kind = "skipped"
        box.skip_reason = str(reason)
    except Exception:  # a broken test must not hide the others
        box.reasons.append("exception:\n" + traceback.format_exc())
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    if box.reasons:
        kind = "failed"
    return Outcome(name, kind, box, cpu_seconds() - began)


def outcomes(jobs, processes):
    """One by one, in the order of the jobs."""
    if len(jobs) <= 1:
        yield from map(run_one, jobs)
        return
    # Each in a process of its own: a command is said to have had at its peak what the process that
    # started it had at its own, and that may have run a large test before.
    with multiprocessing.get_context("fork").Pool(max(1, processes), maxtasksperchild=1) as pool:
        yield from pool.imap(run_one, jobs)


def tell(outcome, seed, verbose):
    name = outcome.name
    if outcome.kind == "failed":
        print(f"FAILED {name} (--seed {seed} -k {name})")
        for reason in outcome.reasons[:REASONS_SHOWN]:
            print("    " + reason.replace("\n", "\n    "))
        if len(outcome.reasons) > REASONS_SHOWN:
            print(f"    ... {len(outcome.reasons) - REASONS_SHOWN} more")
    elif outcome.kind == "skipped":
        print(f"skipped {name}: {outcome.skip_reason}")
    elif verbose:
        print(f"passed {name}: {outcome.seconds:.2f} s of processor time, {outcome.runs} runs")
    sys.stdout.flush()


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("-k", metavar="SUBSTRING", action="append", default=[])
    parser.add_argument("--seed", type=int)
    parser.add_argument("-l", "--list", action="store_true")
    parser.add_argument("-v", "--verbose", action="store_true")
    parser.add_argument("--times", action="store_true")
    cores = min(4, len(os.sched_getaffinity(0)))
    parser.add_argument("-j", "--jobs", metavar="N", type=int, default=cores)
    options = parser.parse_args()
    try:
        import h5py  # noqa: F401
        import numpy  # noqa: F401
    except ImportError as error:
        print(f"black-box tests need numpy and h5py: {error}", file=sys.stderr)
        return 69
    import support

    tests = [
        (name, function)
        for name, function in collect()
        if not options.k or any(part in name for part in options.k)
    ]
    left_out = [t for t in tests if LIGHT and getattr(t[1], "heavy", False)]
    tests = [t for t in tests if t not in left_out]
    if options.list:
        print("\n".join(name for name, _ in tests))
        return 0
    if not os.access(support.binary(), os.X_OK):
        print(f"{support.binary()}: no such program; build it or set ENGRAM_BATCH", file=sys.stderr)
        return 66
    seed = options.seed if options.seed is not None else int.from_bytes(os.urandom(4), "little")
    print(f"black-box tests of {support.binary()}, seed {seed}", flush=True)

    count = {"passed": 0, "failed": 0, "skipped": 0}
    start = time.monotonic()
    done = []
    for outcome in outcomes([(name, function, seed) for name, function in tests], options.jobs):
        tell(outcome, seed, options.verbose)
        count[outcome.kind] += 1
        done.append(outcome)
    if options.times:
        for outcome in sorted(done, key=lambda o: -o.seconds):
            print(f"{outcome.seconds:7.2f} s {outcome.runs:4d} runs  {outcome.name}")
    skipped = f", {count['skipped']} skipped" if count["skipped"] else ""
    if left_out:
        print(f"left out as heavy: {', '.join(name for name, _ in left_out)}")
    print(
        f"{sum(o.runs for o in done)} runs of the command in {time.monotonic() - start:.0f} s "
        f"({sum(o.seconds for o in done):.0f} s of processor time), seed {seed}\n"
        f"{count['passed']} passed, {count['failed']} failed{skipped}"
    )
    return 1 if count["failed"] or not tests else 0


if __name__ == "__main__":
    sys.exit(main())
