#!/usr/bin/env python3
"""Black-box tests: runs the command on files made with h5py and reads its results with h5py.

    tests/blackbox/run.py [-k SUBSTRING] [--seed N] [-l] [-v]

-k runs tests whose name holds SUBSTRING (may be repeated), -l lists the names, -v tells times.
ENGRAM_BATCH names the command (default build/engram-batch). Data are random: the seed is printed,
and the same seed makes the same tests."""

import argparse
import importlib
import os
import shutil
import sys
import tempfile
import time
import traceback
from pathlib import Path

sys.dont_write_bytecode = True
HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE))

REASONS_SHOWN = 8


def collect():
    tests = []
    for path in sorted(HERE.glob("test_*.py")):
        module = importlib.import_module(path.stem)
        for name, function in vars(module).items():
            if name.startswith("test_") and callable(function):
                tests.append((f"{path.stem[5:]}.{name[5:]}", function))
    return tests


def run_one(support, name, function, seed):
    """(outcome, reasons, box)"""
    folder = tempfile.mkdtemp(prefix="engram-blackbox-")
    box = support.Box(name, folder, seed)
    outcome = "passed"
    try:
        function(box)
    except support.Stop:
        pass
    except support.Skip as reason:
        outcome = "skipped"
        box.skip_reason = str(reason)
    except Exception:  # a broken test must not hide the others
        box.reasons.append("exception:\n" + traceback.format_exc())
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    if box.reasons:
        outcome = "failed"
    return outcome, box


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("-k", metavar="SUBSTRING", action="append", default=[])
    parser.add_argument("--seed", type=int)
    parser.add_argument("-l", "--list", action="store_true")
    parser.add_argument("-v", "--verbose", action="store_true")
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
    runs = 0
    for name, function in tests:
        began = time.monotonic()
        outcome, box = run_one(support, name, function, seed)
        runs += box.runs
        count[outcome] += 1
        if outcome == "failed":
            print(f"FAILED {name} (--seed {seed} -k {name})")
            for reason in box.reasons[:REASONS_SHOWN]:
                print("    " + reason.replace("\n", "\n    "))
            if len(box.reasons) > REASONS_SHOWN:
                print(f"    ... {len(box.reasons) - REASONS_SHOWN} more")
        elif outcome == "skipped":
            print(f"skipped {name}: {box.skip_reason}")
        elif options.verbose:
            print(f"passed {name} {time.monotonic() - began:.2f} s, {box.runs} runs")
        sys.stdout.flush()
    skipped = f", {count['skipped']} skipped" if count["skipped"] else ""
    print(
        f"{runs} runs of the command in {time.monotonic() - start:.0f} s, seed {seed}\n"
        f"{count['passed']} passed, {count['failed']} failed{skipped}"
    )
    return 1 if count["failed"] or not tests else 0


if __name__ == "__main__":
    sys.exit(main())
