"""scripts/slurm/loop.sh: a job in slices of time, as where there is no scheduler."""

import os
import signal
import subprocess
import time

from support import ROOT, TIMEOUT_SECONDS, Skip, binary, is_sanitized

LOOP = str(ROOT / "scripts/slurm/loop.sh")
SLOWLY = ["--threads=1", "--isa=portable", "--filter=canonical", "--progress=none"]


def environment():
    # The smallest units, saved at once: every slice gets somewhere.
    return dict(os.environ, ENGRAM_BATCH=binary(), ENGRAM_CHECKPOINT_SECONDS="0")


def loop(t, *arguments):
    return subprocess.run(
        [LOOP, *arguments], cwd=t.folder, env=environment(), capture_output=True, text=True,
        check=False, timeout=TIMEOUT_SECONDS,
    )


def some_seconds_of_work(t):
    return t.two_sets(t.gaussian(30000, 128), t.gaussian(4000, 128), metric="euclidean")


def holds_work(checkpoint):
    """More than the head of the file is there."""
    return checkpoint.exists() and checkpoint.stat().st_size > 4096


def test_slices_give_the_same_bytes(t):
    if is_sanitized():
        raise Skip("a unit of this build takes longer than a slice")
    path = some_seconds_of_work(t)
    t.succeeds(path, t.path("whole.h5"))
    done = loop(t, "2", *SLOWLY, path, "sliced.h5")
    t.require(done.returncode == 0, f"exit {done.returncode}: {done.stderr[-500:]}")
    t.check("earlier  runs did" in done.stderr, f"never continued: {done.stderr[-500:]}")
    whole = (t.folder / "whole.h5").read_bytes()
    t.check((t.folder / "sliced.h5").read_bytes() == whole, "other bytes than an undisturbed run")
    t.check(not (t.folder / "sliced.h5.checkpoint").exists(), "a checkpoint is left")


def test_other_exit_codes_end_the_loop(t):
    done = loop(t, "5", "missing.h5", "out.h5")
    t.check(done.returncode == 66, f"missing input: exit {done.returncode}: {done.stderr}")
    for arguments in ((), ("5",), ("five", "in.h5", "out.h5"), ("0", "in.h5", "out.h5")):
        done = loop(t, *arguments)
        t.check(done.returncode == 64, f"{arguments}: exit {done.returncode}: {done.stderr}")


def test_a_signal_ends_the_loop_after_the_checkpoint(t):
    path = some_seconds_of_work(t)
    log = t.path("log")
    for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGINT):
        output = t.folder / f"{number}.h5"
        checkpoint = t.folder / f"{number}.h5.checkpoint"
        with open(log, "w", encoding="utf-8") as out:
            job = subprocess.Popen(
                [LOOP, "100", *SLOWLY, path, str(output)], cwd=t.folder, env=environment(),
                stderr=out, stdout=out,
                # What is ignored here, under nohup say, a shell cannot catch.
                preexec_fn=lambda caught=number: signal.signal(caught, signal.SIG_DFL),
            )
            while job.poll() is None and not holds_work(checkpoint):
                time.sleep(0.02)
            job.send_signal(number)
            code = job.wait(TIMEOUT_SECONDS)
        with open(log, encoding="utf-8") as said:
            t.check(code == 75, f"{number}: exit {code}: {said.read()}")
        t.check(holds_work(checkpoint), f"{number}: no checkpoint")
        t.check(not output.exists(), f"{number}: an output")
