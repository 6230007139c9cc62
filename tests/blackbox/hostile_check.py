"""Runs the command on a damaged file and says what is wrong with how it took it.

Right is: a documented exit code below 128, one message when it fails, no more than LIMIT seconds of
processor time, no file left behind, and, when it succeeds, the answer that h5py and numpy find in the
same damaged file. HDF5 may crash or hang under h5py too, so that reads in a process of its own."""

import os
import pickle
import re
import signal
import subprocess
import time

import h5py
import numpy as np

import hostile_files
import oracle
from support import Result, binary, same_bits

CODES = (0, 64, 65, 66, 69, 71, 73, 74, 77)
LIMIT = 10  # seconds of processor time
PAIRS_PER_SECOND = 5e7  # processor seconds, where all rows are equal
PATIENCE = 90  # seconds on the clock, on a machine that does other things too
MEMORY = 1 << 20  # KiB
PAIRS = 2_000_000  # that numpy is asked for at once


class Ended:
    """One finished command."""

    def __init__(self, arguments, folder):
        began = time.monotonic()
        environment = dict(os.environ, OMP_WAIT_POLICY="passive")
        paths = [os.path.join(folder, name) for name in ("stdout.txt", "stderr.txt")]
        with open(paths[0], "wb") as out, open(paths[1], "wb") as err:
            child = subprocess.Popen(
                [binary()] + [str(a) for a in arguments],
                cwd=folder, env=environment, stdin=subprocess.DEVNULL, stdout=out, stderr=err,
            )  # fmt: skip
            pid, pause = 0, 0.001
            while pid == 0:
                pid, status, used = os.wait4(child.pid, os.WNOHANG)
                if pid == 0:
                    if time.monotonic() - began > PATIENCE:
                        child.send_signal(signal.SIGKILL)
                    time.sleep(pause)
                    pause = min(2 * pause, 0.05)
            child.returncode = os.waitstatus_to_exitcode(status)
        self.code = child.returncode
        self.seconds = used.ru_utime + used.ru_stime
        self.kilobytes = used.ru_maxrss
        self.out, self.err = [open(path, encoding="utf-8", errors="replace").read() for path in paths]
        for path in paths:
            os.unlink(path)


# What h5py refuses and is no damage to the numbers: parameters that only writing needs, a value that
# h5py takes for the sign of an error, members of a compound that numpy cannot have.
ONLY_H5PY = (
    "deflate aggression level",
    "IndexError: tuple index out of range",  # a filter without them
    "Unspecified error in H5T",
    "data type '<",
    "UnicodeDecodeError",  # names of members
    "Unknown string encoding",
    "NumPy dtype descriptor requires",
)


def pairs_of(ended):
    """A damaged shape may be one of a larger job, which takes its time."""
    found = re.search(r"^  search +([0-9,]+) pairs", ended.err, re.MULTILINE)
    return int(found[1].replace(",", "")) if found else 0


def complaints_about(ended, before, folder, output):
    """What is wrong whatever the file holds."""
    found = []
    # glibc may have its say about the heap before the command tells of the crash.
    errors = [
        line
        for line in ended.err.splitlines()
        if line.startswith("engram-batch: ") and not line.startswith("engram-batch: warning: ")
    ]
    if ended.code not in CODES:
        found.append(f"exit {ended.code}")
    if ended.seconds > LIMIT + pairs_of(ended) / PAIRS_PER_SECOND:
        found.append(f"{ended.seconds:.1f} s")
    if ended.kilobytes > MEMORY:
        found.append(f"{ended.kilobytes} KiB of memory")
    if ended.code not in (0, 1) and len(errors) != 1:
        found.append(f"{len(errors)} error messages")
    left = set(os.listdir(folder)) - before - ({output} if ended.code == 0 else set())
    if left:
        found.append(f"left behind {sorted(left)}")
    return found


def in_child(function, seconds=30):
    """What a function gives in a process of its own: ("ok", value), ("error", text) or ("ended", how)."""
    reader, writer = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            os.close(reader)
            signal.alarm(seconds)
            try:
                answer = ("ok", function())
            except Exception as error:  # whatever h5py raises
                answer = ("error", f"{type(error).__name__}: {error}"[:300])
            with os.fdopen(writer, "wb") as f:
                pickle.dump(answer, f)
        finally:
            os._exit(0)
    os.close(writer)
    with os.fdopen(reader, "rb") as f:
        sent = f.read()
    _, status = os.waitpid(pid, 0)
    try:
        return pickle.loads(sent)
    except (EOFError, pickle.UnpicklingError):
        return ("ended", f"status {status}")


