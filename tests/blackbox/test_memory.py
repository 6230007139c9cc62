"""--memory is a promise on the process's peak, and no budget changes a byte of the result."""

import json
import os
import re
import subprocess
import sys

import numpy as np

from support import binary, heavy, is_sanitized

ROWS, DIM = 16000, 560  # 36 MB of float32: more than the smallest budgets leave room for

# Runs a command and prints the largest resident size of its process, in KiB.
MEASURE = """
import os, sys
child = os.posix_spawn(sys.argv[1], sys.argv[1:], os.environ)
_, status, usage = os.wait4(child, 0)
print(usage.ru_maxrss)
sys.exit(os.waitstatus_to_exitcode(status))
"""


def content(path):
    with open(path, "rb") as f:
        return f.read()


def inputs(t):
    rng = t.random
    centres = rng.normal(size=(400, DIM))
    base = centres[rng.integers(400, size=ROWS)] + rng.normal(scale=0.2, size=(ROWS, DIM))
    base = base.astype(np.float32)
    base[10] = base[15000]
    base[20, 5] = np.nan
    queries = base[rng.integers(ROWS, size=1500)] + np.float32(0.01)
    labels = [b"" if i % 3 else b"label %d" % (i % 50) for i in range(ROWS)]
    group = rng.integers(-1, 500, size=ROWS)
    return t.h5("many.h5", {"train": base, "test": queries, "groups": group,
                            "labels": np.array(labels)}, {"distance": "angular"},
                chunks=True)


def run(t, budget, source, *arguments):
    """(exit code, peak in bytes, stderr, result)"""
    target = t.path("out.h5")
    if os.path.exists(target):
        os.unlink(target)
    command = [str(binary()), "-q", *arguments, source, target]
    if budget is not None:
        command[2:2] = ["--memory", str(budget)]
    done = subprocess.run([sys.executable, "-c", MEASURE, *command], capture_output=True,
                          text=True, check=False, timeout=300)
    peak = int(done.stdout or 0) * 1024
    return done.returncode, peak, done.stderr, content(target) if done.returncode == 0 else None


def smallest(t, source, *arguments):
    code, _, err, _ = run(t, "1M", source, *arguments)
    t.require(code == 71, f"{arguments}: 1 MiB gave {code}: {err}")
    found = re.search(r"--memory (\d+)M", err)
    t.require(found, f"{arguments}: no smallest budget in {err!r}")
    return int(found.group(1))


def check_peak(t, label, peak, budget):
    t.check(is_sanitized() or peak <= budget * 2**20,
            f"{label}: {peak / 2**20:.1f} MiB at the peak, {budget} were allowed")


def jobs():
    some = ["--query-rows", "0:2500"]
    return (
        ("knn", ["-k", "20"]),
        ("knn self compressed", ["--base", "train", "--self", "--compress", "3", *some]),
        ("l2 knn by the f32 filter", ["--metric", "l2", "--filter", "f32"]),
        ("threshold", ["--min-similarity", "0.9", "--base-rows", "0:15000"]),
        ("self-join", ["--base", "train", "--self", "--min-similarity", "0.97"]),
        ("groups", ["--base", "train", "--self", "-k", "5", "--exclude-same", "groups", *some]),
        ("labels", ["--labels", "labels"]),
        ("components", ["--base", "train", "--self", "--components", "--min-similarity", "0.985",
                        "--base-rows", "0:14000"]),
        ("dense", ["--all", "--query-rows", "0:40"]),
    )


@heavy
def test_budgets(t):
    source = inputs(t)
    for label, arguments in jobs():
        code, _, err, want = run(t, None, source, *arguments)
        t.require(code == 0, f"{label}: {err}")
        least = smallest(t, source, *arguments)
        for budget in (least, least + t.random.integers(1, 16)):
            code, peak, err, got = run(t, f"{budget}M", source, *arguments)
            t.require(code == 0, f"{label}, {budget} MiB: {err}")
            t.check(got == want, f"{label}, {budget} MiB: another result")
            check_peak(t, label, peak, budget)


def stored(t):
    """(label, how base and queries are stored, arguments): with float64 and float16 stored rows and
    those in memory differ; gaussian rows of many dimensions go by the float32 filter, whose copy is
    the largest; 1,000 and 5,000 rows are no grain."""
    base = t.gaussian(12000, 300)
    base[:, :40] *= 30
    packed = {"compression": "gzip", "compression_opts": 1, "shuffle": True}
    for label, array, storage, arguments in (
            ("contiguous", base, {}, []),
            ("packed by chunks of 1000 rows", base, {"chunks": (1000, 300), **packed}, []),
            ("packed by chunks of 5000 x 100", base, {"chunks": (5000, 100), **packed},
             ["-k", "3"]),
            ("big-endian float64", base.astype(">f8"), {}, ["--query-rows", "0:2000"]),
            ("float16 in chunks", base.astype(np.float16), {"chunks": (2048, 300)}, []),
            ("gaussian", t.gaussian(12000, 1200), {}, ["--query-rows", "0:1500"]),
            ("scale-offset, by HDF5", (base * 4).astype(np.int16),
             {"chunks": (1024, 300), "scaleoffset": 0}, ["--metric", "ip"])):
        yield label, t.h5("stored.h5", {"x": array}, **storage), arguments


