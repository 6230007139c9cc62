#!/usr/bin/env python3
"""Makes embeddings that look like those of a language model, or the hard case.

  scripts/make-synthetic.py [--kind spectrum|gaussian] [--rows N] [--queries N] [--dim D]
                            [--seed S] [--metric M] [--gzip] OUTPUT.h5

spectrum   a mean direction that all rows share (a fifth of the energy), 200 clusters of unequal
           sizes, and a spectrum that decays as 1 / (i + 8), in axes that no coordinate follows:
           what trained embeddings have in common
gaussian   independent normal coordinates: no structure that a filter could use

Rows are made in blocks, each from the seed and its own number, and written as they are made: the
file may be larger than memory, and the first rows do not depend on how many follow. The output has
the datasets `train` (rows) and `test` (queries), and the attribute `distance`.
"""

import argparse
import sys

import numpy as np

BLOCK = 4096
CLUSTERS = 200
MEAN_ENERGY = 0.2
CLUSTER_ENERGY = 0.4  # the rest is within the clusters
QUERY_STREAM = 1 << 32  # blocks of queries are numbered from here


def generator(seed, stream):
    return np.random.Generator(np.random.PCG64(np.random.SeedSequence([seed, stream])))


class Spectrum:
    """Shared by all blocks: axes, spectrum, mean, clusters."""

    def __init__(self, dim, seed):
        own = generator(seed, 1 << 48)
        variance = 1.0 / (np.arange(dim) + 8.0)
        self.deviation = np.sqrt(variance / variance.sum()).astype(np.float32)
        axes, _ = np.linalg.qr(own.standard_normal((dim, dim)))
        self.axes = np.ascontiguousarray(axes, dtype=np.float32)
        mean = own.standard_normal(dim)
        self.mean = (mean / np.linalg.norm(mean) * np.sqrt(MEAN_ENERGY)).astype(np.float32)
        self.centres = own.standard_normal((CLUSTERS, dim), dtype=np.float32)
        self.centres *= self.deviation * np.float32(np.sqrt(CLUSTER_ENERGY))
        weight = 1.0 / (np.arange(CLUSTERS) + 4.0)
        self.weight = weight / weight.sum()

    def block(self, source, rows, dim):
        cluster = source.choice(CLUSTERS, size=rows, p=self.weight)
        values = source.standard_normal((rows, dim), dtype=np.float32)
        values *= self.deviation * np.float32(np.sqrt(1 - MEAN_ENERGY - CLUSTER_ENERGY))
        values += self.centres[cluster]
        values = values @ self.axes
        values += self.mean
        values *= source.uniform(0.8, 1.25, size=(rows, 1)).astype(np.float32)  # norms differ
        return values


def blocks(kind, rows, dim, seed, first_stream=0):
    """Yields (first row, block)."""
    shared = Spectrum(dim, seed) if kind == "spectrum" else None
    for number, first in enumerate(range(0, rows, BLOCK)):
        count = min(BLOCK, rows - first)
        source = generator(seed, first_stream + number)
        if shared is not None:
            yield first, shared.block(source, count, dim)
        else:
            yield first, source.standard_normal((count, dim), dtype=np.float32)


def array(kind, rows, dim, seed, queries=False):
    """All rows in memory."""
    result = np.empty((rows, dim), dtype=np.float32)
    for first, block in blocks(kind, rows, dim, seed, QUERY_STREAM if queries else 0):
        result[first:first + len(block)] = block
    return result


def main():
    parser = argparse.ArgumentParser(
        description="Makes embeddings that look like those of a language model, or the hard case.")
    parser.add_argument("output", metavar="OUTPUT.h5")
    parser.add_argument("--kind", choices=("spectrum", "gaussian"), default="spectrum")
    parser.add_argument("--rows", type=int, default=100000)
    parser.add_argument("--queries", type=int, default=2000)
    parser.add_argument("--dim", type=int, default=768)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--metric", default="angular", help="attribute `distance` [angular]")
    parser.add_argument("--gzip", action="store_true", help="chunks, shuffle and gzip")
    options = parser.parse_args()
    if min(options.rows, options.queries) < 0 or options.dim < 1 or options.seed < 0:
        parser.error("sizes and seed cannot be negative, nor the dimension 0")

    import h5py

    with h5py.File(options.output, "w") as file:
        file.attrs["distance"] = options.metric
        for name, rows, stream in (("train", options.rows, 0),
                                   ("test", options.queries, QUERY_STREAM)):
            layout = {}
            if options.gzip and rows > 0:
                layout = {"chunks": (min(rows, 2048), options.dim), "shuffle": True,
                          "compression": "gzip", "compression_opts": 6}
            to = file.create_dataset(name, (rows, options.dim), dtype="<f4", **layout)
            for first, block in blocks(options.kind, rows, options.dim, options.seed, stream):
                to[first:first + len(block)] = block
    return 0


if __name__ == "__main__":
    sys.exit(main())
