"""Rows whose work goes from file to file."""

import os
import re
import subprocess
import time

from . import compare, measure, ours
from .contest import finish, title_of, verdict


def write_input(bench, path, data, gzip):
    import h5py
    layout = {}
    if gzip:
        layout = {"chunks": (2048, data.base.shape[1]), "shuffle": True, "compression": "gzip",
                  "compression_opts": 6}
    with h5py.File(path, "w") as file:
        file.attrs["distance"] = "angular"
        file.create_dataset("train", data=data.base, **layout)
        file.create_dataset("test", data=data.queries)


def command(bench, source, target, threads, *more):
    """Seconds from the start of the process to its end."""
    if os.path.exists(target):
        os.unlink(target)
    arguments = [os.path.join(bench.build, "engram-batch"), "-q", "--threads", str(threads),
                 "--filter", bench.filter, *more, source, target]
    start = time.perf_counter()
    done = subprocess.run(arguments, check=False)
    seconds = time.perf_counter() - start
    if done.returncode != 0:
        raise ours.Failed(f"{' '.join(arguments)}: exit code {done.returncode}")
    return seconds


def files(bench, name, data, k, gzip):
    """A file in, a file out; the peer is a script that has its modules loaded already."""
    import h5py
    source = os.path.join(bench.folder, "input.h5")
    target = os.path.join(bench.folder, "output.h5")
    theirs = os.path.join(bench.folder, "peer.h5")
    write_input(bench, source, data, gzip)
    stats = os.path.join(bench.folder, "stats.json")
    gflop = 2e-9 * len(data.queries) * data.base.size

    def faiss():
        if os.path.exists(theirs):
            os.unlink(theirs)
        start = time.perf_counter()
        with h5py.File(source, "r") as file:
            base = file["train"][()]
            queries = file["test"][()]
        bench.peers.faiss.normalize_L2(base)
        bench.peers.faiss.normalize_L2(queries)
        similarity, neighbors = bench.peers.faiss.knn(
            queries, base, k, metric=bench.peers.faiss.METRIC_INNER_PRODUCT)
        with h5py.File(theirs, "w") as file:
            file["neighbors"] = neighbors
            file["distances"] = 1 - similarity
        return time.perf_counter() - start

    mine = measure.Contender("ours", lambda: command(
        bench, source, target, bench.threads, "-k", str(k), "--stats", stats),
        "engram-batch (file to file)")
    contenders = [mine]
    if bench.peers.faiss:
        contenders.append(measure.Contender("faiss", faiss, "h5py, FAISS knn, h5py"))
    bench.report.row(name, title_of(data, "cosine", k) + ", "
                     + ("gzip and shuffle" if gzip else "contiguous"))
    finish(bench, name, contenders, mine, gflop)
    parts = bench.json_file(stats)
    bench.report.note(f"{parts['isa']}, {parts['filter']} filter, {parts['threads']} threads, "
                      f"{parts['rescored_pairs'] / len(data.queries):,.1f} pairs a query rescored; "
                      f"read {1e3 * parts['read_seconds']:.0f} ms, "
                      f"search {1e3 * parts['search_seconds']:.0f} ms, "
                      f"write {1e3 * parts['write_seconds']:.0f} ms")
    for part in ("read_seconds", "search_seconds", "write_seconds"):
        bench.report.value(f"{name}/ours/{part}", parts[part], "s")
    with h5py.File(target, "r") as file:
        answers = file["neighbors"][()]
    if bench.peers.faiss:
        with h5py.File(theirs, "r") as file:
            verdict(bench, name, "faiss", compare.knn(data.base, data.queries, "cosine", answers,
                                                      file["neighbors"][()]))


def reading(bench, name, data, gzip):
    """Rows into memory: ours on one and all threads, H5Dread, plain reads; engram-bench measures
    them in turns."""
    source = os.path.join(bench.folder, "read.h5")
    write_input(bench, source, data, gzip)
    bench.report.row(name, f"{len(data.base):,} x {data.base.shape[1]} float32 from "
                           f"{bench.folder_kind}, {'gzip and shuffle' if gzip else 'contiguous'}")
    bench.program_lines(name, "read", source, "train")


def small_job(bench, name, data):
    """Start-up, planning, reading, publishing: everything but the work."""
    import h5py
    source = os.path.join(bench.folder, "small.h5")
    target = os.path.join(bench.folder, "small-out.h5")
    with h5py.File(source, "w") as file:
        file["embeddings"] = data.base[:1000]
    program = os.path.join(bench.build, "engram-batch")

    def nothing():
        start = time.perf_counter()
        subprocess.run([program, "--version"], check=True, stdout=subprocess.DEVNULL)
        return time.perf_counter() - start

    mine = measure.Contender("ours", lambda: command(bench, source, target, bench.threads),
                             "engram-batch", rate=False)
    start_up = measure.Contender("start_up", nothing, "engram-batch --version", rate=False)
    bench.report.row(name, f"a whole job, 1,000 x {data.base.shape[1]} against themselves, k = 10; "
                           f"files in {bench.folder_kind}")
    finish(bench, name, [mine, start_up], mine, None, ratios=False)


def least_memory(bench, source, target):
    """MiB; the program names it when it is given too little."""
    done = subprocess.run([os.path.join(bench.build, "engram-batch"), "-q", "--threads",
                           str(bench.threads), "--filter", bench.filter, "--force", "--memory", "1M",
                           source, target],
                          check=False, stderr=subprocess.PIPE, text=True)
    found = re.search(r"--memory (\d+)M", done.stderr)
    if found is None:
        raise ours.Failed(f"no smallest --memory in: {done.stderr.strip()}")
    return int(found.group(1))


def within_memory(bench, name, data, k):
    """All in memory against room for a quarter of the data beside what a job needs at least."""
    source = os.path.join(bench.folder, "input.h5")
    target = os.path.join(bench.folder, "output.h5")
    stats = os.path.join(bench.folder, "stats.json")
    write_input(bench, source, data, gzip=False)
    gflop = 2e-9 * len(data.queries) * data.base.size
    bytes_of_data = data.base.nbytes + data.queries.nbytes
    room = least_memory(bench, source, target) + (bytes_of_data // 4 >> 20)
    mine = measure.Contender("ours", lambda: command(
        bench, source, target, bench.threads, "-k", str(k)), "engram-batch, all in memory")
    small = measure.Contender("quarter", lambda: command(
        bench, source, target, bench.threads, "-k", str(k), "--memory", f"{room}M", "--stats",
        stats), f"engram-batch --memory {room}M")
    bench.report.row(name, f"{title_of(data, 'cosine', k)}, contiguous, "
                           f"{bytes_of_data >> 20} MiB of data")
    finish(bench, name, [mine, small], mine, gflop, ratios=False)
    rate = small.times_of(mine)
    peak = bench.json_file(stats)["peak_rss_bytes"]
    bench.report.value(f"{name}/of_in_memory", rate, "ratio")
    bench.report.value(f"{name}/peak_rss", peak >> 20, "MiB")
    bench.report.note(f"within that memory at {rate:.2f} of the rate of all in memory; "
                      f"{peak >> 20} MiB at the peak")
