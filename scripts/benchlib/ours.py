"""libengram.so and the yardsticks, through libengram-bench.so (src/bench/shared.h)."""

import ctypes
import math
import os

import numpy as np

METRICS = {"cosine": 0, "ip": 1, "l2": 2, "sqeuclidean": 3, "l1": 4}
FILTERS = ["auto", "canonical", "f32", "int", "prefix"]
NO_LIMIT = 2**63 - 1


class Failed(Exception):
    pass


class Problem(ctypes.Structure):
    """struct engram_bench_problem"""
    _fields_ = [("base", ctypes.c_void_p), ("queries", ctypes.c_void_p),
                ("rows", ctypes.c_int64), ("query_count", ctypes.c_int64),
                ("dim", ctypes.c_int64), ("k", ctypes.c_int64),
                ("max_distance", ctypes.c_double), ("min_similarity", ctypes.c_double),
                ("isa", ctypes.c_char_p), ("metric", ctypes.c_int32),
                ("filter", ctypes.c_int32), ("self", ctypes.c_int32),
                ("threads", ctypes.c_int32)]


class Report(ctypes.Structure):
    """struct engram_bench_report"""
    _fields_ = [("prepare_seconds", ctypes.c_double), ("seconds", ctypes.c_double),
                ("rescored", ctypes.c_double), ("canonical", ctypes.c_double),
                ("threads", ctypes.c_int32), ("filter", ctypes.c_int32),
                ("isa", ctypes.c_char * 16)]

    def filter_name(self):
        return FILTERS[self.filter] if self.filter < len(FILTERS) else str(self.filter)

    def isa_name(self):
        return self.isa.decode()


class Pairs(ctypes.Structure):
    """struct engram_pairs"""
    _fields_ = [("queries", ctypes.c_int64), ("indptr", ctypes.POINTER(ctypes.c_int64)),
                ("rows", ctypes.POINTER(ctypes.c_int64)),
                ("distances", ctypes.POINTER(ctypes.c_double))]


class Library:
    def __init__(self, build):
        self.dll = ctypes.CDLL(os.path.join(build, "libengram-bench.so"))
        self.dll.engram_bench_set_name.restype = ctypes.c_char_p
        self.dll.engram_bench_set_chosen.restype = ctypes.c_char_p
        self.dll.engram_bench_rate.restype = ctypes.c_double
        self.dll.engram_bench_read_seconds.restype = ctypes.c_double
        self.dll.engram_bench_release.restype = None
        self.dll.engram_bench_pairs_release.restype = None

    def sets(self):
        """Names of the kernel sets that this machine can run, slowest first."""
        names = []
        while (name := self.dll.engram_bench_set_name(len(names))) is not None:
            names.append(name.decode())
        return names

    def chosen_set(self):
        name = self.dll.engram_bench_set_chosen()
        if name is None:
            raise Failed("ENGRAM_ISA names a kernel set that cannot run here")
        return name.decode()

    def rate(self, isa, threads, seconds=0.015, integer=False):
        """GFLOP/s (GOP/s) of the set's peak loop; 0 where there is none."""
        return self.dll.engram_bench_rate(isa.encode(), int(integer), threads,
                                          ctypes.c_double(seconds * 1e9))

    def read_seconds(self, array, threads):
        return self.dll.engram_bench_read_seconds(ctypes.c_void_p(array.ctypes.data),
                                                  ctypes.c_int64(array.nbytes), threads)


class Search:
    """One problem; keeps the arrays and the last answers."""

    def __init__(self, library, base, queries, metric, threads, k=NO_LIMIT, min_similarity=None,
                 itself=False, which_filter="auto"):
        for part in (base, queries):
            assert part.dtype == np.float32 and part.flags.c_contiguous and part.ndim == 2
        self.library = library
        self.arrays = (base, queries)
        self.problem = Problem(
            base.ctypes.data, queries.ctypes.data, len(base), len(queries), base.shape[1], k,
            math.inf, -math.inf if min_similarity is None else min_similarity, None,
            METRICS[metric], FILTERS.index(which_filter), int(itself), threads)
        self.report = Report()
        self.prepared = None
        self.neighbors = None
        self.pairs = None
        if k != NO_LIMIT:
            self.neighbors = np.zeros((len(queries), k), dtype=np.int64)
            self.distances = np.zeros((len(queries), k), dtype=np.float64)

    def _check(self, status, what):
        if status != 0:
            raise Failed(f"{what} returned status {status}")

    def prepare(self):
        """From now on the prepared set is used, and its making is no longer measured."""
        self.prepared = ctypes.c_void_p()
        self._check(self.library.dll.engram_bench_prepare(ctypes.byref(self.problem),
                                                          ctypes.byref(self.prepared)), "prepare")
        return self

    def close(self):
        if self.prepared is not None:
            self.library.dll.engram_bench_release(self.prepared)
            self.prepared = None

    def knn(self):
        """Seconds."""
        self._check(self.library.dll.engram_bench_knn(
            ctypes.byref(self.problem), self.prepared, ctypes.c_void_p(self.neighbors.ctypes.data),
            ctypes.c_void_p(self.distances.ctypes.data), ctypes.byref(self.report)), "knn")
        return self.report.seconds

    def join(self):
        """Seconds; `pairs` becomes (indptr, rows)."""
        found = Pairs()
        self._check(self.library.dll.engram_bench_pairs(
            ctypes.byref(self.problem), self.prepared, ctypes.byref(found),
            ctypes.byref(self.report)), "pairs")
        indptr = np.ctypeslib.as_array(found.indptr, (found.queries + 1,)).copy()
        rows = np.zeros(0, dtype=np.int64)
        if indptr[-1] > 0:
            rows = np.ctypeslib.as_array(found.rows, (int(indptr[-1]),)).copy()
        self.pairs = (indptr, rows)
        self.library.dll.engram_bench_pairs_release(ctypes.byref(found))
        return self.report.seconds
