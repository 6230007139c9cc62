"""libengram through ctypes: the in-memory API of include/engram/search.h against the oracle.

Distances come back as float64 here, so every bit of the canonical score is compared, not only what
float32 keeps."""

import ctypes
import os
import shlex
import subprocess
import threading

import numpy as np

import oracle
from support import Skip, binary, first_difference, is_sanitized, kernel_sets, same_bits

DTYPES = ("f4", "f8", "f2", "i1", "u1", "i2", "u2", "i4", "u4", "i8", "u8")
METRIC = {"cosine": 0, "ip": 1, "l2": 2, "sqeuclidean": 3, "l1": 4}
FILTERS = {"auto": 0, "canonical": 1, "f32": 2, "int": 3, "prefix": 4}
OK, DATA, USAGE, CANCELLED = 0, 3, 2, 10

LOG = ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.c_int, ctypes.c_char_p)
PROGRESS = ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.c_uint64, ctypes.c_uint64)


class Set(ctypes.Structure):
    _fields_ = [
        ("data", ctypes.c_void_p),
        ("dtype", ctypes.c_int),
        ("rows", ctypes.c_int64),
        ("dim", ctypes.c_int64),
        ("stride", ctypes.c_size_t),
    ]


class Log(ctypes.Structure):
    _fields_ = [("call", LOG), ("context", ctypes.c_void_p)]


class Options(ctypes.Structure):
    _fields_ = [
        ("size", ctypes.c_size_t),
        ("metric", ctypes.c_int),
        ("k", ctypes.c_int64),
        ("max_distance", ctypes.c_double),
        ("min_similarity", ctypes.c_double),
        ("self", ctypes.c_bool),
        ("self_offset", ctypes.c_int64),
        ("allowed", ctypes.c_void_p),
        ("base_groups", ctypes.c_void_p),
        ("query_groups", ctypes.c_void_p),
        ("filter", ctypes.c_int),
        ("isa", ctypes.c_char_p),
        ("threads", ctypes.c_int),
        ("cancel", ctypes.POINTER(ctypes.c_int)),
        ("progress", PROGRESS),
        ("progress_context", ctypes.c_void_p),
        ("log", Log),
        ("expected_queries", ctypes.c_int64),
        ("expected_rows", ctypes.c_int64),
    ]


class Estimate(ctypes.Structure):
    _fields_ = [
        ("share", ctypes.c_double),
        ("cost", ctypes.c_double),
        ("axes", ctypes.c_int),
        ("why_not", ctypes.c_char_p),
    ]


class Choice(ctypes.Structure):
    _fields_ = [
        ("filter", ctypes.c_int),
        ("reason", ctypes.c_char_p),
        ("f32", Estimate),
        ("integer", Estimate),
        ("prefix", Estimate),
    ]


class Stats(ctypes.Structure):
    _fields_ = [
        ("pairs", ctypes.c_uint64),
        ("rescored", ctypes.c_uint64),
        ("canonical", ctypes.c_uint64),
        ("scratch", ctypes.c_uint64 * 4),
        ("arena_high_water", ctypes.c_size_t),
        ("threads", ctypes.c_int),
        ("isa", ctypes.c_char_p),
        ("filter", ctypes.c_int),
        ("skipped_queries", ctypes.c_int64),
        ("skipped_base", ctypes.c_int64),
        ("choice", Choice),
    ]


class Pairs(ctypes.Structure):
    _fields_ = [
        ("queries", ctypes.c_int64),
        ("indptr", ctypes.POINTER(ctypes.c_int64)),
        ("rows", ctypes.POINTER(ctypes.c_int64)),
        ("distances", ctypes.POINTER(ctypes.c_double)),
    ]


_library = []


def library():
    if not _library:
        path = os.path.join(os.path.dirname(binary()), "libengram.so")
        if not os.path.exists(path):
            raise Skip(f"no {path}")
        if is_sanitized(path):
            raise Skip("a sanitizer's library cannot be loaded by python")
        # A library that cannot be loaded must not take the runner with it.
        _library.append(ctypes.CDLL(path))
    return _library[0]


