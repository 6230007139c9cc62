"""The rows: what is measured. Each is a function of a Bench and registers itself in ROWS."""

import os
import subprocess
import time

import numpy as np

from . import compare, measure, ours

ROWS = []  # (name, in the quick list, function)


def row(name, quick=True):
    def register(function):
        ROWS.append((name, quick, function))
        return function
    return register


def sample(bench, rows, queries, dim):
    """How many of the queries a slow peer gets: its time is linear in them."""
    guess = 2e-9 * rows * queries * dim / (40.0 * bench.threads)
    if guess <= 2 * bench.peer_limit:
        return queries
    return min(queries, max(200, int(queries * bench.peer_limit / guess)))


def label_of(name, taken, queries):
    return name if taken == queries else f"{name}, {taken:,} queries"


def title_of(data, metric, k, what="queries"):
    return (f"{len(data.queries):,} {what} x {len(data.base):,} x {data.base.shape[1]}, {metric}"
            + (f", k = {k}" if k else ""))


def without_self(found, k):
    """k+1 neighbours of the first rows of the base: drops the row itself, else the last."""
    rows = np.arange(len(found))[:, None]
    drop = found == rows
    drop[~drop.any(axis=1), -1] = True
    drop &= np.cumsum(drop, axis=1) == 1
    return found[~drop].reshape(len(found), k)


def survivors(bench, name, search, queries):
    report = search.report
    per_query = report.rescored / max(1, queries)
    bench.report.value(f"{name}/survivors", per_query, "pairs a query")
    bench.report.value(f"{name}/filter", report.filter_name(), "text")
    bench.report.value(f"{name}/isa", report.isa_name(), "text")
    text = (f"{report.isa_name()}, {report.filter_name()} filter, {report.threads} threads, "
            f"{per_query:,.1f} pairs a query rescored")
    if report.prepare_seconds > 0 and search.prepared is None:
        part = report.prepare_seconds / report.seconds
        bench.report.value(f"{name}/prepare_share", part, "ratio")
        text += f", preparing {100 * part:.0f} % of the time"
    bench.report.note(text)


def verdict(bench, name, peer, result):
    bench.report.value(f"{name}/{peer}/answers", result.total, "answers")
    bench.report.value(f"{name}/{peer}/missed", result.missed, "answers")
    bench.report.value(f"{name}/{peer}/ties", result.ties, "answers")
    bench.report.value(f"{name}/{peer}/ours_wrong", result.ours_wrong, "answers")
    bench.report.note(f"{peer} against ours: {result.text()}")
    bench.wrong += result.ours_wrong


def finish(bench, name, contenders, mine, gflop, ratios=True):
    """Measures and prints; `gflop` None where a rate says nothing."""
    seen = measure.run_rounds(contenders, bench.pace, bench.peak,
                              lambda text: bench.report.progress(f"{name}: {text}"))
    bench.report.clear()
    bench.peaks += seen
    bench.report.row_head()
    for c in contenders:
        bench.report.contender(name, c, gflop, mine if ratios else None)
    bench.report.value(f"{name}/rounds", len(mine.seconds), "rounds")
    bench.report.record(name, mine, contenders, gflop)
    if gflop is not None and bench.isa != bench.widest and mine.of_peak:
        share = gflop / mine.median() / bench.widest_peak
        bench.report.value(f"{name}/ours/of_widest_peak", share, "ratio")
        bench.report.note(f"ours against the peak of {bench.widest}: {share:.3f}")


def knn(bench, name, data, metric, k, peers=("faiss",), itself=False):
    """In memory: preparing, seeding, selection and rescoring are all inside."""
    count = len(data.queries)
    dim = data.base.shape[1]
    gflop = 2e-9 * count * len(data.base) * dim
    search = ours.Search(bench.library, data.base, data.queries, metric, bench.threads, k,
                         itself=itself, which_filter=bench.filter)
    mine = measure.Contender("ours", search.knn, "engram (in memory)")
    contenders = [mine]
    base, queries = data.for_peers(metric)
    taken = sample(bench, len(base), count, dim)
    share = taken / count
    answers = {}

    if "sgemm" in peers and bench.peers.blas:
        contenders.append(measure.Contender(
            "sgemm", lambda: bench.peers.sgemm(base, queries[:taken]),
            label_of(f"{bench.peers.blas} sgemm alone", taken, count), share))
    if "faiss" in peers and bench.peers.faiss:
        answer = answers["faiss"] = {}
        contenders.append(measure.Contender(
            "faiss", lambda: bench.peers.faiss_knn(base, queries[:taken], k + int(itself), metric,
                                                   answer),
            label_of("FAISS knn", taken, count), share))
    if "sklearn" in peers and bench.peers.neighbors and metric != "ip" and not itself:
        answer2 = answers["sklearn"] = {}
        contenders.append(measure.Contender(
            "sklearn", lambda: bench.peers.sklearn_knn(base, queries[:taken], k, metric, answer2),
            label_of("scikit-learn brute force", taken, count), share))
    bench.report.row(name, title_of(data, metric, k, "rows against themselves" if itself
                                    else "queries"))
    finish(bench, name, contenders, mine, gflop)
    survivors(bench, name, search, count)
    for peer, answer in answers.items():
        found = answer["neighbors"]
        found = without_self(found, k) if itself else found
        verdict(bench, name, peer,
                compare.knn(data.base, data.queries, metric, search.neighbors, found))


