"""What the black-box tests share: a folder per test, running the command, reading results."""

import os
import subprocess
import time
import zlib
from pathlib import Path

import h5py
import numpy as np

import oracle

ROOT = Path(__file__).resolve().parents[2]
DATA = ROOT / "data"
TIMEOUT_SECONDS = 300
SANITIZER_MARKS = ("Sanitizer", "runtime error:")


def binary():
    """The command under test, absolute because tests run it in folders of their own."""
    return str((ROOT / os.environ.get("ENGRAM_BATCH", "build/engram-batch")).resolve())


def sanitizers(path=None):
    """The sanitizers that the command, or another program or library, was built with."""
    content = Path(path or binary()).read_bytes()
    marks = ((b"__asan_init", "address"), (b"__tsan_init", "thread"), (b"__ubsan_", "undefined"))
    return [name for mark, name in marks if mark in content]


def is_sanitized(path=None):
    """Whether it takes more memory and time than others, and sees to crashes itself."""
    return bool({"address", "thread"}.intersection(sanitizers(path)))


def heavy(test):
    """Marks a test that takes long: ENGRAM_TEST_LIGHT=1, for builds that are slow by themselves,
    leaves it out. Others of its module walk the same code."""
    test.heavy = True
    return test


class Stop(Exception):
    """Ends a test; the reason is recorded already."""


class Skip(Exception):
    """Ends a test that this machine cannot run."""


class Run:
    """One finished command."""

    def __init__(self, arguments, code, out, err):
        self.arguments = arguments
        self.code = code
        self.out = out
        self.err = err

    def __str__(self):
        command = " ".join(str(a) for a in self.arguments)
        return f"`{command}` gave {self.code}; stderr: {self.err.strip()[-300:]!r}"


class Result:
    """A result file, read with h5py."""

    def __init__(self, path):
        with h5py.File(path, "r") as f:
            self.names = []
            f.visit(self.names.append)
            self.attributes = dict(f.attrs)

            def read(name):
                return f[name][()] if name in f else None

            self.neighbors = read("neighbors")
            self.distances = read("distances")
            self.counts = read("counts")
            self.query_ids = read("query_ids")
            self.base_ids = read("base_ids")
            self.indptr = read("pairs/indptr")
            self.indices = read("pairs/indices")
            self.data = read("pairs/data")
            self.pairs_attributes = dict(f["pairs"].attrs) if "pairs" in f else None


def same_bits(got, want):
    """Equal shape, type and bits; numpy's == would take -0 for +0."""
    return (
        got is not None
        and got.shape == want.shape
        and got.dtype == want.dtype
        and got.tobytes() == want.tobytes()
    )


def first_difference(got, want):
    if got is None:
        return "missing"
    if got.shape != want.shape or got.dtype != want.dtype:
        return f"{got.dtype}{got.shape}, expected {want.dtype}{want.shape}"
    bits = np.dtype(f"u{got.dtype.itemsize}")
    where = np.argwhere(
        np.ascontiguousarray(got).view(bits) != np.ascontiguousarray(want).view(bits)
    )
    place = tuple(int(i) for i in where[0])
    return (
        f"{len(where)} entries differ, first at {place}: {got[place]!r}, expected {want[place]!r}"
    )