class Search:
    """One prepared set and what was said to the log."""

    def __init__(self, base, **options):
        self.said = []
        self.log = LOG(lambda context, level, message: self.said.append((level, message.decode())))
        self.base = base
        self.prepared = ctypes.c_void_p()
        self.status = library().engram_prepare(
            ctypes.byref(as_set(base)),
            ctypes.byref(self.options(**options)),
            ctypes.byref(self.prepared),
        )

    def options(self, metric="cosine", k=10, max_distance=np.inf, min_similarity=-np.inf,
                self_job=False, self_offset=0, filter_name="auto", isa=None, threads=0,
                cancel=None):
        if metric == "l1" and filter_name in ("int", "prefix"):
            filter_name = "auto"  # these rest on a dot product
        given = Options(ctypes.sizeof(Options), METRIC[metric], k, max_distance, min_similarity,
                        self_job, self_offset, None, None, None, FILTERS[filter_name],
                        isa and isa.encode(), threads)
        given.cancel = cancel
        given.log = Log(self.log, None)
        return given

    def knn(self, queries, **options):
        given = self.options(**options)
        shape = (len(queries), given.k)
        neighbors = np.full(shape, -77, np.int64)
        distances = np.full(shape, -77.0)
        counts = np.full(len(queries), -77, np.int32)
        stats = Stats()
        status = library().engram_search_knn(
            self.prepared,
            ctypes.byref(as_set(queries)),
            ctypes.byref(given),
            neighbors.ctypes.data_as(ctypes.c_void_p),
            distances.ctypes.data_as(ctypes.c_void_p),
            counts.ctypes.data_as(ctypes.c_void_p),
            ctypes.byref(stats),
        )
        return status, neighbors, distances, counts, stats

    def pairs(self, queries, **options):
        found = Pairs()
        status = library().engram_search_pairs(
            self.prepared,
            ctypes.byref(as_set(queries)),
            ctypes.byref(self.options(**options)),
            ctypes.byref(found),
            None,
        )
        if status != OK:
            return status, None, None, None
        indptr = np.array(found.indptr[: found.queries + 1], np.int64)
        total = int(indptr[-1])
        rows = np.array(found.rows[:total], np.int64)
        distances = np.array(found.distances[:total], np.float64)
        library().engram_pairs_free(ctypes.byref(found))
        return status, indptr, rows, distances

    def close(self):
        library().engram_prepared_free(self.prepared)


def as_set(rows):
    """rows: 2-D, elements of a row adjacent; the stride may be larger than a row."""
    stride = rows.strides[0] if len(rows) > 1 else 0
    return Set(rows.ctypes.data, DTYPES.index(rows.dtype.str[1:]), len(rows), rows.shape[1], stride)


def padded_float64(answers, k):
    neighbors, _, counts = answers.padded(k)
    distances = np.full(neighbors.shape, np.inf)
    for i, keys in enumerate(answers.keys):
        distances[i, : len(keys)] = keys
    return neighbors, distances, counts


def compare_knn(t, label, found, answers, k):
    status, neighbors, distances, counts, _ = found
    if not t.check(status == OK, f"{label}: status {status}"):
        return
    for name, got, want in zip(
        ("neighbors", "distances", "counts"),
        (neighbors, distances, counts),
        padded_float64(answers, k),
    ):
        if not same_bits(got, want):
            t.check(False, f"{label}: {name}: {first_difference(got, want)}")


def random_rows(t, rows, dim, dtype):
    dtype = np.dtype(dtype)
    if dtype.kind == "f":
        return t.random.normal(size=(rows, dim)).astype(dtype)
    info = np.iinfo(dtype)
    low, high = max(info.min, -(2**40)), min(info.max, 2**40)
    return t.random.integers(low, high, size=(rows, dim), endpoint=True).astype(dtype)


def variants(t):
    for isa in kernel_sets(t):
        for filter_name in FILTERS:
            yield {"isa": isa, "filter_name": filter_name}


def test_every_bit_of_the_distances(t):
    ways = list(variants(t))
    for dtype in DTYPES:
        for dim in (1, 3, 8, 21, 64, 100):
            base = random_rows(t, 70, dim, dtype)
            queries = random_rows(t, 9, dim, dtype)
            metric = str(t.random.choice(oracle.METRICS))
            answers = oracle.answer(queries, base, metric, k=12)
            for way in ways:
                search = Search(base, metric=metric, **way)
                t.require(search.status == OK, f"{dtype} {way}: {search.status} {search.said}")
                found = search.knn(queries, metric=metric, k=12, **way)
                compare_knn(t, f"{dtype} dim {dim} {metric} {way}", found, answers, 12)
                search.close()


