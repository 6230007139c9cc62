"""The rows: what is measured. Each is a function of a Bench and registers itself in ROWS."""

import numpy as np

from . import compare, measure, ours
from .contest import finish, label_of, sample, survivors, title_of, verdict
from .files import files, reading, small_job, within_memory

ROWS = []  # (name, in the quick list, function)


def row(name, quick=True):
    def register(function):
        ROWS.append((name, quick, function))
        return function
    return register


def without_self(found, k):
    """k+1 neighbours of the first rows of the base: drops the row itself, else the last."""
    rows = np.arange(len(found))[:, None]
    drop = found == rows
    drop[~drop.any(axis=1), -1] = True
    drop &= np.cumsum(drop, axis=1) == 1
    return found[~drop].reshape(len(found), k)


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


@row("glove-quarter-memory", quick=False)
def _(bench, name):
    within_memory(bench, name, bench.glove(10000), 10)


@row("spectrum-768-quarter-memory", quick=False)
def _(bench, name):
    within_memory(bench, name, bench.made("spectrum", 768), 10)


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