class Box:
    """Handed to every test: a folder that goes away, a seed, checks that collect reasons."""

    def __init__(self, name, folder, seed):
        self.name = name
        self.folder = Path(folder)
        self.seed = seed
        self.reasons = []
        self.runs = 0
        self.skip_reason = None
        self.random = np.random.default_rng([seed, zlib.crc32(name.encode())])

    # Checks

    def check(self, condition, reason):
        if not condition:
            self.reasons.append(str(reason))
        return bool(condition)

    def require(self, condition, reason):
        if not self.check(condition, reason):
            raise Stop

    # Files

    def path(self, name):
        return str(self.folder / name)

    def h5(self, name, datasets, attributes=None, **storage):
        """Writes an HDF5 file; a dataset is an array, or (array, storage of h5py)."""
        path = self.path(name)
        with h5py.File(path, "w") as f:
            for key, value in datasets.items():
                array, own = value if isinstance(value, tuple) else (value, storage)
                if isinstance(array, list):
                    f.create_dataset(key, data=array, dtype=h5py.string_dtype("utf-8"), **own)
                else:
                    f.create_dataset(key, data=array, **own)
            for key, value in (attributes or {}).items():
                f.attrs[key] = value
        return path

    def two_sets(self, base, queries, name="two.h5", metric=None, **storage):
        attributes = {"distance": metric} if metric else None
        return self.h5(name, {"train": base, "test": queries}, attributes, **storage)

    def gaussian(self, rows, dim, dtype=np.float32):
        return self.random.normal(size=(rows, dim)).astype(dtype)

    def _look(self):
        """Every file in the folder with what would change if somebody wrote to it."""
        found = {}
        for path in sorted(self.folder.rglob("*")):
            stat = path.lstat()
            if path.is_file() or path.is_symlink():
                found[str(path.relative_to(self.folder))] = (
                    stat.st_ino,
                    stat.st_size,
                    stat.st_mtime_ns,
                )
        return found

    # Commands

    def run(self, *arguments, env=None, stdin=None, cwd=None):
        arguments = [str(a) for a in arguments]
        environment = dict(os.environ)
        environment.update(env or {})
        self.runs += 1
        try:
            done = subprocess.run(
                [binary()] + arguments,
                cwd=cwd or self.folder,
                env=environment,
                stdin=subprocess.DEVNULL if stdin is None else stdin,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                timeout=TIMEOUT_SECONDS,
                check=False,
            )
        except subprocess.TimeoutExpired:
            command = " ".join(arguments)
            self.require(False, f"`{command}` ran longer than {TIMEOUT_SECONDS} s")
        run = Run(
            arguments,
            done.returncode,
            done.stdout.decode("utf-8", "replace"),
            done.stderr.decode("utf-8", "replace"),
        )
        self.check(run.code >= 0, f"killed by signal: {run}")
        self.check(not any(m in run.err for m in SANITIZER_MARKS), f"sanitizer report: {run}")
        return run

    def succeeds(self, *arguments, env=None, cwd=None):
        """A job that must end with 0, print nothing on stdout and leave nothing but OUTPUT (the
        last argument)."""
        before = self._look()
        run = self.run(*arguments, env=env, cwd=cwd)
        self.require(run.code == 0, f"expected exit 0: {run}")
        self.check(run.out == "", f"something on stdout: {run.out[:200]!r}: {run}")
        after = self._look()
        output = os.path.relpath(os.path.join(cwd or self.folder, arguments[-1]), self.folder)
        self.check(os.path.exists(self.folder / output), f"no {output}: {run}")
        after.pop(output, None)
        before.pop(output, None)
        before.pop(output + ".checkpoint", None)  # of an earlier run: gone, now
        self.check(before == after, f"files changed: {changes(before, after)}: {run}")
        return run

    def fails(self, code, mentions, *arguments, env=None, cwd=None):
        """Must end with `code` (or one of several) and one line on stderr that holds every one of
        `mentions`, and change no file."""
        before = self._look()
        run = self.run(*arguments, env=env, cwd=cwd)
        codes = code if isinstance(code, tuple) else (code,)
        self.check(run.code in codes, f"expected exit {code}: {run}")
        lines = [line for line in run.err.splitlines() if line.strip()]
        self.check(len(lines) == 1, f"expected one line on stderr: {run}")
        for text in [mentions] if isinstance(mentions, str) else mentions:
            self.check(text.lower() in run.err.lower(), f"stderr does not say {text!r}: {run}")
        self.check(run.out == "", f"something on stdout: {run.out[:200]!r}: {run}")
        after = self._look()
        self.check(before == after, f"files changed: {changes(before, after)}: {run}")
        return run

    # Jobs against the oracle

    def job(self, *arguments, out="out.h5", env=None):
        """Runs `engram-batch --force ARGUMENTS OUT` and reads the result."""
        self.succeeds("--force", *arguments, self.path(out), env=env)
        return Result(self.path(out))

    def compare(self, label, result, answers, k=None):
        """k: a k-NN result is expected; None: pairs."""
        if k is not None:
            neighbors, distances, counts = answers.padded(k)
            wanted = (
                ("neighbors", result.neighbors, neighbors),
                ("distances", result.distances, distances),
                ("counts", result.counts, counts),
            )
        else:
            indptr, indices, data = answers.csr()
            wanted = (
                ("pairs/indptr", result.indptr, indptr),
                ("pairs/indices", result.indices, indices),
                ("pairs/data", result.data, data),
            )
        good = True
        for name, got, want in wanted:
            if not same_bits(got, want):
                good = self.check(False, f"{label}: {name}: {first_difference(got, want)}")
        return good

    def exact(self, label, arguments, queries, base, metric, k=10, **options):
        """Runs a job and compares it with the oracle, bit for bit. `arguments` holds INPUT and
        what is not said by the other parameters. A limit gives pairs, with k (at most k a query)
        or without (None: no limit)."""
        command = list(arguments) + ["--metric", metric]
        limited = any(options.get(name) is not None for name in ("max_distance", "min_similarity"))
        if k is not None and (k != 10 or limited):
            command += ["-k", k]
        for name in ("max_distance", "min_similarity"):
            if options.get(name) is not None:
                command.append(f"--{name.replace('_', '-')}={number(options[name])}")
        for name in ("query_rows", "base_rows"):
            if options.get(name) is not None:
                command += [f"--{name.replace('_', '-')}", "%d:%d" % options[name]]
        result = self.job(*command)
        answers = oracle.answer(queries, base, metric, k=k, **options)
        self.compare(f"{label} {metric}", result, answers, None if limited else k)
        return result


