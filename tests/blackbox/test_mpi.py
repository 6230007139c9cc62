"""Several processes on one job: the bytes of one process, whatever their number."""

import json
import os
import re
import shutil
import signal
import subprocess
import time

import h5py
import numpy as np

from support import Skip, binary, children, is_sanitized, outcome

ENVIRONMENT = {**os.environ, "OMP_WAIT_POLICY": "passive", "ENGRAM_CHECKPOINT_SECONDS": "0",
               "OMPI_ALLOW_RUN_AS_ROOT": "1", "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM": "1",
               "OMPI_MCA_rmaps_base_oversubscribe": "1"}


def mpi_binary(t):
    path = binary() + "-mpi"
    if not os.path.exists(path) or shutil.which("mpirun") is None:
        raise Skip("needs mpirun and `make MPI=1`")
    return path


def ranks(t, count, *arguments):
    return [shutil.which("mpirun"), "-n", str(count), mpi_binary(t), "-q", "--threads", "1",
            *map(str, arguments)]


def content(path):
    with open(path, "rb") as f:
        return f.read()


def inputs(t, rows=6000, dim=40):
    centres = t.gaussian(300, dim)
    data = centres[t.random.integers(300, size=rows)] + 0.4 * t.gaussian(rows, dim)
    data = data.astype(np.float32)
    data[5] = data[5000]
    data[17, 2] = np.inf
    return t.two_sets(data, t.gaussian(2500, dim), metric="angular"), t.h5("one.h5", {"x": data})


def least_memory(t, *arguments):
    """What four ranks want at the least, in MiB: it depends on the MPI, too."""
    done = subprocess.run(ranks(t, 4, "--memory", "1M", *arguments, t.path("none.h5")),
                          env=ENVIRONMENT, text=True, capture_output=True, timeout=120, check=False)
    named = re.search(r"the smallest that works is --memory (\d+)M", done.stderr)
    t.require(done.returncode == 71 and named, f"{arguments}: {done.returncode}: {done.stderr}")
    return int(named[1])


def test_same_bytes_with_any_number_of_ranks(t):
    mpi_binary(t)
    two, one = inputs(t)
    jobs = [
        [two],
        [two, "-k", "25", "--float64", "--memory", 6],
        [one, "--min-similarity", "0.7"],
        [one, "--min-similarity", "0.7", "--memory", 6],
        [one, "-k", "3", "--max-distance", "0.4", "--metric", "l2"],
        [one, "--min-similarity", "0.8", "--components"],
        [two, "--all", "--query-rows", "0:300"],
        [two, "--all", "--float64", "--compress", "1", "--query-rows", "0:900", "--memory", 40],
    ]
    whole, out = t.path("whole.h5"), t.path("out.h5")
    for arguments in jobs:
        if "--memory" in arguments:
            arguments[-1] = f"{arguments[-1] + least_memory(t, *arguments[:-2])}M"
        t.succeeds("-q", "--force", *arguments, whole)
        for count in (1, 2, 3, 4):
            if os.path.exists(out):
                os.unlink(out)
            done = subprocess.run(ranks(t, count, *arguments, out), env=ENVIRONMENT, text=True,
                                  capture_output=True, timeout=300, check=False)
            t.check(done.returncode == 0 and done.stderr == "",
                    f"{count} ranks: {arguments}: {done.returncode}: {done.stderr}")
            t.check(os.path.exists(out) and content(out) == content(whole),
                    f"{count} ranks: {arguments}: other bytes")
            t.check(not os.path.exists(out + ".checkpoint"), f"{count} ranks: a checkpoint is left")


def test_mistakes_are_said_once(t):
    mpi_binary(t)
    two, _ = inputs(t)
    for code, arguments in ((66, [t.path("none.h5"), t.path("out.h5")]),
                            (64, ["--metric", "zebra", two, t.path("out.h5")]),
                            (71, ["--memory", "1M", two, t.path("out.h5")])):
        done = subprocess.run(ranks(t, 3, *arguments), env=ENVIRONMENT, text=True,
                              capture_output=True, timeout=120, check=False)
        said = [line for line in done.stderr.splitlines() if line.startswith("engram-batch:")]
        t.check(done.returncode == code and len(said) == 1,
                f"{arguments}: {done.returncode}, not {code}: {done.stderr}")


