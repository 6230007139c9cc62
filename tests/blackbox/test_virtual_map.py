"""Virtual datasets whose mapping is damaged: HDF5 would allocate what it claims."""

import itertools
import struct

import h5py
import numpy as np

from hostile_check import Ended
from hostile_files import checksum
import oracle
from support import is_sanitized

KIB = 200 << 10  # a command takes some 15 MiB
ROWS, DIM = 30, 4


def write(t, name, user_block=0, attributes=0, points=False, **options):
    path = t.path(name + ".h5")
    rows = t.gaussian(ROWS, DIM)
    with h5py.File(path, "w", userblock_size=user_block, **options) as f:
        f["a"], f["b"] = rows[:10], rows[10:]
        layout = h5py.VirtualLayout((ROWS, DIM), np.float32)
        layout[:10] = h5py.VirtualSource(".", "a", (10, DIM))
        layout[10:] = h5py.VirtualSource(".", "b", (ROWS - 10, DIM))
        x = f.create_virtual_dataset("x", layout)
        for i in range(attributes):  # the header goes on elsewhere
            x.attrs[f"note {i}"] = "n" * 200
    with open(path, "rb") as f:
        return path, rows, bytearray(f.read())


def mapping(data):
    """Where the mapping is, and its length: the heap's object that names the sources."""
    at = data.index(b"GCOL") + 16
    while b".\0a\0" not in data[at + 16 : at + 40]:
        at += 16 + -(-struct.unpack_from("<Q", data, at + 8)[0] // 8) * 8
    return at + 16, struct.unpack_from("<Q", data, at + 8)[0]


FILES = {
    "earliest": {"libver": ("earliest", "v110")},
    "latest": {"libver": "latest"},
    "user-block": {"user_block": 2048},
    "user-block-latest": {"user_block": 2048, "libver": "latest"},
    "long-header": {"attributes": 6},
    "long-header-latest": {"attributes": 6, "libver": "latest"},
    "ordered": {"attributes": 6, "libver": "latest", "track_order": True},
}


def damages(data):
    """(what, where, bytes, message): offsets are those of two sources, mapped by blocks."""
    start, length = mapping(data)
    names = start + 9
    first = data.index(b"\2\0\0\0", names)  # a selection by blocks
    version = data[first + 4]
    rank = first + (13 if version == 2 else 16 if version == 1 else 10)
    yield "many sources", start + 1, struct.pack("<Q", 1 << 24), "claims more sources"
    yield "all sources", start + 1, b"\xff" * 8, "claims more sources"
    yield "one source", start + 1, struct.pack("<Q", 1), "behind its last source"
    yield "no end", names, b"x" * (length - 9), "no end|no known kind"
    yield "rank", rank, struct.pack("<I", 200), "number of dimensions"
    yield "kind", first, struct.pack("<I", 77), "no known kind"
    yield "gone", start - 16, struct.pack("<H", 40000), "does not hold it"
    yield "no heap", data.index(b"GCOL"), b"gcol", "its heap is damaged"


def test_damage(t):
    """Right as it is; found, and without HDF5's memory, when it is damaged, sealed or not."""
    for name, options in FILES.items():
        path, rows, good = write(t, name, **options)
        result = t.job("--base", "x", "--metric", "l2", "-k", "3", path, out=name + "-out.h5")
        t.compare(name, result, oracle.answer(rows, rows, "l2", k=3, self_job=True), 3)
        start, length = mapping(good)
        for (what, place, value, mentions), sealed in itertools.product(damages(good), (False, True)):
            data = bytearray(good)
            data[place : place + len(value)] = value
            if sealed:
                seal = checksum(bytes(data[start : start + length - 4]))
                data[start + length - 4 : start + length] = struct.pack("<I", seal)
            with open(path, "wb") as f:
                f.write(data)
            ended = Ended(["--base", "x", "--metric", "l2", "-k", "3", path, "no.h5"], str(t.folder))
            label = f"{name}, {what}{', sealed' * sealed}: {ended.code}"
            t.check(ended.code == 65 and any(m in ended.err for m in mentions.split("|")), f"{label} {ended.err!r}")
            t.check("/x" in ended.err and path in ended.err, f"{label}: names {ended.err!r}")
            t.check(is_sanitized() or ended.kilobytes < KIB, f"{label}: {ended.kilobytes} KiB")