def few_queries(bench, name, data, metric, k, count):
    """A set that is prepared already: how far from reading its rows once?"""
    part = data.first_queries(count)
    gflop = 2e-9 * count * len(data.base) * data.base.shape[1]
    base, queries = part.for_peers(metric)
    whole = ours.Search(bench.library, part.base, part.queries, metric, bench.threads, k,
                        which_filter=bench.filter)
    ready = ours.Search(bench.library, part.base, part.queries, metric, bench.threads, k,
                        which_filter=bench.filter).prepare()
    repeat = 20 if len(data.base) < 50000 else 5

    def often(run):
        """One is too short to be measured alone; the best of a few is not what we want either."""
        return lambda: sum(run() for _ in range(repeat)) / repeat

    mine = measure.Contender("ours", often(ready.knn), "engram (set prepared before)")
    contenders = [
        mine,
        measure.Contender("ours_with_preparing", whole.knn, "engram (preparing included)"),
        measure.Contender("stream", often(lambda: bench.library.read_seconds(
            data.base, bench.threads)), "reading the same bytes once", rate=False)]
    answers = {}
    if bench.peers.faiss:
        contenders.append(measure.Contender(
            "faiss", often(lambda: bench.peers.faiss_knn(base, queries, k, metric, answers)),
            "FAISS knn"))
    bench.report.row(name, title_of(part, metric, k))
    finish(bench, name, contenders, mine, gflop)
    stream = contenders[2]
    of_stream = mine.times_of(stream)
    gigabytes = 1e-9 * data.base.nbytes / stream.median()
    bench.report.value(f"{name}/ours/of_stream", of_stream, "ratio")
    bench.report.value(f"{name}/stream/gigabytes_a_second", gigabytes, "GB/s")
    bench.report.note(f"engram works at {of_stream:.2f} of a stream read ({gigabytes:.1f} GB/s, "
                      f"{1e-6 * data.base.nbytes:.0f} MB)")
    survivors(bench, name, ready, count)
    if answers:
        verdict(bench, name, "faiss", compare.knn(part.base, part.queries, metric, ready.neighbors,
                                                  answers["neighbors"]))
    ready.close()


def self_join(bench, name, data, similarity):
    """Every pair of rows at least this similar, under cosine."""
    count, dim = data.base.shape
    gflop = 2e-9 * count * count * dim
    search = ours.Search(bench.library, data.base, data.base, "cosine", bench.threads,
                         min_similarity=similarity, itself=True, which_filter=bench.filter)
    mine = measure.Contender("ours", search.join, "engram (in memory)")
    contenders = [mine]
    base, queries = data.for_peers("cosine")
    taken = sample(bench, count, count, dim)
    answer = {}
    if bench.peers.faiss:
        index = bench.peers.faiss_range_index(base)
        contenders.append(measure.Contender(
            "faiss", lambda: bench.peers.faiss_range(index, queries[:taken], similarity, answer),
            label_of("FAISS range_search", taken, count), taken / count))
    bench.report.row(name, f"{count:,} rows against themselves x {dim}, cosine >= {similarity}")
    finish(bench, name, contenders, mine, gflop)
    found = int(search.pairs[0][-1])
    bench.report.value(f"{name}/pairs", found, "pairs")
    bench.report.note(f"{found:,} pairs found")
    survivors(bench, name, search, count)
    if answer:
        verdict(bench, name, "faiss", compare.pairs(
            data.base, similarity, search.pairs, (answer["indptr"], answer["rows"]), taken))


# ---- files

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


def scaling(bench, name, data, k):
    """All threads against one, ours and the peak loop's."""
    if bench.threads < 2:
        return
    bench.report.row(name, title_of(data, "cosine", k) + f", {bench.threads} threads against one")
    gflop = 2e-9 * len(data.queries) * data.base.size
    contenders = []
    for threads in (bench.threads, 1):
        search = ours.Search(bench.library, data.base, data.queries, "cosine", threads, k,
                             which_filter=bench.filter)
        contenders.append(measure.Contender(f"ours_{threads}", search.knn,
                                            f"engram, threads: {threads}",
                                            of_peak=threads == bench.threads))
    for threads in (bench.threads, 1):
        def loop(threads=threads):
            """Seconds for as many operations as the search is worth."""
            return gflop / bench.library.rate(bench.isa, threads, 0.1)
        contenders.append(measure.Contender(f"peak_{threads}", loop,
                                            f"multiply-adds, threads: {threads}",
                                            of_peak=threads == bench.threads))
    finish(bench, name, contenders, contenders[0], gflop, ratios=False)
    own = contenders[0].times_of(contenders[1])
    loops = contenders[2].times_of(contenders[3])
    bench.report.value(f"{name}/ours", own, "ratio")
    bench.report.value(f"{name}/peak", loops, "ratio")
    bench.report.value(f"{name}/of_peak_scaling", own / loops, "ratio")
    bench.report.note(f"{bench.threads} threads: ours {own:.2f}x, the loop {loops:.2f}x; "
                      f"ours scales at {own / loops:.3f} of the loop")


