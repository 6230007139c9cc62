"""Writes the small input files of the command-line tests into the folder that is given."""

import pathlib
import sys

import h5py
import numpy as np


def main():
    folder = pathlib.Path(sys.argv[1])
    # Small integers: every distance is the same on any machine, to the last bit.
    rng = np.random.RandomState(7)
    base = rng.randint(-9, 10, size=(60, 8)).astype("f4")
    queries = rng.randint(-9, 10, size=(5, 8)).astype("f4")

    with h5py.File(folder / "words.h5", "w") as f:
        f["vectors"] = base
        f["ids"] = [b"word%02d" % i for i in range(len(base))]

    with h5py.File(folder / "numbers.h5", "w") as f:
        f["vectors"] = base[:4]
        f["ids"] = [b"3", b"2", b"1", b"x"]

    with h5py.File(folder / "ann.h5", "w") as f:
        f.attrs["distance"] = "euclidean"
        f["train"] = base
        f.create_dataset("test", data=queries, chunks=(2, 8), shuffle=True, compression="gzip")

    with h5py.File(folder / "several.h5", "w") as f:
        f["first"] = base
        f["group/second"] = queries
        f["group/other dimension"] = queries[:, :5]
        f["names\x1b[31m"] = [b"x"] * 3

    with h5py.File(folder / "holes.h5", "w") as f:
        data = base.copy()
        data[3, 2] = np.nan
        data[9, 0] = np.inf
        f["vectors"] = data

    with h5py.File(folder / "items.h5", "w") as f:
        for i, row in enumerate(base[:6]):
            f[f"sp|P{i}"] = row if i != 2 else row[None].astype("f2")
        f["sp|P4"].attrs["original_id"] = "four"

    with h5py.File(folder / "images.h5", "w", libver="latest") as f:
        for i, row in enumerate(base[:5]):
            f[f"db/{i}.jpg/global_descriptor"] = row
            f[f"db/{i}.jpg/image_size"] = [640, 480]
            f[f"query/{i}.jpg/global_descriptor"] = row[::-1].copy()

    with h5py.File(folder / "odd-items.h5", "w") as f:
        for i, row in enumerate(base[:6]):
            f[f"P{i}"] = row if i != 4 else np.stack([row, row])

    with h5py.File(folder / "leaves.h5", "w") as f:
        for i, row in enumerate(base[:5]):
            f[f"{i}/first"] = row
            f[f"{i}/second"] = row[:5]

    with h5py.File(folder / "nothing.h5", "w") as f:
        f["text"] = [b"a", b"b"]

    (folder / "text.h5").write_text("this is no HDF5 file\n" * 100)
    (folder / "empty.h5").write_bytes(b"")
    (folder / "folder.h5").mkdir()
    whole = (folder / "words.h5").read_bytes()
    (folder / "cut.h5").write_bytes(whole[: len(whole) // 2])


main()
