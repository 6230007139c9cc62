"""The same command goes on where a kill or a signal ended it, and ends with the same bytes."""

import json
import os
import random
import signal
import subprocess
import time

import h5py
import numpy as np

from support import binary, heavy

ROWS, DIM = 12000, 48
EVERY_UNIT = {**os.environ, "ENGRAM_CHECKPOINT_SECONDS": "0", "OMP_WAIT_POLICY": "passive"}


def content(path):
    with open(path, "rb") as f:
        return f.read()


def vectors(t, name="in.h5", shift=0.0):
    rng = np.random.default_rng(7)
    rows = rng.normal(size=(ROWS, DIM)).astype(np.float32) + np.float32(shift)
    rows[11] = rows[9000]
    rows[12, 3] = np.nan
    path = t.path(name)
    with h5py.File(path, "w") as f:
        f.create_dataset("v", data=rows, chunks=(1000, DIM), compression="gzip")
    return path


def start(*arguments):
    return subprocess.Popen([binary(), "-q", *map(str, arguments)], env=EVERY_UNIT,
                            stderr=subprocess.PIPE, text=True)


def stop_after(job, number, seconds):
    """Sends the signal; the exit code and what was said."""
    try:
        job.wait(timeout=seconds)
    except subprocess.TimeoutExpired:
        job.send_signal(number)
    said = job.communicate(timeout=120)[1]
    return job.returncode, said


def start_and_wait_for_work(t, *arguments, bytes_saved=20000):
    """A job that has saved some of its work."""
    checkpoint = arguments[-1] + ".checkpoint"
    job = start(*arguments)
    for _ in range(6000):
        if os.path.exists(checkpoint) and os.path.getsize(checkpoint) > bytes_saved:
            return job
        if job.poll() is not None:
            break
        time.sleep(0.01)
    job.kill()
    t.require(False, f"saved nothing: {job.communicate()[1]}")
    return job


def stopped(t, number, *arguments):
    """A job that gets a signal after some work, and what it said; on a busy machine it may come to its
    end before the signal does, and is started anew."""
    for _ in range(10):
        job = start_and_wait_for_work(t, "--filter", "canonical", "--threads", "1", *arguments)
        job.send_signal(number)
        said = job.communicate(timeout=120)[1]
        if job.returncode != 0:
            break
        os.unlink(arguments[-1])
    return job, said


def interrupted(t, source, out, *arguments):
    """A job that was stopped by SIGTERM after some work."""
    job, said = stopped(t, signal.SIGTERM, *arguments, source, out)
    t.require(job.returncode == 75 and out + ".checkpoint" in said, f"{job.returncode}: {said}")
    t.check(not os.path.exists(out), "an output before the end")


@heavy
def test_killed_at_random_moments(t):
    source = vectors(t)
    labels = t.path("labels.tsv")
    with open(labels, "w", encoding="utf-8") as f:
        f.writelines(f"{i}\tlabel {i % 40}\n" for i in range(0, ROWS, 3))
    dice = random.Random(int(t.random.integers(1 << 30)))
    jobs = {
        "neighbours": [],
        "k with a limit": ["-k", "4", "--min-similarity", "0.2", "--float64"],
        "l2": ["--metric", "l2", "--base-rows", "1000:9000", "--compress", "1"],
    }
    kills = 0
    for name, arguments in jobs.items():
        whole, out = t.path("whole.h5"), t.path("out.h5")
        t.succeeds("-q", "--force", *arguments, source, whole)
        for path in (out, out + ".checkpoint"):
            if os.path.exists(path):
                os.unlink(path)
        for attempt in range(60):
            number = dice.choice([signal.SIGKILL, signal.SIGKILL, signal.SIGTERM, signal.SIGHUP])
            how = ["--threads", dice.randint(1, 3),
                   "--filter", dice.choice(["auto", "f32", "int", "canonical"]),
                   "--memory", f"{dice.randint(48, 90)}M"]
            # The first surely hit a job at work, however fast; slow builds come to their end, too.
            seconds = dice.uniform(0, 0.02 + attempt / 15)
            code, said = stop_after(start(*how, *arguments, source, out), number, seconds)
            kills += code != 0
            t.check(code in (0, 75, -number), f"{name}: {code}: {said}")
            if os.path.exists(out) and not os.path.exists(out + ".checkpoint"):
                break
            t.check(code != 0, f"{name}: ended well without an output")
        t.succeeds("-q", *arguments, source, out)
        t.check(content(out) == content(whole), f"{name}: other bytes after {attempt} stops")
        t.check(not os.path.exists(out + ".checkpoint"), f"{name}: a checkpoint is left")
    t.check(kills > 3, f"only {kills} runs were stopped")


def test_goes_on_and_says_so(t):
    source, whole, out = vectors(t), t.path("whole.h5"), t.path("out.h5")
    t.succeeds("-q", source, whole)
    interrupted(t, source, out)
    run = t.succeeds("-v", source, out)
    t.check("goes on" in run.err, f"{run}")
    t.check(content(out) == content(whole), "other bytes")
    t.check(not os.path.exists(out + ".checkpoint"), "the checkpoint is left")
    t.check("up to date" in t.succeeds(source, out).err, "not up to date")


def test_other_input_and_other_options_are_refused(t):
    source, out = vectors(t), t.path("out.h5")
    interrupted(t, source, out)
    t.fails(73, "--from-scratch", "-k", "3", source, out)
    vectors(t, shift=0.5)  # the same shape, other numbers
    run = t.run(source, out)
    t.check(run.code == 73 and "--from-scratch" in run.err and run.err.count("\n") == 1, f"{run}")
    t.check(os.path.exists(out + ".checkpoint"), "a refusal dropped the checkpoint")
    t.check(not os.path.exists(out), "an output from changed input")
    vectors(t)
    whole = t.path("whole.h5")
    t.succeeds("-q", source, whole)
    t.succeeds("-q", source, out)
    t.check(content(out) == content(whole), "other bytes when the input is back")


