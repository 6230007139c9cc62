"""Dense jobs that are killed, stopped, or find their file gone: the same command goes on, and the
bytes are those of an undisturbed run."""

import json
import os
import signal
import subprocess
import time
from pathlib import Path

import numpy as np

from support import binary, is_sanitized

KINDS = {"plain": [], "compressed": ["--compress", "1"], "float64": ["--float64"]}
LEFT = {"out.h5.checkpoint", "out.h5.checkpoint.h5", "out.h5.checkpoint.cells"}

# Small units, saved one by one; slow kernels, so that there is a middle to be stopped in.
OFTEN = {"ENGRAM_CHECKPOINT_SECONDS": "0", "OMP_WAIT_POLICY": "passive"}
SLOW = ["--isa", "portable", "--threads", "1"]


class Job:
    """One dense job in a folder of its own."""

    def __init__(self, t, arguments):
        self.t = t
        dim = 80 if is_sanitized() else 400  # about the same time
        base = t.gaussian(2500, dim)
        base[7, 3] = np.nan
        self.source = t.two_sets(base, t.gaussian(3000, dim), metric="angular")
        self.folder = Path(t.path("work"))
        self.folder.mkdir(exist_ok=True)
        self.out = self.folder / "out.h5"
        self.arguments = ["-q", "--all", *arguments]
        self.out.unlink(missing_ok=True)
        t.succeeds(*self.arguments, self.source, t.path("want.h5"))
        self.want = Path(t.path("want.h5")).read_bytes()
        os.unlink(t.path("want.h5"))

    def start(self, *more):
        return subprocess.Popen([binary(), *self.arguments, *more, self.source, str(self.out)],
                                env=dict(os.environ, **OFTEN), stderr=subprocess.PIPE, text=True)

    def run(self, *more):
        process = self.start(*more)
        err = process.communicate(timeout=300)[1]
        return process.returncode, err

    def left(self):
        return {p.name for p in self.folder.iterdir()}

    def until_saved(self, process):
        """Waits until the checkpoint has grown by some units (a record of 64 bytes each; at first
        also the hashes of rows and the file's place); False: it came to its end."""
        path = self.folder / "out.h5.checkpoint"
        size = path.stat().st_size + 3 * 64 if path.exists() else 4096 + 10 * 64
        while process.poll() is None:
            if path.exists() and path.stat().st_size >= size:
                return True
            time.sleep(0.002)
        return False

    def is_finished(self, label, *more):
        """The same command once more: the undisturbed bytes and nothing else."""
        stats = self.t.path("stats.json")
        code, err = self.run("--stats", stats, *more)
        self.t.check(code == 0, f"{label}: exit {code}: {err}")
        self.t.check(self.left() == {"out.h5"}, f"{label}: left {self.left()}")
        self.t.check(self.out.exists() and self.out.read_bytes() == self.want,
                     f"{label}: other bytes")
        self.out.unlink(missing_ok=True)
        said = json.loads(Path(stats).read_text(encoding="utf-8")) if code == 0 else {}
        if said.get("outcome") == "written":
            self.t.check(said["skipped_base_rows"] == 1, f"{label}: rows of NaN: {said}")
        return said


def earlier(stats):
    return json.dumps(stats).count("pairs_of_earlier_runs") and find(stats, "pairs_of_earlier_runs")


def find(tree, key):
    if isinstance(tree, dict):
        if key in tree:
            return tree[key]
        tree = list(tree.values())
    if isinstance(tree, list):
        for branch in tree:
            found = find(branch, key)
            if found is not None:
                return found
    return None


def test_killed(t):
    for name, arguments in KINDS.items():
        job = Job(t, arguments)
        kills = 0
        for memory in ("60M", "1G", "100M"):
            process = job.start(*SLOW, "--memory", "400M" if name == "compressed" else memory)
            if job.until_saved(process):
                process.kill()
                kills += 1
            process.communicate()
            t.check(not job.out.exists() or process.returncode == 0, f"{name}: an early OUTPUT")
            t.check(job.left() <= LEFT | {"out.h5"}, f"{name}: left {job.left()}")
        t.check(kills > 0, f"{name}: nothing was killed")
        if not job.out.exists():
            stats = job.is_finished(f"{name}, killed {kills} times")
            t.check(earlier(stats), f"{name}: no work was kept: {stats}")
        job.out.unlink(missing_ok=True)