# ---- the list; rows of one data set stand together

@row("glove-k10")
def _(bench, name):
    knn(bench, name, bench.glove(), "cosine", 10, ("sgemm", "faiss", "sklearn"))


@row("glove-k1", quick=False)
def _(bench, name):
    knn(bench, name, bench.glove(), "cosine", 1)


@row("glove-k100")
def _(bench, name):
    knn(bench, name, bench.glove(), "cosine", 100, ("faiss", "sklearn"))


@row("glove-k1000")
def _(bench, name):
    knn(bench, name, bench.glove(), "cosine", 1000)


@row("glove-1-query")
def _(bench, name):
    few_queries(bench, name, bench.glove(), "cosine", 10, 1)


@row("glove-10-queries")
def _(bench, name):
    few_queries(bench, name, bench.glove(), "cosine", 10, 10)


@row("glove-100-queries")
def _(bench, name):
    few_queries(bench, name, bench.glove(), "cosine", 10, 100)


@row("glove-file")
def _(bench, name):
    files(bench, name, bench.glove(), 10, gzip=False)


@row("glove-file-gzip")
def _(bench, name):
    files(bench, name, bench.glove(), 10, gzip=True)


@row("read-contiguous")
def _(bench, name):
    reading(bench, name, bench.glove(), gzip=False)


@row("read-gzip")
def _(bench, name):
    reading(bench, name, bench.glove(), gzip=True)


@row("glove-scaling")
def _(bench, name):
    scaling(bench, name, bench.glove(), 10)


@row("small-job")
def _(bench, name):
    small_job(bench, name, bench.glove())


@row("glove-10000-queries", quick=False)
def _(bench, name):
    knn(bench, name, bench.glove(10000), "cosine", 10)


@row("glove-self")
def _(bench, name):
    knn(bench, name, bench.glove_self(), "cosine", 10, itself=True)


@row("glove-join-0.9")
def _(bench, name):
    self_join(bench, name, bench.glove_self(), 0.9)


@row("glove-join-0.8")
def _(bench, name):
    self_join(bench, name, bench.glove_self(), 0.8)


@row("spectrum-768-k10")
def _(bench, name):
    knn(bench, name, bench.made("spectrum", 768), "cosine", 10, ("sgemm", "faiss", "sklearn"))


@row("spectrum-768-k100", quick=False)
def _(bench, name):
    knn(bench, name, bench.made("spectrum", 768), "cosine", 100)


@row("spectrum-768-k1000", quick=False)
def _(bench, name):
    knn(bench, name, bench.made("spectrum", 768), "cosine", 1000)


@row("spectrum-768-l2", quick=False)
def _(bench, name):
    knn(bench, name, bench.made("spectrum", 768), "l2", 10)


@row("spectrum-768-1-query", quick=False)
def _(bench, name):
    few_queries(bench, name, bench.made("spectrum", 768), "cosine", 10, 1)


@row("spectrum-768-10-queries", quick=False)
def _(bench, name):
    few_queries(bench, name, bench.made("spectrum", 768), "cosine", 10, 10)


@row("spectrum-768-file", quick=False)
def _(bench, name):
    files(bench, name, bench.made("spectrum", 768), 10, gzip=False)


@row("spectrum-1536-k10")
def _(bench, name):
    knn(bench, name, bench.made("spectrum", 1536), "cosine", 10, ("sgemm", "faiss"))


@row("gaussian-768-k10")
def _(bench, name):
    knn(bench, name, bench.made("gaussian", 768), "ip", 10, ("sgemm", "faiss"))


@row("gaussian-768-k100", quick=False)
def _(bench, name):
    knn(bench, name, bench.made("gaussian", 768), "ip", 100)


@row("gaussian-128-k10")
def _(bench, name):
    knn(bench, name, bench.made("gaussian", 128), "l2", 10, ("sgemm", "faiss", "sklearn"))


@row("gaussian-128-l1", quick=False)
def _(bench, name):
    knn(bench, name, bench.made("gaussian", 128), "l1", 10, ("faiss", "sklearn"))


@row("spectrum-768-l1", quick=False)
def _(bench, name):
    knn(bench, name, bench.made("spectrum", 768), "l1", 10, ("faiss",))


@row("gaussian-128-k100", quick=False)
def _(bench, name):
    knn(bench, name, bench.made("gaussian", 128), "ip", 100)
