"""What is in a result, and what never happens to files."""

import hashlib
import os
import resource
import signal
import subprocess
import time

import h5py
import numpy as np

import oracle
from support import DATA, Result, binary


def digest(path):
    with open(path, "rb") as f:
        return hashlib.sha256(f.read()).hexdigest()


def text(value):
    return value.decode() if isinstance(value, bytes) else str(value)


def test_pairs_in_anndata_csr_encoding(t):
    base, queries = t.gaussian(60, 6), t.gaussian(9, 6)
    path = t.two_sets(base, queries)
    result = t.exact(
        "pairs", [path], queries, base, "l2", k=None, max_distance=3.0
    )
    t.check(result.neighbors is None and result.distances is None, f"{result.names}")
    attributes = result.pairs_attributes
    t.check(text(attributes.get("encoding-type")) == "csr_matrix", attributes)
    t.check(text(attributes.get("encoding-version")) == "0.1.0", attributes)
    t.check(list(attributes.get("shape", [])) == [9, 60], attributes)
    t.check(result.indptr.dtype == np.dtype("<i8"), result.indptr.dtype)
    t.check(result.indices.dtype == np.dtype("<i8"), result.indices.dtype)
    t.check(result.data.dtype == np.dtype("<f4"), result.data.dtype)
    with h5py.File(t.path("out.h5"), "r") as f:
        for name in ("encoding-type", "encoding-version"):
            t.check(isinstance(f["pairs"].attrs[name], str), f"{name} is no text for h5py")


def test_limit_with_k_writes_pairs(t):
    base, queries = t.gaussian(60, 6), t.gaussian(9, 6)
    base[:10] *= 0.01  # whatever the seed: more than k rows near one query, none near another
    queries[0], queries[1] = 0, 100
    path = t.two_sets(base, queries)
    result = t.exact("k", [path], queries, base, "l2", k=7, max_distance=2.0)
    t.check(result.neighbors is None, "neighbors too")
    counts = np.diff(result.indptr)
    t.check(counts.max() == 7 and counts.min() < 7, f"test data decide nothing: {counts}")


def test_root_attributes(t):
    rows = t.gaussian(20, 6)
    path = t.h5("one.h5", {"deep/x": rows})
    one = t.job("--metric", "angular", "-k", "3", path).attributes
    t.check(text(one.get("metric")) == "cosine", one)
    t.check(int(one.get("k", -1)) == 3, one)
    values = [text(v) for v in one.values()]
    t.check(any("deep/x" in v for v in values), f"no dataset path: {one}")
    t.check(not any("one.h5" in v or str(t.folder) in v for v in values), f"a file name: {one}")
    t.check(
        any(list(np.atleast_1d(v)) == [20, 6] for v in one.values() if not isinstance(v, str)),
        f"no shape: {one}",
    )
    t.check("digest" in one, one)
    again = t.job("--metric", "cosine", "-k", "3", path).attributes
    t.check(str(one) == str(again), "an alias of the metric changes the result")
    other = t.job("--metric", "cosine", "-k", "4", path).attributes
    t.check(text(one["digest"]) != text(other["digest"]), "digest does not depend on k")
    limit = t.job("--max-distance", "0.25", path).attributes
    t.check(
        any(isinstance(v, (float, np.floating)) and v == 0.25 for v in limit.values()),
        f"no threshold: {limit}",
    )


def test_digest_tells_inputs_apart(t):
    rows = t.gaussian(20, 6)
    seen = {}
    for label, change in (("same", None), ("one bit", (19, 5)), ("first", (0, 0))):
        changed = rows.copy()
        if change:
            changed[change] = np.nextafter(changed[change], np.float32(9))
        path = t.h5("one.h5", {"x": changed})
        seen[label] = text(t.job(path).attributes["digest"])
    t.check(len(set(seen.values())) == 3, seen)


def test_nothing_about_times(t):
    path = t.h5("one.h5", {"x": t.gaussian(20, 6), "ids": [str(i) for i in range(20)]})
    t.job(path)
    with h5py.File(t.path("out.h5"), "r") as f:
        for name in ("neighbors", "distances", "counts", "base_ids", "query_ids"):
            plist = f[name].id.get_create_plist()
            t.check(not plist.get_obj_track_times(), f"{name} tracks times")


