"""The workloads' data: made or read when a row first asks, and kept while rows go on asking."""

import importlib.util
import os

import numpy as np

from . import peers

_HERE = os.path.dirname(os.path.abspath(__file__))


def _synthetic():
    path = os.path.join(_HERE, "..", "make-synthetic.py")
    spec = importlib.util.spec_from_file_location("make_synthetic", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


class Data:
    """`base`, `queries`, and what peers get for a metric."""

    def __init__(self, base, queries):
        self.base = np.ascontiguousarray(base, dtype=np.float32)
        self.queries = np.ascontiguousarray(queries, dtype=np.float32)
        self._normal = None

    def for_peers(self, metric):
        if metric != "cosine":
            return self.base, self.queries
        if self._normal is None:
            itself = self.queries is self.base
            base = peers.normalised(self.base)
            self._normal = (base, base if itself else peers.normalised(self.queries))
        return self._normal

    def first_queries(self, count):
        """The same base with fewer queries; shares all arrays."""
        part = Data.__new__(Data)
        part.base = self.base
        part.queries = self.queries[:count]
        part._normal = None
        if self._normal is not None:
            part._normal = (self._normal[0], self._normal[1][:count])
        return part


class Source:
    """Data by name; the last one asked for is kept, so rows of one data set stand together."""

    def __init__(self, glove):
        self.glove = glove
        self._rows = None
        self._kept = (None, None)

    def glove_rows(self):
        """All rows of the GloVe file, shuffled: the file has frequent words first."""
        if self._rows is None:
            import h5py
            with h5py.File(self.glove, "r") as file:
                rows = file["embeddings"][()].astype(np.float32)
            order = np.random.Generator(np.random.PCG64(1)).permutation(len(rows))
            self._rows = rows[order]
        return self._rows

    def _make(self, name, rows, queries, dim):
        if name == "glove":
            every = self.glove_rows()
            queries = min(queries, len(every) // 2)
            spare = max(queries, 2000) if len(every) >= 10000 else queries
            return Data(every[spare:], every[:queries])
        if name == "glove-self":
            every = self.glove_rows()[:rows]
            data = Data(every, every)
            data.queries = data.base
            return data
        module = _synthetic()
        return Data(module.array(name, rows, dim, 1), module.array(name, queries, dim, 1, True))

    def get(self, name, rows=0, queries=0, dim=0):
        key = (name, rows, queries, dim)
        if self._kept[0] != key:
            self._kept = (None, None)  # frees before it makes
            self._kept = (key, self._make(*key))
        return self._kept[1]