def number(value):
    """A decimal that reads back as the same float64."""
    return repr(float(value))


def changes(before, after):
    return ", ".join(
        sorted(n for n in set(before) | set(after) if before.get(n) != after.get(n))
    )


_supported = {}


def kernel_sets(box):
    """Names that --isa accepts on this machine, found by trying a tiny job."""
    if not _supported:
        rows = box.gaussian(8, 3)
        path = box.h5("isa-probe.h5", {"x": rows})
        for name in ("portable", "avx2", "avx512", "neon"):
            run = box.run("--force", "--isa", name, path, box.path("isa-probe-out.h5"))
            if run.code == 0:
                _supported[name] = True
            else:
                box.check(run.code == 64, f"--isa {name}: expected exit 0 or 64: {run}")
        for name in ("isa-probe.h5", "isa-probe-out.h5"):
            Path(box.path(name)).unlink(missing_ok=True)
        box.check("portable" in _supported, "--isa portable is not supported")
    return list(_supported)


def children(pid):
    """Of mpirun: its ranks."""
    found = []
    for name in os.listdir("/proc"):
        if name.isdigit():
            try:
                fields = Path(f"/proc/{name}/stat").read_text(encoding="utf-8").rsplit(")", 1)[1]
                state, parent = fields.split()[:2]
                if int(parent) == pid and state != "Z":
                    found.append(int(name))
            except (OSError, IndexError):
                pass
    return sorted(found)


def outcome(process, limit):
    """Its stdout and stderr, within so many seconds. Open MPI's mpirun sometimes waits for itself
    when its ranks have ended (a lock of the PMIx server, in its finalization): then it is killed."""
    end = time.monotonic() + limit
    alone = 0
    while True:
        try:
            return process.communicate(timeout=5)
        except subprocess.TimeoutExpired:
            mpirun = process.args[0].endswith("mpirun")
            alone = alone + 1 if mpirun and not children(process.pid) else 0
            if alone == 4:
                process.kill()
                return process.communicate()
            if time.monotonic() > end:
                raise