def test_existing_output_is_refused(t):
    path = t.h5("one.h5", {"x": t.gaussian(20, 6)})
    out = t.path("out.h5")
    for label, make in (
        ("text", lambda: open(out, "w", encoding="ascii").write("precious\n")),
        ("empty", lambda: open(out, "w", encoding="ascii").close()),
        ("HDF5", lambda: t.h5("out.h5", {"precious": np.arange(3)})),
    ):
        make()
        before = digest(out)
        t.fails(73, ["out.h5", "--force"], path, out)
        t.check(digest(out) == before, f"{label}: OUTPUT was touched")
    t.succeeds("--force", path, out)
    t.check(Result(out).neighbors.shape == (20, 10), "--force did not replace")


def test_up_to_date(t):
    rows = t.gaussian(20, 6)
    path = t.h5("one.h5", {"x": rows})
    out = t.path("out.h5")
    t.succeeds("-k", "4", path, out)
    before = (digest(out), os.stat(out).st_mtime_ns, os.stat(out).st_ino)
    for extra in (
        [],
        ["--threads", "1"],
        ["--threads", "3", "--filter", "canonical", "--isa", "portable"],
        ["--metric", "cosine"],
        ["--metric", "angular"],
        ["--self"],
    ):
        run = t.succeeds("-k", "4", *extra, path, out)
        t.check("up to date" in run.err.lower(), f"{extra}: not told: {run}")
        now = (digest(out), os.stat(out).st_mtime_ns, os.stat(out).st_ino)
        t.check(now == before, f"{extra}: an up-to-date result was written again")
    for other in (["-k", "5"], [], ["-k", "4", "--metric", "l2"], ["-k", "4", "--compress", "1"],
                  ["-k", "4", "--max-distance", "1"], ["-k", "4", "--base-rows", "0:19"]):
        t.fails(73, ["out.h5", "--force"], *other, path, out)
    rows[3, 3] += 1
    t.h5("one.h5", {"x": rows})
    t.fails(73, ["out.h5", "--force"], "-k", "4", path, out)
    t.check((digest(out), os.stat(out).st_mtime_ns, os.stat(out).st_ino) == before, "touched")