def skipped_rows(path):
    with open(path, encoding="utf-8") as f:
        said = json.load(f)
    return said["skipped_queries"], said["skipped_base_rows"]


def test_rows_without_answers_are_all_counted(t):
    """Also those that only an earlier run had to search, and each of them once."""
    source, stats = t.path("in.h5"), t.path("stats.json")
    rows = t.gaussian(ROWS, DIM)
    rows[t.random.integers(ROWS, size=40), 7] = np.nan
    queries = t.gaussian(9000, DIM)
    queries[t.random.integers(9000, size=30), 3] = np.inf
    t.h5("in.h5", {"train": rows, "test": queries}, {"distance": "euclidean"})
    expected = (int((~np.isfinite(queries)).any(axis=1).sum()),
                int((~np.isfinite(rows)).any(axis=1).sum()))
    run = t.run("-q", "--stats", stats, source, t.path("whole.h5"))
    t.check(run.code == 0 and skipped_rows(stats) == expected, f"{skipped_rows(stats)}, not {expected}")
    for kind in ([], ["--memory", "46M"], ["--max-distance", "8"]):
        out = t.path("out.h5")
        interrupted(t, source, out, *kind)
        run = t.run("--stats", stats, "-v", *kind, source, out)
        t.check(run.code == 0 and "goes on" in run.err, f"{kind}: {run}")
        t.check(skipped_rows(stats) == expected,
                f"{kind}: {skipped_rows(stats)}, not {expected}")
        t.check(f"NaN or infinity: {expected[0]};" in run.err
                and f"NaN or infinity: {expected[1]};" in run.err, f"{kind}: {run.err}")
        os.unlink(out)


def test_from_scratch(t):
    source, out, whole = vectors(t), t.path("out.h5"), t.path("whole.h5")
    interrupted(t, source, out)
    vectors(t, shift=0.5)
    t.succeeds("-q", "--from-scratch", source, out)
    t.succeeds("-q", source, whole)
    t.check(content(out) == content(whole), "other bytes")
    t.check(not os.path.exists(out + ".checkpoint"), "the checkpoint is left")


def test_damaged_and_foreign_checkpoints_are_refused(t):
    source, out = vectors(t), t.path("out.h5")
    interrupted(t, source, out)
    checkpoint = out + ".checkpoint"
    good = content(checkpoint)
    flipped = bytearray(good)
    flipped[4096 + 100] ^= 1
    version = bytearray(good)
    version[8] ^= 2
    for name, damaged in {"text": b"hello" * 2000, "flipped": bytes(flipped),
                          "other version": bytes(version), "cut": good[: len(good) // 2]}.items():
        with open(checkpoint, "wb") as f:
            f.write(damaged)
        run = t.fails(73, "--from-scratch", source, out)
        t.check(os.path.exists(checkpoint), f"{name}: dropped: {run}")
        t.check(not os.path.exists(out), f"{name}: an output")
    with open(checkpoint, "wb") as f:
        f.write(good)
    t.succeeds("-q", source, out)


def test_one_writer_at_a_time(t):
    source, out = vectors(t), t.path("out.h5")
    job = start_and_wait_for_work(t, "--filter", "canonical", "--threads", "1", source, out)
    os.kill(job.pid, signal.SIGSTOP)  # at work, however long this test takes
    try:
        t.fails(73, f"process {job.pid}", source, out)
        t.fails(73, f"process {job.pid}", "--from-scratch", source, out)
    finally:
        os.kill(job.pid, signal.SIGCONT)
        job.kill()
        job.communicate()
    t.succeeds("-q", source, out)  # its owner is dead


def test_a_checkpoint_beside_a_finished_result_goes(t):
    source, out = vectors(t), t.path("out.h5")
    interrupted(t, source, out)
    kept = content(out + ".checkpoint")
    t.succeeds("-q", source, out)
    with open(out + ".checkpoint", "wb") as f:  # killed between publication and the end
        f.write(kept)
    t.check("up to date" in t.succeeds(source, out).err, "not up to date")
    t.check(not os.path.exists(out + ".checkpoint"), "the checkpoint is left")


def test_many_signals(t):
    source, out, whole = vectors(t), t.path("out.h5"), t.path("whole.h5")
    t.succeeds("-q", source, whole)
    job = start_and_wait_for_work(t, "--filter", "canonical", "--threads", "2", source, out)
    for number in [signal.SIGUSR1, signal.SIGTERM, signal.SIGHUP, signal.SIGXCPU] * 20:
        if job.poll() is None:
            job.send_signal(number)
    said = job.communicate(timeout=120)[1]
    t.check(job.returncode == 75 and said.count("\n") == 1, f"{job.returncode}: {said}")
    t.succeeds("-q", source, out)
    t.check(content(out) == content(whole), "other bytes")


def test_interrupt_keeps_the_work_too(t):
    source, out = vectors(t), t.path("out.h5")
    job, said = stopped(t, signal.SIGINT, source, out)
    t.check(job.returncode == -signal.SIGINT and "checkpoint" in said, f"{job.returncode}: {said}")
    t.check(os.path.exists(out + ".checkpoint"), "no checkpoint")
    t.check("goes on" in t.succeeds("-v", source, out).err, "does not go on")