def test_strides(t):
    for dtype in ("f4", "f8", "f2", "i1", "u2"):
        wide = random_rows(t, 60, 40, dtype)
        base = wide[:, 3:20]
        queries = random_rows(t, 20, 33, dtype)[::2, 5:22]
        for metric in oracle.METRICS:
            for way in variants(t):
                search = Search(base, metric=metric, **way)
                t.require(search.status == OK, search.said)
                found = search.knn(queries, metric=metric, k=5, **way)
                want = oracle.answer(queries, base, metric, k=5)
                compare_knn(t, f"{dtype} {metric} {way}", found, want, 5)
                search.close()


def test_pairs_every_bit(t):
    base = random_rows(t, 300, 12, "f4")
    queries = random_rows(t, 40, 12, "f8")
    unlimited = 2**63 - 1
    for metric, limits in (
        ("l2", {"max_distance": 4.0}),
        ("sqeuclidean", {"max_distance": 16.0}),
        ("l1", {"max_distance": 11.0}),
        ("ip", {"min_similarity": 2.0}),
        ("cosine", {"min_similarity": 0.25, "max_distance": 0.7}),
    ):
        for k in (3, None):
            want = oracle.answer(queries, base, metric, k=k, **limits)
            indptr, rows, _ = want.csr()
            for way in variants(t):
                search = Search(base, metric=metric, **way)
                found = search.pairs(queries, metric=metric, k=k or unlimited, **limits, **way)
                label = f"{metric} k {k} {way}"
                t.check(found[0] == OK, f"{label}: {search.said}")
                for name, got, wanted in zip(
                    ("indptr", "rows", "distances"), found[1:], (indptr, rows,
                                                                 np.concatenate(want.keys))
                ):
                    if not same_bits(got, wanted):
                        t.check(False, f"{label}: {name}: {first_difference(got, wanted)}")
                search.close()


def test_self_offset(t):
    rows = random_rows(t, 50, 6, "f4")
    search = Search(rows, metric="l2")
    found = search.knn(rows[20:30], metric="l2", k=4, self_job=True, self_offset=20)
    want = oracle.answer(rows, rows, "l2", k=4, self_job=True, query_rows=(20, 30))
    compare_knn(t, "offset", found, want, 4)
    search.close()