def test_killed_at_any_moment(t):
    job = Job(t, [])
    for seconds in t.random.uniform(0.0, 0.3, size=8):
        process = job.start("--threads", "1")
        time.sleep(seconds)
        process.kill()
        process.communicate()
        t.check(job.left() <= LEFT | {"out.h5"}, f"after {seconds}: left {job.left()}")
        if job.out.exists():
            t.check(job.out.read_bytes() == job.want, f"after {seconds}: other bytes")
            job.is_finished(f"after {seconds}")
    job.is_finished("at last")


def test_stopped(t):
    """SIGTERM: saved, 75, and the next run goes on."""
    for name, arguments in KINDS.items():
        job = Job(t, arguments)
        for _ in range(10):  # on a busy machine the signal may come after the end
            process = job.start(*SLOW)
            if job.until_saved(process):
                process.send_signal(signal.SIGTERM)
            err = process.communicate(timeout=60)[1]
            if process.returncode != 0:
                break
            job.out.unlink()
        t.check(process.returncode == 75, f"{name}: exit {process.returncode}: {err}")
        t.check("out.h5.checkpoint" in job.left() and len(job.left()) == 2,
                f"{name}: left {job.left()}")
        t.check(earlier(job.is_finished(f"{name} after SIGTERM")), f"{name}: no work was kept")


def interrupted(t, arguments=()):
    job = Job(t, [*arguments])
    process = job.start(*SLOW)
    t.require(job.until_saved(process), "too fast")
    process.kill()
    process.communicate()
    t.require(job.left() - {"out.h5"} == {"out.h5.checkpoint", "out.h5.checkpoint.h5"},
              f"left {job.left()}")
    return job, job.folder / "out.h5.checkpoint.h5"


def test_file_is_gone(t):
    def truncate(path):
        os.truncate(path, path.stat().st_size - 1)

    def replace(path):
        path.write_bytes(os.urandom(path.stat().st_size))

    for what, harm in (("removed", os.unlink), ("cut", truncate), ("foreign", replace)):
        job, data = interrupted(t)
        harm(data)
        # Whoever takes over is killed, too: what is gone stays gone.
        process = job.start(*SLOW)
        time.sleep(0.15)
        process.kill()
        process.communicate()
        stats = job.is_finished(f"file {what}")
        t.check(stats, f"file {what}")


def test_from_scratch(t):
    job, _ = interrupted(t)
    stats = job.is_finished("from scratch", "--from-scratch")
    t.check(not earlier(stats), f"work was kept: {stats}")


def test_other_job_takes_the_name(t):
    """What a dense job left is no obstacle for another kind of answer that drops it."""
    job, data = interrupted(t)
    code, err = job.run("-k", "3")
    t.check(code == 64, f"exit {code}: {err}")
    job.arguments = ["-q", "-k", "3"]
    code, err = job.run()
    t.check(code == 73 and "--from-scratch" in err, f"exit {code}: {err}")
    t.check(data.exists(), "the work of the other job is gone")
    code, err = job.run("--from-scratch")
    t.check(code == 0 and job.left() == {"out.h5"}, f"exit {code}, left {job.left()}: {err}")


def test_through_a_link(t):
    job = Job(t, [])
    elsewhere = Path(t.path("elsewhere"))
    elsewhere.mkdir()
    (elsewhere / "real.h5").write_bytes(b"old")
    job.out.symlink_to(elsewhere / "real.h5")
    process = job.start(*SLOW, "--force")
    t.require(job.until_saved(process), "too fast")
    process.kill()
    process.communicate()
    t.check((elsewhere / "real.h5").read_bytes() == b"old", "replaced before the end")
    code, err = job.run("--force")
    t.check(code == 0 and job.out.is_symlink(), f"exit {code}: {err}")
    t.check((elsewhere / "real.h5").read_bytes() == job.want, "other bytes")
    t.check(job.left() == {"out.h5"} and os.listdir(elsewhere) == ["real.h5"],
            f"left {job.left()}, {os.listdir(elsewhere)}")