def read_rows(good, path):
    """base and queries (None: the base) as h5py reads them"""
    os.chdir(os.path.dirname(path))  # where external files lie
    with h5py.File(path, "r") as f:
        if good.rows is not None:
            return good.rows(f), None
        queries = None if good.queries is None else f[good.queries][()]
        return f[good.base][()], queries


def some_rows(queries, base):
    """Ranges of queries: all of them, unless a damaged shape made very many."""
    if queries * base <= PAIRS:
        return [(0, queries)]
    count = max(PAIRS // 2 // base, 1)
    return [(0, count), (queries - count, queries)]


def wrong_answer(good, path, output):
    """What is wrong with a result; None: it is what h5py and numpy find."""
    kind, read = in_child(lambda: read_rows(good, path))
    if kind != "ok":
        return None if any(text in read for text in ONLY_H5PY) else f"h5py cannot read it ({read})"
    base, queries = read
    self_job = queries is None
    queries = base if self_job else queries
    result = Result(output)
    for first, last in some_rows(len(queries), len(base)):
        want = oracle.answer(queries, base, "l2", k=3, self_job=self_job, query_rows=(first, last))
        for name, got, expected in zip(
            ("neighbors", "distances", "counts"),
            (result.neighbors, result.distances, result.counts),
            want.padded(3),
        ):
            if not same_bits(got[first:last], expected):
                return f"{name} differ from those of h5py and numpy"
    return None


def job_arguments(good):
    own = [] if "--metric" in good.arguments or good.name == "packed-bits" else ["--metric", "l2"]
    return own + ["-k", "3", "--threads", "2", *good.arguments]


def is_comparable(good, arguments):
    known = good.base is not None or good.rows is not None
    return known and arguments[:2] == ["--metric", "l2"] and "--exclude-same" not in arguments


def check_damaged(good, data, folder):
    """Runs inspect and the job on `data`, and verify where numpy cannot tell the answer:
    ([(command, complaint, Ended)], exit codes)"""
    path = os.path.join(folder, "damaged.h5")
    output = os.path.join(folder, "out.h5")
    with open(path, "wb") as f:
        f.write(data)
    before = set(os.listdir(folder))
    arguments = job_arguments(good)
    inspected = Ended(["inspect", *arguments, path], folder)
    found = [("inspect", c, inspected) for c in complaints_about(inspected, before, folder, None)]
    ran = Ended(["--force", *arguments, path, output], folder)
    found += [("job", c, ran) for c in complaints_about(ran, before, folder, "out.h5")]
    codes = [inspected.code, ran.code]
    if ran.code == 0 and is_comparable(good, arguments):
        wrong = wrong_answer(good, path, output)
        found += [("job", wrong, ran)] if wrong is not None else []
    elif ran.code == 0:
        checked = Ended(["verify", "--full", path, output], folder)
        complaints = complaints_about(checked, before | {"out.h5"}, folder, None)
        found += [("verify", c, checked) for c in complaints]
        codes.append(checked.code)
    for name in (output, path):
        if os.path.exists(name):
            os.unlink(name)
    return found, codes


def check_result(good, data, folder):
    """Runs show and verify on a damaged result of the file `good.input`."""
    path = os.path.join(folder, "damaged.h5")
    with open(path, "wb") as f:
        f.write(data)
    before = set(os.listdir(folder))
    found, codes = [], []
    for arguments in (["show", path], ["verify", good.input, path]):
        ended = Ended(arguments, folder)
        codes.append(ended.code)
        complaints = complaints_about(ended, before, folder, None)
        found += [(arguments[0], c, ended) for c in complaints if c != "exit 1"]
    os.unlink(path)
    return found, codes


class Session:
    """Damaged copies of one kind of file, in a folder of their own."""

    def __init__(self, kind, folder):
        self.kind = kind
        self.folder = folder
        random = np.random.default_rng(1)
        if kind in hostile_files.RESULTS:
            self.good = hostile_files.good_result(kind, folder, random, Ended)
            self.check = check_result
        else:
            self.good = hostile_files.good_file(kind, folder, random)
            self.check = check_damaged

    def try_seed(self, seed):
        """(what was done, [(command, complaint, Ended)], exit codes)"""
        data, what = hostile_files.damaged(self.good, seed)
        found, codes = self.check(self.good, data, self.folder)
        return what, found, codes
