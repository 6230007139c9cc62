"""Pairs within a threshold and duplicate groups, stopped again and again: the same command goes on,
with whatever threads, memory, filter and kernels, and gives the bytes of an undisturbed run."""

import os
import re
import resource
import signal
import subprocess
import time
from pathlib import Path

import numpy as np

from support import SANITIZER_MARKS, binary, kernel_sets, number

LONG = os.environ.get("ENGRAM_TEST_LONG") == "1"
ROUNDS = 6 if LONG else 1
KILLS = 6


def remove(t, name="out.h5"):
    for suffix in ("", ".checkpoint", ".checkpoint.h5"):
        Path(t.path(name + suffix)).unlink(missing_ok=True)


def size_of(path):
    """0 without it: a job that ends takes its checkpoint away at any time."""
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return 0


class Job:
    """A command that is to be interrupted. `variants`: options that may differ between its runs."""

    def __init__(self, t, label, arguments, variants=()):
        self.t = t
        self.label = label
        self.out = t.path("out.h5")
        self.arguments = [str(a) for a in arguments]
        self.variants = list(variants)
        self.continued = 0
        remove(t)
        start = time.monotonic()
        run = self.run([])
        t.require(run[0] == 0, f"{label}: undisturbed: {run}")
        self.seconds = time.monotonic() - start
        self.want = Path(self.out).read_bytes()

    def command(self, options):
        return [binary(), "-v", *self.arguments[:-1], *options, self.arguments[-1], self.out]

    def environment(self):
        sets = kernel_sets(self.t)
        return dict(os.environ, ENGRAM_CHECKPOINT_SECONDS="0", OMP_WAIT_POLICY="passive",
                    ENGRAM_ISA=sets[self.t.random.integers(len(sets))])

    def any_options(self):
        random = self.t.random
        options = ["--threads", str(random.integers(1, 4))]
        if random.integers(2) == 0:
            options += ["--filter", str(random.choice(["canonical", "f32", "int", "prefix"]))]
        if self.variants:
            options += self.variants[random.integers(len(self.variants))]
        return options

    def run(self, options, **more):
        done = subprocess.run(self.command(options), env=self.environment(), text=True,
                              errors="replace", capture_output=True, timeout=300, check=False,
                              stdin=subprocess.DEVNULL, **more)
        self.t.runs += 1
        self.look(done.returncode, done.stderr)
        return done.returncode, done.stderr

    def look(self, code, err):
        self.t.check(not any(m in err for m in SANITIZER_MARKS), f"{self.label}: {err[-2000:]}")
        self.continued += "goes on where an earlier run ended" in err
        self.t.check(code == 0 or not Path(self.out).exists(),
                     f"{self.label}: an OUTPUT before the end: {code}, {err[-300:]}")

    def wait(self, process):
        """Until some time, or until there is some more in the checkpoint, or until it ends."""
        random = self.t.random
        checkpoint = Path(self.out + ".checkpoint")
        end = time.monotonic() + 1.2 * random.random() * self.seconds
        size = size_of(checkpoint) or 4096
        by_size = random.integers(3) > 0
        more = 0 if random.integers(2) == 0 else int(random.integers(1, 200000))
        while process.poll() is None:
            if by_size and size_of(checkpoint) > size + more:
                return
            if not by_size and time.monotonic() > end:
                return
            time.sleep(0.002)

    def interrupt(self):
        """One run that is stopped; whether it was done before."""
        process = subprocess.Popen(self.command(self.any_options()), env=self.environment(),
                                   stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                                   stderr=subprocess.PIPE, text=True, errors="replace")
        self.t.runs += 1
        kill = signal.SIGKILL if self.t.random.integers(2) == 0 else signal.SIGTERM
        self.wait(process)
        if process.poll() is None:
            process.send_signal(kill)
        _, err = process.communicate(timeout=300)
        code = process.returncode
        # Before its handlers are there a process dies of either.
        self.t.check(code in (0, 75, -kill), f"{self.label}: {kill.name} gave {code}: {err[-300:]}")
        self.look(code, err)
        return code == 0

    def compare(self, when):
        got = Path(self.out).read_bytes() if Path(self.out).exists() else b""
        self.t.require(got == self.want, f"{self.label}: {when}: the result differs")
        left = [p.name for p in self.t.folder.glob("out.h5?*")]
        self.t.check(not left, f"{self.label}: {when}: left behind: {left}")

    def survive(self):
        for _ in range(ROUNDS):
            remove(self.t)
            done = False
            kills = 0
            while not done and kills < KILLS:
                done = self.interrupt()
                kills += 1
            code, err = self.run(self.any_options())
            self.t.require(code == 0, f"{self.label}: the last run: {code}: {err[-500:]}")
            self.compare(f"after {kills} runs that were stopped")


