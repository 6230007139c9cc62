"""What we compare with. Every peer is optional; a missing one is said to be missing.

Peers get cosine data already normalised, outside the measured time, and FAISS indexes that are
already filled: what is measured is their search alone."""

import time

import numpy as np


def _now():
    return time.perf_counter()


class Peers:
    def __init__(self, threads):
        self.threads = threads
        self.versions = {"numpy": np.__version__}
        self.missing = {}
        self.faiss = self._import("faiss", "faiss-cpu")
        if self.faiss is not None:
            self.faiss.omp_set_num_threads(threads)
            options = getattr(self.faiss, "get_compile_options", lambda: "")().split()
            self.versions["faiss"] = " ".join([self.faiss.__version__, *options])
        self.neighbors = self._import("sklearn.neighbors", "scikit-learn")
        if self.neighbors is not None:
            import sklearn
            self.versions["scikit-learn"] = sklearn.__version__
        self.blas = self._find_blas()
        self.slow = self._reference_blas()

    @staticmethod
    def _reference_blas():
        """Whether a peer is linked with the untuned reference BLAS, many times slower: a ratio
        against it says nothing about the peer."""
        try:
            with open("/proc/self/maps", encoding="utf-8", errors="replace") as file:
                return any("/blas/libblas.so" in line or "librefblas" in line for line in file)
        except OSError:
            return False

    def _import(self, module, package):
        try:
            return __import__(module, fromlist=["x"])
        except Exception as error:  # a peer that cannot be loaded is a missing peer
            self.missing[package] = str(error).splitlines()[0] if str(error) else repr(error)
            return None

    def _find_blas(self):
        """Name of the BLAS that numpy calls; None when it is not a tuned one. `pools` becomes the
        list of all there are: FAISS and scipy bring their own."""
        self.pools = {}
        control = self._import("threadpoolctl", "threadpoolctl")
        if control is None:
            self.missing["BLAS"] = "cannot tell which one numpy calls without threadpoolctl"
            return None
        control.threadpool_limits(self.threads, user_api="blas")
        found = None
        for pool in control.threadpool_info():
            if pool.get("user_api") != "blas":
                continue
            path = pool.get("filepath", "")
            owner = next((o for o in ("faiss", "scipy.libs") if o in path), "numpy")
            owner = owner.removesuffix(".libs")
            self.pools[owner] = " ".join(str(part) for part in (
                pool["internal_api"], pool["version"], pool.get("architecture"),
                f"{pool['num_threads']} threads") if part)
            if owner == "numpy":
                found = pool["internal_api"]
        if found is None:
            self.missing["BLAS"] = "numpy's is not a tuned one"
        return found

    # ---- each returns seconds; `answer` is filled where one is given

    def sgemm(self, base, queries):
        """All inner products, in blocks that stay in the last cache; none is kept."""
        block = max(256, min(len(base), (4 << 20) // max(1, len(queries))))
        out = np.empty((len(queries), block), dtype=np.float32)
        start = _now()
        for first in range(0, len(base), block):
            rows = base[first:first + block]
            to = out if len(rows) == block else np.empty((len(queries), len(rows)), np.float32)
            np.dot(queries, rows.T, out=to)
        return _now() - start

    def faiss_knn(self, base, queries, k, metric, answer):
        which = self.faiss.METRIC_L1 if metric == "l1" \
            else self.faiss.METRIC_L2 if metric in ("l2", "sqeuclidean") \
            else self.faiss.METRIC_INNER_PRODUCT
        start = _now()
        _, answer["neighbors"] = self.faiss.knn(queries, base, k, metric=which)
        return _now() - start

    def faiss_range_index(self, base):
        index = self.faiss.IndexFlatIP(base.shape[1])
        index.add(base)
        return index

    def faiss_range(self, index, queries, similarity, answer):
        # Its comparison is strict.
        radius = float(np.nextafter(np.float32(similarity), np.float32(-2)))
        start = _now()
        answer["indptr"], _, answer["rows"] = index.range_search(queries, radius)
        return _now() - start

    def sklearn_knn(self, base, queries, k, metric, answer):
        """Normalised rows have the same neighbours under its fastest metric."""
        assert metric != "ip"
        named = "manhattan" if metric == "l1" else "sqeuclidean"
        search = self.neighbors.NearestNeighbors(algorithm="brute", metric=named).fit(base)
        start = _now()
        answer["neighbors"] = search.kneighbors(queries, k, return_distance=False)
        return _now() - start


def normalised(rows):
    """Unit rows; zero rows stay."""
    norms = np.sqrt(np.einsum("ij,ij->i", rows, rows, dtype=np.float64))
    norms[norms == 0] = 1
    return np.ascontiguousarray(rows / norms[:, None].astype(np.float32))