def saved_some(t, job, out):
    checkpoint = out + ".checkpoint"
    for _ in range(3000):
        if os.path.exists(checkpoint) and os.path.getsize(checkpoint) > 30000:
            return
        if job.poll() is not None:
            break
        time.sleep(0.01)
    job.kill()
    t.require(False, f"saved nothing: {job.communicate()[1]}")


def stats_of(t, count, *arguments):
    """What rank 0 says of a job that succeeds."""
    path = t.path("stats.json")
    done = subprocess.run(ranks(t, count, "--stats", path, *arguments), env=ENVIRONMENT, text=True,
                          capture_output=True, timeout=300, check=False)
    t.require(done.returncode == 0, f"{count} ranks: {arguments}: {done.stderr}")
    with open(path, encoding="utf-8") as f:
        return json.load(f)


def test_shards_by_several_ranks(t):
    """A shard is a range of queries: each by another number of ranks, merged to the same bytes."""
    mpi_binary(t)
    two, one = inputs(t, rows=5100)
    jobs = [
        [two, "-k", "7"],
        [two, "-k", "7", "--memory", 6],
        [one, "--min-similarity", "0.7"],
        [one, "-k", "3", "--max-distance", "0.4", "--metric", "l2"],
        [one, "--min-similarity", "0.8", "--components"],
        [two, "--all", "--query-rows", "0:300"],
        [one, "--self", "--pairwise"],
    ]
    whole, out = t.path("whole.h5"), t.path("out.h5")
    parts = [t.path(f"out.shard-{i}-of-3.h5") for i in (1, 2, 3)]
    for arguments in jobs:
        if "--memory" in arguments:
            arguments[-1] = f"{arguments[-1] + least_memory(t, *arguments[:-2])}M"
        t.succeeds("-q", "--force", *arguments, whole)
        for number, part in enumerate(parts, 1):
            stats = stats_of(t, 1 + number, "--force", "--shard", f"{number}/3", *arguments, out)
            t.check(stats["ranks"] == 1 + number, f"{arguments}: {stats['ranks']} ranks")
            t.require(os.path.exists(part), f"{arguments}: no part {number}")
        t.succeeds("merge", "-q", "--force", *parts, out)
        t.check(content(out) == content(whole), f"{arguments}: other bytes")


def test_memory_is_a_promise_of_every_rank(t):
    """Also the least that is named; MPI's own memory counts."""
    mpi_binary(t)
    two, _ = inputs(t, rows=40000, dim=400)  # 64 MB
    for kind in (["-k", "20"], ["--min-similarity", "0.3"], ["--all", "--query-rows", "0:400"]):
        least = least_memory(t, *kind, two)
        for more in (0, 30):
            out = t.path("out.h5")
            limit = least + more
            stats = stats_of(t, 4, "--force", "--memory", f"{limit}M", *kind, two, out)
            peaks = stats["peak_rss_bytes"], stats["other_ranks_peak_rss_bytes"]
            t.check(is_sanitized() or 0 < max(peaks) <= limit * 2**20,
                    f"{kind}: {limit} MiB were allowed, and ranks took {peaks}")


def test_rank_0_need_not_read_what_others_read(t):
    """The identity, and the count of rows without answers, are those of one process. How rows are
    shared out is a matter of luck on a busy machine, so there are several tries."""
    mpi_binary(t)
    two, _ = inputs(t, rows=40000, dim=240)
    whole, out, stats = t.path("whole.h5"), t.path("out.h5"), None
    slow = ["--filter", "canonical", "--isa", "portable"]
    slow += ["--memory", f"{10 + least_memory(t, *slow, two)}M"]
    t.succeeds("-q", two, whole)
    for _ in range(6):
        if os.path.exists(out):
            os.unlink(out)
        stats = stats_of(t, 4, *slow, two, out)
        t.check(content(out) == content(whole), "other bytes")
        t.check(stats["skipped_base_rows"] == 1 and stats["skipped_queries"] == 0,
                f"skipped {stats['skipped_base_rows']}, {stats['skipped_queries']}")
        if stats["rows_read"] < 40000:
            break
    t.check(stats["ranks"] == 4 and stats["rows_read"] < 40000, f"{stats['rows_read']} rows read")


