"""Shards that are killed go on, each with its own checkpoint, and the parts are joined as ever."""

import os
import signal
import time

from support import heavy
from test_restart import content, start, vectors
from test_shards import part

JOBS = {
    "knn": ["-k", "20"],
    "dense": ["--all", "--base-rows=:3000"],
    "pairs": ["--min-similarity=0.35"],
    "components": ["--components", "--min-similarity=0.5"],
}


def kill_at_work(t, label, checkpoint, *arguments):
    """Ends a shard by SIGKILL once it has saved some work; whether it was there to be ended."""
    job = start("--filter=canonical", "--threads=1", *arguments)
    for _ in range(6000):
        if os.path.exists(checkpoint) and os.path.getsize(checkpoint) > 12000:
            break
        if job.poll() is not None:
            break
        time.sleep(0.01)
    ended = job.poll() is not None
    job.send_signal(signal.SIGKILL)
    said = job.communicate(timeout=120)[1]
    t.check(not ended or job.returncode == 0, f"{label}: {job.returncode}: {said}")
    return not ended


@heavy
def test_killed_shards(t):
    source = vectors(t)
    killed = 0
    for label, arguments in JOBS.items():
        whole, out = t.path(f"{label}-whole.h5"), t.path(f"{label}.h5")
        t.succeeds(*arguments, source, whole)
        names = [part(out, number, 3) for number in (1, 2, 3)]
        for number, name in enumerate(names, 1):
            killed += kill_at_work(
                t, label, name + ".checkpoint", f"--shard={number}/3", *arguments, source, out
            )
        for number, name in enumerate(names, 1):
            run = t.run(f"--shard={number}/3", *arguments, source, out)
            t.check(run.code == 0 and os.path.exists(name), f"{label}: {run}")
        left = [name for name in os.listdir(t.folder) if "checkpoint" in name or "tmp" in name]
        t.check(not left, f"{label}: left over: {left}")
        t.succeeds("merge", *names, out)
        t.check(content(out) == content(whole), f"{label}: other bytes")
    t.check(killed >= 4, f"only {killed} shards were there to be killed")