def test_one_prepared_set_many_threads(t):
    base = random_rows(t, 3000, 16, "f4")
    search = Search(base, metric="cosine")
    jobs = [random_rows(t, 40, 16, "f4") for _ in range(8)]
    wanted = [oracle.answer(q, base, "cosine", k=7) for q in jobs]
    found = [None] * len(jobs)

    def work(i):
        for _ in range(3):
            found[i] = search.knn(jobs[i], metric="cosine", k=7, threads=1 + i % 3)

    threads = [threading.Thread(target=work, args=(i,)) for i in range(len(jobs))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for i, answers in enumerate(wanted):
        compare_knn(t, f"thread {i}", found[i], answers, 7)
    search.close()


def test_statistics(t):
    base = random_rows(t, 500, 16, "f4")
    base[3, 3] = np.nan
    queries = random_rows(t, 40, 16, "f4")
    queries[:2, 0] = np.inf
    search = Search(base, metric="l2")
    status, *_, stats = search.knn(queries, metric="l2", threads=2)
    t.check(status == OK, search.said)
    t.check(stats.skipped_base == 1 and stats.skipped_queries == 2, "rows left out")
    t.check(stats.threads in (1, 2), f"threads {stats.threads}")
    t.check(stats.isa.decode() in kernel_sets(t), stats.isa)
    t.check(stats.rescored + stats.canonical > 0, "no pair had its canonical score computed")
    t.check(stats.pairs > 0, "pairs")
    search.close()


def test_errors(t):
    base = random_rows(t, 20, 6, "f8")
    search = Search(base, metric="l2")
    t.check(search.knn(base[:, :5], metric="l2")[0] == DATA, "dimensions differ")
    t.check(search.knn(base, metric="ip")[0] == USAGE, "another metric than prepared")
    t.check(search.knn(base, metric="l2", k=0)[0] == USAGE, "k 0")
    t.check(search.knn(base, metric="l2", isa="sse9")[0] in (OK, USAGE), "isa at search")
    errors = [message for level, message in search.said if level == 0]
    t.check(len(errors) >= 3, f"each error is told once: {search.said}")
    search.close()
    t.check(Search(base, metric="l2", isa="sse9").status == USAGE, "unknown isa")
    base[7, 2] = -1e151
    for metric, status in (("l2", DATA), ("ip", DATA), ("sqeuclidean", DATA), ("l1", DATA), ("cosine", OK)):
        search = Search(base, metric=metric)
        t.check(search.status == status, f"{metric}: {search.status}, expected {status}")
        if status == DATA:
            t.check(any("7" in m for _, m in search.said), f"row not named: {search.said}")
            t.check(not search.prepared.value, "a failed prepare gave a set")
        search.close()


def test_cancel(t):
    base = random_rows(t, 20000, 32, "f4")
    flag = ctypes.c_int(1)
    search = Search(base, metric="l2")
    found = search.knn(base[:500], metric="l2", cancel=ctypes.pointer(flag))
    t.check(found[0] == CANCELLED, f"status {found[0]}")
    search.close()


def test_denormals_in_flush_to_zero_mode(t):
    """A host program that left the CPU in flush-to-zero mode gets the same bits."""
    source = r"""
#include <engram/search.h>
#include <stdio.h>
#include <xmmintrin.h>
int main(void)
{
    static float rows[4][3] = {{1e-40f, 2e-42f, 0}, {3e-41f, 0, 1e-44f}, {0, 0, 0}, {1e-39f, 0, 0}};
    struct engram_set set = {rows, ENGRAM_F32, 4, 3, 0};
    struct engram_search_options options = ENGRAM_SEARCH_OPTIONS_INIT;
    for (int metric = 0; metric < 5; metric++) {
        for (int filter = 0; filter < (metric == 4 ? 3 : 5); filter++) {
            for (int flush = 0; flush < 2; flush++) {
                struct engram_prepared *prepared = NULL;
                int64_t neighbors[16];
                double distances[16];
                _mm_setcsr(flush ? _mm_getcsr() | 0x8040u : _mm_getcsr() & ~0x8040u);
                options.metric = (enum engram_metric)metric;
                options.filter = (enum engram_filter)filter;
                options.k = 4;
                options.threads = 2;
                if (engram_prepare(&set, &options, &prepared) != ENGRAM_OK ||
                    engram_search_knn(prepared, &set, &options, neighbors, distances, NULL,
                                      NULL) != ENGRAM_OK) {
                    return 1;
                }
                unsigned mode = _mm_getcsr() & 0x8040u;
                _mm_setcsr(_mm_getcsr() & ~0x8040u);
                printf("%d %d %d", metric, filter, mode == (flush ? 0x8040u : 0u));
                for (int i = 0; i < 16; i++) {
                    printf(" %d:%a", (int)neighbors[i], distances[i]);
                }
                printf("\n");
                engram_prepared_free(prepared);
            }
        }
    }
    return 0;
}
"""
    if os.uname().machine != "x86_64":
        raise Skip("x86-64 only")
    library()
    (t.folder / "flush.c").write_text(source, encoding="ascii")
    from support import ROOT

    folder = os.path.dirname(binary())
    build = subprocess.run(
        [*shlex.split(os.environ.get("CC") or "cc"), "flush.c", f"-I{ROOT}/include", f"{folder}/libengram.a",
         "-fopenmp", "-lm", "-o", "flush"],
        cwd=t.folder, capture_output=True, text=True, check=False,
    )
    t.require(build.returncode == 0, build.stderr)
    done = subprocess.run([t.path("flush")], capture_output=True, text=True, check=False)
    t.require(done.returncode == 0, f"exit {done.returncode}: {done.stderr}")
    rows = np.array([[1e-40, 2e-42, 0], [3e-41, 0, 1e-44], [0, 0, 0], [1e-39, 0, 0]], np.float32)
    lines = [line.split() for line in done.stdout.splitlines()]
    t.check(len(lines) == 4 * 5 * 2 + 3 * 2, f"{len(lines)} lines")
    for metric, filter_name, kept, *entries in lines:
        answers = oracle.answer(rows, rows, oracle.METRICS[int(metric)], k=4)
        want = [
            f"{row}:{key.hex()}"
            for r, keys in zip(answers.rows, answers.keys)
            for row, key in zip(r.tolist(), keys.tolist())
        ]
        got = [
            f"{e.split(':')[0]}:{float.fromhex(e.split(':')[1]).hex()}" for e in entries
        ]
        t.check(got == want, f"metric {metric} filter {filter_name}: {got}, expected {want}")
        t.check(kept == "1", f"metric {metric}: the caller's mode was changed")


def family(t, name, rows, dim):
    """Vectors that are hard in one way."""
    random = t.random
    plain = random.normal(size=(rows, dim))
    if name == "integers":
        return np.round(plain * 1.5)
    if name == "duplicates":
        return plain[random.integers(0, max(1, rows // 20), size=rows)]
    if name == "mean":
        return plain + 10.0 ** random.integers(1, 7)
    if name == "clusters":
        return plain + (random.normal(size=(5, dim)) * 1e4)[random.integers(0, 5, size=rows)]
    if name == "scales":
        return plain * 10.0 ** random.uniform(-18, 18, size=(rows, 1))
    if name == "columns":
        return plain * 10.0 ** random.uniform(-9, 9, size=dim)
    if name == "huge":
        plain[:, 0] = 10.0 ** random.integers(3, 30)
        return plain
    if name == "tiny":
        return plain * 10.0 ** -random.integers(15, 46)
    if name == "large":
        return random.uniform(-1, 1, size=(rows, dim)) * 10.0 ** random.integers(15, 39)
    if name == "multiples":
        return plain[:1] * random.integers(-9, 10, size=(rows, 1)) * 10.0 ** random.integers(-3, 4)
    if name == "near ties":
        return plain[:1] * (1 + random.integers(-9, 10, size=(rows, dim)) * 2.0**-46)
    if name == "near ties in float32":
        return plain[:1] * (1 + random.integers(-2, 3, size=(rows, dim)) * 2.0**-23)
    if name == "biased":  # every addition of a float32 sum is rounded in the same direction
        steps = random.integers(-200, 201, size=(rows, 1)) * 2.0**-23
        return (1 + steps) * random.uniform(1, 2) * np.ones(dim)
    if name == "far float64":
        return plain * 10.0 ** random.uniform(-140, 140)
    if name == "one hot":
        return np.eye(dim)[random.integers(0, dim, size=rows)] * random.integers(-1, 2, (rows, 1))
    return plain


FAMILIES = ("plain", "integers", "duplicates", "mean", "clusters", "scales", "columns", "huge",
            "tiny", "large", "multiples", "near ties", "near ties in float32", "biased",
            "far float64", "one hot")


def test_fuzz(t):
    """Random data, types, limits and ways of computing; ENGRAM_FUZZ_ROUNDS for more rounds."""
    ways = list(variants(t))
    unlimited = 2**63 - 1
    for number in range(int(os.environ.get("ENGRAM_FUZZ_ROUNDS", "150"))):
        name = str(t.random.choice(FAMILIES))
        metric = str(t.random.choice(oracle.METRICS))
        dim = int(t.random.choice([1, 2, 3, 5, 8, 15, 16, 17, 32, 33, 64, 96, 130, 257]))
        rows = int(t.random.choice([1, 2, 15, 16, 17, 63, 64, 65, 200, 511, 700]))
        probes = int(t.random.choice([1, 2, 5, 6, 7, 16, 40, 65]))
        floats = ("f8",) if name in ("near ties", "far float64") else ("f4", "f4", "f8")
        with np.errstate(all="ignore"):
            values = family(t, name, rows + probes, dim)
            both = np.clip(values, -3.4e38, 3.4e38) if "f4" in floats else values
            base = both[:rows].astype(t.random.choice(floats))
            queries = both[rows:].astype(t.random.choice(floats))
        if t.random.random() < 0.2:
            base[t.random.integers(0, rows, 3), t.random.integers(0, dim, 3)] = np.nan
            queries[-1, 0] = np.inf
        if t.random.random() < 0.2:
            base[t.random.integers(0, rows, 2)] = 0
            queries[0] = 0
        if t.random.random() < 0.4:
            queries[: rows // 3] = base[: rows // 3][:probes]
        options = {"k": int(t.random.integers(1, 60)), "self_job": bool(t.random.random() < 0.3)}
        if options["self_job"]:
            queries = base[: len(queries)]
        limits = {}
        pairs = t.random.random() < 0.5
        if t.random.random() < 0.5:
            score, key = oracle.scores(queries, base, metric)
            toward = float(t.random.choice([-np.inf, np.inf]))
            for limit, of in (("max_distance", key), ("min_similarity", score)):
                if limit == "min_similarity" and metric in ("l2", "sqeuclidean", "l1"):
                    continue
                if t.random.random() < 0.7:
                    value = float(t.random.choice(of.ravel()))
                    if t.random.random() < 0.5:
                        value = float(np.nextafter(value, toward))
                    limits[limit] = value
        if pairs and t.random.random() < 0.5:
            options["k"] = unlimited
        answers = oracle.answer(
            queries, base, metric, k=None if options["k"] == unlimited else options["k"],
            self_job=options["self_job"], **limits,
        )
        label = (f"round {number}: {name} {metric} {len(queries)} x {rows} x {dim} "
                 f"{queries.dtype}/{base.dtype} {options} {limits}")
        for way in ways:
            way = dict(way, threads=int(t.random.integers(1, 4)))
            search = Search(base, metric=metric, **way)
            if not t.check(search.status == OK, f"{label} {way}: {search.status} {search.said}"):
                continue
            if pairs:
                found = search.pairs(queries, metric=metric, **options, **limits, **way)
                t.check(found[0] == OK, f"{label} {way}: {search.said}")
                indptr, indices, _ = answers.csr()
                keys = np.concatenate([np.empty(0)] + list(answers.keys))
                for part, got, want in zip(("indptr", "rows", "distances"), found[1:],
                                           (indptr, indices, keys)):
                    if not same_bits(got, want):
                        t.check(False, f"{label} {way} {part}: {first_difference(got, want)}")
            else:
                found = search.knn(queries, metric=metric, **options, **limits, **way)
                compare_knn(t, f"{label} {way}", found, answers, options["k"])
            search.close()


def test_biased_rounding(t):
    """Constant rows: all additions of a float32 sum are rounded in the same direction, so its error
    comes near to the bound. Limits at every score: a bound that is too small loses pairs."""
    unlimited = 2**63 - 1
    for dim in (33, 100, 257, 1000, 4000):
        # To find the axes of 4000 dimensions takes longer than all the rest.
        ways = [way for way in variants(t) if dim <= 1000 or way["filter_name"] != "prefix"]
        for metric in ("ip", "l2", "sqeuclidean", "cosine"):
            steps = t.random.permutation(600)[:, None] * 2.0**-23
            base = ((1 + steps) * np.ones(dim) * t.random.uniform(1, 2)).astype(np.float32)
            queries = np.full((6, dim), 1, np.float32) * t.random.uniform(1, 2, (6, 1))
            queries = queries.astype(np.float32)
            if metric == "cosine":
                # Directions must differ a little: the second half of each row is negated and bent.
                base[:, dim // 2 :] *= -np.float32(0.5)
                base *= t.random.uniform(1, 2, (600, 1)).astype(np.float32)
            key = oracle.scores(queries, base, metric)[1]
            wanted = {}
            for limit in map(float, t.random.choice(key.ravel(), 5)):
                answers = oracle.answer(queries, base, metric, max_distance=limit)
                wanted[limit] = answers.csr()[:2]
            for way in ways:
                search = Search(base, metric=metric, **way)
                for limit, (indptr, indices) in wanted.items():
                    found = search.pairs(
                        queries, metric=metric, k=unlimited, max_distance=limit, **way
                    )
                    same = found[0] == OK and same_bits(found[1], indptr)
                    same = same and same_bits(found[2], indices)
                    t.check(same, f"dim {dim} {metric} {way}: {limit!r}: pairs differ")
                search.close()