@heavy
def test_storage(t):
    """Base and queries both in slabs, the next slab of the base read ahead."""
    for label, source, arguments in stored(t):
        code, _, err, want = run(t, None, source, *arguments)
        t.require(code == 0, f"{label}: {err}")
        least = smallest(t, source, *arguments)
        for budget in (least, least + 10):
            code, peak, err, got = run(t, f"{budget}M", source, *arguments)
            t.require(code == 0, f"{label}, {budget} MiB: {err}")
            t.check(got == want, f"{label}, {budget} MiB: another result")
            check_peak(t, label, peak, budget)


def test_long_ids(t):
    """Ids that take more than the rows: how much is only known when they were read."""
    base = t.gaussian(20000, 8)
    names = [f"{'path/' * t.random.integers(1, 200)}{i}" for i in range(len(base))]
    source = t.h5("ids.h5", {"x": base, "ids": names})
    code, _, err, want = run(t, None, source)
    t.require(code == 0, err)
    budget = smallest(t, source)
    code, _, err, got = run(t, f"{budget}M", source)
    found = re.search(r"too little for its ids.* --memory (\d+)M", err)
    t.require(code == 71 and found, f"{budget} MiB gave {code}: {err}")
    budget = int(found.group(1))
    code, peak, err, got = run(t, f"{budget}M", source)
    t.require(code == 0, f"{budget} MiB: {err}")
    t.check(got == want, f"{budget} MiB: another result")
    check_peak(t, "long ids", peak, budget)


@heavy
def test_more_answers_than_memory(t):
    """16 bytes an answer: those of finished queries are in the checkpoint alone."""
    rows, k = 13000, 400
    source = t.h5("narrow.h5", {"x": t.gaussian(rows, 16)})
    for label, arguments in (("knn", ["-k", str(k)]),
                             ("k within a limit", ["-k", str(k), "--max-distance", "0.9"])):
        code, _, err, want = run(t, None, source, *arguments)
        t.require(code == 0, f"{label}: {err}")
        budget = smallest(t, source, *arguments) + int(t.random.integers(20))
        t.check(budget * 2**20 < 16 * rows * k + 35 * 2**20, f"{label}: room for all answers")
        code, peak, err, got = run(t, f"{budget}M", source, *arguments)
        t.require(code == 0, f"{label}, {budget} MiB: {err}")
        t.check(got == want, f"{label}, {budget} MiB: another result")
        check_peak(t, label, peak, budget)


def test_one_below_the_smallest(t):
    source = inputs(t)
    least = smallest(t, source)
    code, _, err, _ = run(t, f"{least - 1}M", source)
    t.check(code == 71 and f"--memory {least}M" in err, f"{least - 1} MiB gave {code}: {err}")


def test_inspect_tells(t):
    source = inputs(t)
    least = smallest(t, source)
    run_ = t.run("inspect", "--memory", f"{least}M", source)
    t.check(run_.code == 0 and "slabs " in run_.out, f"no slabs in {run_.out!r}")


def test_defaults_follow_limits(t):
    """Slurm's word counts when it is the tightest."""
    source = inputs(t)
    run_ = t.run("inspect", source, env=dict(os.environ, SLURM_MEM_PER_NODE="90"))
    t.check("budget of 72" in run_.out, f"80 % of 90 MB: {run_.out!r}")
    run_ = t.run("inspect", source, env=dict(os.environ, SLURM_MEM_PER_NODE="0"))
    t.check("slabs " not in run_.out, f"0 is no limit: {run_.out!r}")


@heavy
def test_dense_order(t):
    """Where neither set fits, the smaller one is read once, whichever it is."""
    source = inputs(t)
    few, many = "0:2500", "3000:9000"
    sets = ["--all", "--base", "train", "--queries", "train"]
    for base, queries, again in ((few, many, "the queries are"), (many, few, "the base is")):
        arguments = [*sets, "--base-rows", base, "--query-rows", queries]
        code, _, err, want = run(t, None, source, *arguments)
        t.require(code == 0, err)
        least = smallest(t, source, *arguments)
        told = t.run("inspect", "--memory", f"{least + 1}M", *arguments, source)
        t.check(re.search(f"; {again} read [2-9] times", told.out), f"{again}? {told.out!r}")
        code, peak, err, got = run(t, f"{least + 1}M", source, *arguments)
        t.check(code == 0 and got == want, f"{again} read again: {err}")
        t.check(is_sanitized() or peak <= (least + 1) * 2**20, f"{again} read again: {peak} bytes")


# Starts a job from a process that is larger than it: the kernel's account of a process goes back
# beyond its exec.
LARGE_PARENT = """
import os, sys
block = bytearray(1 << 28)
sys.exit(os.waitstatus_to_exitcode(os.waitpid(os.posix_spawn(sys.argv[1], sys.argv[1:],
                                                             os.environ), 0)[1]))
"""


def test_peak_is_the_jobs_own(t):
    source = t.h5("few.h5", {"train": t.random.normal(size=(50, 8))})
    stats = t.path("stats.json")
    done = subprocess.run([sys.executable, "-c", LARGE_PARENT, str(binary()), "-q", "--stats",
                           stats, source, t.path("out.h5")], check=False, timeout=300)
    t.require(done.returncode == 0, f"exit code {done.returncode}")
    peak = json.loads(content(stats))["peak_rss_bytes"]
    t.check(is_sanitized() or 1 << 20 < peak < 1 << 28, f"{peak} bytes at the peak")