def test_damaged_result_is_not_up_to_date(t):
    """A result that was cut short must not pass for finished."""
    path = t.h5("one.h5", {"x": t.gaussian(200, 6)})
    out = t.path("out.h5")
    t.succeeds(path, out)
    os.truncate(out, os.path.getsize(out) // 2)
    t.fails(73, ["out.h5", "--force"], path, out)


def test_input_is_never_modified(t):
    base, queries = t.gaussian(60, 6), t.gaussian(9, 6)
    path = t.two_sets(base, queries, metric="l2")
    before = digest(path)
    os.chmod(path, 0o444)
    (t.folder / "results").mkdir()
    t.succeeds(path, t.path("results/out.h5"))
    t.fails((64, 73), [], path, path)
    t.fails((64, 73), [], "--force", path, path)
    t.fails((64, 73), [], "--force", path, t.path("./results/../two.h5"))
    other = t.h5("queries.h5", {"y": queries})
    t.fails((64, 73), [], "--force", "--queries", other, "--metric", "l2", path, other)
    t.check(digest(path) == before, "input changed")
    for make, name in ((os.symlink, "soft.h5"), (os.link, "hard.h5")):
        make(path, t.path(name))
        run = t.run("--force", path, t.path(name))
        t.check(run.code in (0, 64, 73), f"{name}: {run}")
        t.check(os.path.exists(path) and digest(path) == before, f"{name}: input changed: {run}")


def test_output_cannot_be_created(t):
    path = t.h5("one.h5", {"x": t.gaussian(20, 6)})
    t.fails((73,), "nowhere", path, t.path("nowhere/out.h5"))
    (t.folder / "folder.h5").mkdir()
    t.fails((73,), "folder.h5", path, t.path("folder.h5"))
    t.fails((73,), "folder.h5", "--force", path, t.path("folder.h5"))
    t.fails((73,), [], path, os.path.join(path, "out.h5"))
    t.fails((64, 73), [], path, "")


def test_force_keeps_the_old_result_when_a_job_fails(t):
    path = t.h5("one.h5", {"x": t.gaussian(20, 6)})
    out = t.path("out.h5")
    t.succeeds(path, out)
    before = digest(out)
    rows = t.gaussian(20, 6, np.float64)
    rows[4, 4] = 1e200
    bad = t.h5("bad.h5", {"x": rows})
    t.fails(65, "row 4", "--force", "--metric", "l2", bad, out)
    t.check(digest(out) == before, "the old result is gone")


def test_permissions_follow_umask(t):
    path = t.h5("one.h5", {"x": t.gaussian(20, 6)})
    old = os.umask(0o027)
    try:
        t.succeeds(path, t.path("out.h5"))
    finally:
        os.umask(old)
    mode = os.stat(t.path("out.h5")).st_mode & 0o777
    t.check(mode == 0o640, f"mode {mode:o} under umask 027")


def test_file_size_limit(t):
    """A write that fails, and not a death by SIGXFSZ: exit 74, one line, nothing left."""
    path = t.h5("one.h5", {"x": t.gaussian(3000, 4)})
    before = sorted(os.listdir(t.folder))

    def limited():
        signal.signal(signal.SIGXFSZ, signal.SIG_DFL)
        resource.setrlimit(resource.RLIMIT_FSIZE, (100000, 100000))

    for extra in ([], ["--compress", "6"], ["--max-distance", "1"]):
        done = subprocess.run(
            [binary(), *extra, path, t.path("out.h5")],
            preexec_fn=limited,
            restore_signals=False,
            capture_output=True,
            text=True,
            check=False,
            timeout=100,
        )
        t.check(done.returncode == 74, f"{extra}: exit {done.returncode}: {done.stderr}")
        t.check(done.stderr.count("\n") == 1, f"{extra}: not one line: {done.stderr}")
        t.check(sorted(os.listdir(t.folder)) == before, f"left over: {os.listdir(t.folder)}")


def interrupted(t, number, after, extra=()):
    """Sends a signal to a job that would take much longer. None when it was done before."""
    def reset():
        for name in (signal.SIGINT, signal.SIGTERM):
            signal.signal(name, signal.SIG_DFL)

    process = subprocess.Popen(
        [binary(), "--filter", "canonical", "--isa", "portable", "--threads", "1", *extra,
         str(DATA / "glove-20k.h5"), t.path("out.h5")],
        preexec_fn=reset,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    time.sleep(after)
    if process.poll() is not None:
        process.communicate()
        return None
    process.send_signal(number)
    began = time.monotonic()
    try:
        err = process.communicate(timeout=60)[1]
    except subprocess.TimeoutExpired:
        process.kill()
        process.communicate()
        t.require(False, f"signal {number} after {after} s: still running a minute later")
    t.check(time.monotonic() - began < 10, f"took {time.monotonic() - began:.1f} s to stop")
    return process.returncode, err


def check_left(t, ended, label):
    """Nothing, or the checkpoint that was spoken of."""
    left = os.listdir(t.folder)
    saved = ended is not None and "is in " in ended[1] and ".checkpoint" in ended[1]
    t.check(left == (["out.h5.checkpoint"] if saved else []), f"{label}left over: {left}: {ended}")
    for name in left:
        os.unlink(t.path(name))


def test_interrupt_leaves_nothing_else(t):
    seen = 0
    for after in (0.02, 0.15, 0.5, 1.0):
        ended = interrupted(t, signal.SIGINT, after)
        if ended is None:
            continue
        seen += 1
        t.check(ended[0] == -signal.SIGINT, f"after {after} s: ended with {ended}")
        check_left(t, ended, f"after {after} s: ")
    t.check(seen >= 2, "the job was too fast to be interrupted")


def test_terminate_gives_75(t):
    ended = interrupted(t, signal.SIGTERM, 0.7)
    if t.check(ended is not None, "the job was too fast to be interrupted"):
        t.check(ended[0] == 75, f"ended with {ended}")
    check_left(t, ended, "")


def test_scipy_style_reading(t):
    """CSR as a reader without AnnData takes it apart."""
    rows = t.gaussian(50, 5)
    path = t.h5("one.h5", {"x": rows})
    result = t.job("--max-distance", "0.3", path)
    want = oracle.answer(rows, rows, "cosine", self_job=True, max_distance=0.3)
    for i in range(50):
        part = result.indices[result.indptr[i] : result.indptr[i + 1]]
        t.check((part == want.rows[i]).all(), f"row {i}")