def clustered(t, rows, dim, spread=0.4):
    points = t.gaussian(max(rows // 20, 1), dim)
    base = points[t.random.integers(0, len(points), rows)] + spread * t.gaussian(rows, dim)
    base[t.random.integers(0, rows, 3), 0] = np.nan
    base[rows // 3] = base[5]
    return base.astype("f4")


def test_self(t):
    path = t.h5("in.h5", {"x": clustered(t, 6000, 32)})
    for metric, limit in (("l2", 4.0), ("cosine", 0.3)):
        job = Job(t, f"self {metric}", ["--metric", metric, f"--max-distance={limit}", path])
        job.survive()


def test_range_and_groups(t):
    base = clustered(t, 5000, 24)
    path = t.h5("in.h5", {"x": base, "own": t.random.integers(-1, 40, 5000)})
    Job(t, "range and groups", ["--metric=l2", "--max-distance=3.5", "--exclude-same=own",
                                "--base-rows=13:4777", path]).survive()


def test_two_sets(t):
    base = clustered(t, 5000, 32)
    queries = (base[t.random.permutation(5000)[:3000]] + 0.1).astype("f4")
    path = t.two_sets(base, queries)
    Job(t, "two sets", ["--metric=cosine", "--min-similarity=0.6", path]).survive()


def test_subset(t):
    base = clustered(t, 5000, 32)
    path = t.h5("in.h5", {"x": base, "some": t.random.random(5000) < 0.5})
    Job(t, "subset", ["--metric=l2", "--max-distance=4", "--subset=some", path]).survive()


def test_components(t):
    base = clustered(t, 6000, 32)
    path = t.h5("in.h5", {"x": base, "some": t.random.random(6000) < 0.7})
    for extra in ([], ["--subset=some"]):
        Job(t, f"components {extra}", ["--components", "--metric=l2", "--max-distance=2.9", *extra,
                                       path]).survive()


def smallest_memory(t, arguments):
    """Mebibytes, from the message that says so."""
    run = t.run("--memory=1M", "--threads=3", *arguments, t.path("none.h5"))
    found = re.search(r"--memory (\d+)M", run.err)
    t.require(run.code == 71 and found, f"expected exit 71: {run}")
    return int(found.group(1))


def test_more_pairs_than_memory(t):
    """Most pairs are within the limit: tens of MB of runs in some MB of memory."""
    path = t.h5("in.h5", {"x": t.gaussian(1800, 12)})
    arguments = ["--metric=l2", "--max-distance=6", path]
    least = smallest_memory(t, arguments)
    job = Job(t, "many pairs", arguments, [[f"--memory={least + more}M"] for more in (0, 4, 400)])
    t.check(len(job.want) > 20e6, f"too few pairs: {len(job.want)} bytes")
    job.survive()


def test_slabs(t):
    """Memory for a part of the rows, or for all: the cut into units is another each time."""
    base = clustered(t, 9000, 600, spread=0.3)
    path = t.h5("in.h5", {"x": base})
    for kind in (["--max-distance=12"], ["--components", "--max-distance=9"]):
        arguments = ["--metric=l2", *kind, path]
        least = smallest_memory(t, arguments)
        job = Job(t, f"slabs {kind[0]}", arguments,
                  [[f"--memory={least + more}M"] for more in (0, 7, 20, 2000)])
        job.survive()


def test_disk_full(t):
    """The checkpoint cannot grow: exit 74, and with more room the job goes on."""
    path = t.h5("in.h5", {"x": t.gaussian(4000, 12)})
    job = Job(t, "file size limit", ["--metric=l2", "--max-distance=3.3", path])
    remove(t)

    def limit(size):
        return lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (size, resource.RLIM_INFINITY))

    for size in (20000, len(job.want) // 2, len(job.want)):
        code, err = job.run([], preexec_fn=limit(size))
        t.check(code == 74, f"limit {size}: expected 74: {code}, {err[-500:]}")
    code, err = job.run([])
    t.require(code == 0, f"without the limit: {code}, {err[-500:]}")
    t.check(job.continued > 0, "nothing was kept")
    job.compare("after a disk that was full")


def test_limit_on_their_number(t):
    """--max-pairs counts what an earlier run found."""
    path = t.h5("in.h5", {"x": t.gaussian(2000, 12)})
    arguments = ["--metric=l2", f"--max-distance={number(3.0)}", path]
    job = Job(t, "max-pairs", arguments)
    remove(t)
    while not job.interrupt() and job.continued == 0:
        pass
    code, err = job.run(["--max-pairs=10"])
    t.check(code in (0, 65), f"expected 65: {code}, {err[-300:]}")
    if code == 65:
        code, err = job.run([])
        t.require(code == 0, f"without the limit: {code}, {err[-300:]}")
    job.compare("after --max-pairs")