def test_changed_rows_are_noticed_whoever_read_them(t):
    """After a run that ended early: other rows are refused, or nobody had looked at them."""
    mpi_binary(t)
    two, _ = inputs(t, rows=40000, dim=240)
    slow = ["--filter", "canonical", "--isa", "portable"]
    arguments = ["--memory", f"{10 + least_memory(t, *slow, two)}M"]
    slow += arguments
    whole, out = t.path("whole.h5"), t.path("out.h5")
    job = subprocess.Popen(ranks(t, 3, *slow, two, out), env=ENVIRONMENT, text=True,
                           stderr=subprocess.PIPE)
    saved_some(t, job, out)
    job.send_signal(signal.SIGTERM)
    job.communicate(timeout=120)
    t.require(os.path.exists(out + ".checkpoint"), "no checkpoint")
    kept = content(out + ".checkpoint")
    refused = 0
    for row in (3, 14000, 27000, 39999):
        with h5py.File(two, "r+") as f:
            old = f["train"][row]
            f["train"][row] = old + 1
        done = subprocess.run(ranks(t, 2, *arguments, two, out), env=ENVIRONMENT, text=True,
                              capture_output=True, timeout=300, check=False)
        if done.returncode == 0:
            t.succeeds("-q", "--force", two, whole)
            t.check(content(out) == content(whole), f"row {row}: answers of two inputs")
            os.unlink(out)
        else:
            t.check(done.returncode == 73 and "changed since the checkpoint" in done.stderr,
                    f"row {row}: {done.returncode}: {done.stderr}")
            t.check(not os.path.exists(out), f"row {row}: an output")
            refused += 1
        with h5py.File(two, "r+") as f:
            f["train"][row] = old
        with open(out + ".checkpoint", "wb") as f:
            f.write(kept)
    t.check(refused > 0, "no change was noticed")
    t.succeeds("-q", "--force", two, whole)
    stats = stats_of(t, 2, two, out)
    t.check(content(out) == content(whole), "other bytes when the input is back")
    t.check(stats["skipped_base_rows"] == 1, f"{stats['skipped_base_rows']} rows skipped")


def test_stopped_ranks_leave_a_checkpoint(t):
    """SIGTERM to all, by mpirun; or a worker that dies."""
    mpi_binary(t)
    two, _ = inputs(t, rows=70000, dim=240)  # mpirun takes its time to pass a signal on
    whole, out = t.path("whole.h5"), t.path("out.h5")
    slow = ["--filter", "canonical", "--isa", "portable"]
    t.succeeds("-q", two, whole)
    for victim in ("mpirun", "worker", "rank 0"):
        if os.path.exists(out):
            os.unlink(out)
        job = subprocess.Popen(ranks(t, 3, *slow, two, out), env=ENVIRONMENT, text=True,
                               stderr=subprocess.PIPE)
        saved_some(t, job, out)
        pids = children(job.pid)
        t.require(len(pids) == 3, f"{victim}: ranks {pids}")
        if victim == "mpirun":
            job.send_signal(signal.SIGTERM)
        else:
            os.kill(pids[2 if victim == "worker" else 0], signal.SIGKILL)
        said = outcome(job, 120)[1]
        t.check(job.returncode != 0, f"{victim}: ended well: {said}")
        t.check(os.path.exists(out + ".checkpoint") and not os.path.exists(out),
                f"{victim}: no checkpoint, or an output: {said}")
        # Another number of ranks goes on; then one process.
        done = subprocess.run(ranks(t, 2, "-v", two, out), env=ENVIRONMENT, text=True,
                              capture_output=True, timeout=300, check=False)
        t.check(done.returncode == 0 and "goes on" in done.stderr, f"{victim}: {done.stderr}")
        t.check(os.path.exists(out) and content(out) == content(whole), f"{victim}: other bytes")
