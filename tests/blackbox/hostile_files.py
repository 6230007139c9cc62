"""Small good files of every layout and storage, and damaged copies of them.

A damaged copy is a function of (good file, seed): bytes are changed, mostly in metadata, or the file
is cut. Metadata of the newer formats carries checksums, by which HDF5 finds every such change at
once; half of the time they are made to fit again, so that what lies behind them is reached."""

import os
import struct

import h5py
import numpy as np

import anndata_files

ROWS = 40
DIM = 6


class Good:
    """A file, what to ask of it, and what h5py has to read for the answer."""

    def __init__(self, name, path, arguments=(), base=None, queries=None, rows=None):
        self.name = name
        self.arguments = list(arguments)
        self.base = base
        self.queries = queries
        self.rows = rows  # instead of base: a function from a file to an array
        with open(path, "rb") as f:
            self.bytes = f.read()
        self.data = raw_data(path)
        self.sealed = sealed_blocks(self.bytes)


# ---------------------------------------------------------------- good files


def _numbers(random, rows=ROWS, dim=DIM, dtype=np.float32):
    if np.issubdtype(dtype, np.integer):
        return random.integers(0, 100, size=(rows, dim)).astype(dtype)
    return random.normal(size=(rows, dim)).astype(dtype)


def _texts(count):
    return [f"name-{i:03d}" for i in range(count)]


def _single(**storage):
    def write(f, random):
        f.create_dataset("x", data=_numbers(random), **storage)

    return write


def _typed(dtype, **storage):
    def write(f, random):
        numbers = _numbers(random, dtype=np.dtype(dtype).newbyteorder("="))
        f.create_dataset("x", data=numbers, dtype=dtype, **storage)

    return write


def _ann(**storage):
    def write(f, random):
        f.attrs["distance"] = "euclidean"
        f.create_dataset("train", data=_numbers(random), **storage)
        f.create_dataset("test", data=_numbers(random, 9), **storage)
        f.create_dataset("neighbors", data=np.zeros((9, 5), np.int32))

    return write


def _items(f, random):
    for i in range(ROWS):
        item = f.create_dataset(f"item{i}", data=_numbers(random, 1)[0])
        item.attrs["original_id"] = f"protein {i}"


def _nested(f, random):
    for i in range(ROWS):
        group = f.create_group(f"image{i}")
        group.create_dataset("keypoints", data=_numbers(random, 3, 2))
        group.create_dataset("global_descriptor", data=_numbers(random, 1)[0])


def _fixed_ids(f, random):
    f.create_dataset("x", data=_numbers(random, dtype=np.float64))
    f.create_dataset("ids", data=np.array(_texts(ROWS), "S12"))


def _text_ids(f, random):
    f.create_dataset("x", data=_numbers(random, dtype=np.int8))
    f.create_dataset("ids", data=np.array(_texts(ROWS), dtype=h5py.string_dtype()), chunks=(16,))


def _compound(f, random):
    kind = np.dtype([("id", "S8"), ("vector", np.float32, (DIM,)), ("label", np.int32)])
    table = np.zeros(ROWS, kind)
    table["vector"] = _numbers(random)
    table["id"] = np.array(_texts(ROWS), "S8")
    f.create_dataset("table", data=table)


def _packed(f, random):
    bits = f.create_dataset("x", data=random.integers(0, 256, size=(ROWS, 4)).astype(np.uint8))
    bits.attrs["nbits"] = 29


def _bools(f, random):
    f.create_dataset("x", data=random.integers(0, 2, size=(ROWS, 9)).astype(bool), chunks=(7, 4))


def _virtual(f, random):
    f.create_dataset("a", data=_numbers(random, 16))
    f.create_dataset("b", data=_numbers(random, ROWS - 16), chunks=(8, DIM), compression=3)
    layout = h5py.VirtualLayout((ROWS, DIM), np.float32)
    layout[:16] = h5py.VirtualSource(".", "a", (16, DIM))
    layout[16:] = h5py.VirtualSource(".", "b", (ROWS - 16, DIM))
    f.create_virtual_dataset("x", layout)


def _links(f, random):
    f.create_dataset("deep/down/x", data=_numbers(random))
    f["soft"] = h5py.SoftLink("/deep/down/x")
    f["hard"] = f["deep"]
    f["deep/round"] = h5py.SoftLink("/deep")
    f["out"] = h5py.ExternalLink("other.h5", "/x")
    f.create_dataset("small", data=np.arange(4.0))


def _half_written(f, random):
    x = f.create_dataset("x", (ROWS, DIM), np.float32, chunks=(8, 3), fillvalue=2.5, compression=4)
    x[:13] = _numbers(random, 13)


def _custom_float(f, random):
    kind = h5py.h5t.IEEE_F32LE.copy()
    kind.set_fields(15, 7, 8, 0, 7)  # bfloat16
    kind.set_size(2)
    kind.set_ebias(127)
    space = h5py.h5s.create_simple((ROWS, DIM))
    made = h5py.h5d.create(f.id, b"x", kind, space)
    made.write(h5py.h5s.ALL, h5py.h5s.ALL, _numbers(random))


def _labels(f, random):
    f.create_dataset("x", data=_numbers(random))
    f.create_dataset("group", data=random.integers(0, 3, ROWS))
    f.create_dataset("allowed", data=np.arange(0, ROWS, 2))
    anndata_files.categorical(f, "cell", [["a", "b", None][i % 3] for i in range(ROWS)])


def _filtered(name):
    def write(f, random):
        f.create_dataset("x", data=_numbers(random, dtype=np.int32), chunks=(8, 3), **{name: True})

    return write


def _sorted_keys(f):
    """A damaged name need not be UTF-8: then h5py gives bytes."""
    return sorted(f, key=lambda key: key if isinstance(key, bytes) else key.encode())


def _item_rows(f):
    return np.stack([f[key][()].reshape(-1) for key in _sorted_keys(f)])


def _leaf_rows(f):
    """Groups without the leaf do not count; damaged ones do."""
    groups = [f[key] for key in _sorted_keys(f)]
    rows = [g["global_descriptor"][()] for g in groups if "global_descriptor" in g.keys()]
    return np.stack([row.reshape(-1) for row in rows])


def _member_rows(f):
    return f["table"]["vector"]


def _anndata(path, random):
    anndata_files.modern(path, _texts(ROWS), {"X_pca": _numbers(random)}, x=_numbers(random, dim=4))


def _external(path, random):
    with open(os.path.join(os.path.dirname(path), "raw.bin"), "wb") as f:
        f.write(_numbers(random).tobytes())
    with h5py.File(path, "w") as f:
        f.create_dataset("x", (ROWS, DIM), np.float32, external=[("raw.bin", 0, ROWS * DIM * 4)])


def _file(write, libver=None, **options):
    def make(path, random):
        with h5py.File(path, "w", libver=libver, **options) as f:
            write(f, random)

    return make


PACKED = {"chunks": (8, 3), "compression": 6, "shuffle": True, "fletcher32": True}
X = {"arguments": ["--base", "x"], "base": "x"}
ANN = {"arguments": ["--base", "train", "--queries", "test"], "base": "train", "queries": "test"}
ITEMS = {"arguments": ["--base", "/"], "rows": _item_rows}
LEAVES = {"arguments": ["--leaf", "global_descriptor"], "rows": _leaf_rows}
TABLE = {"arguments": ["--base", "table/vector", "--ids", "table/id"], "rows": _member_rows}
LABELS = {"arguments": ["--base", "x", "--exclude-same", "cell", "--subset", "allowed"]}

# name -> (writer of a file, what to ask)
KINDS = {
    "contiguous": (_file(_single()), X),
    "contiguous-latest": (_file(_single(), "latest"), X),
    "big-endian": (_file(_typed(">i2")), X),
    "float16-chunks": (_file(_typed(">f2", chunks=(5, 4))), X),
    "int64": (_file(_typed("<i8", chunks=(9, 6), compression=1)), X),
    "ann": (_file(_ann(chunks=(8, 6), compression=6, shuffle=True)), ANN),
    "ann-latest": (_file(_ann(chunks=(8, 6), compression=6), "latest"), ANN),
    "packed": (_file(_single(**PACKED)), X),
    "packed-latest": (_file(_single(**PACKED), "latest"), X),
    "one-chunk-latest": (_file(_single(chunks=(ROWS, DIM), compression=2), "latest"), X),
    "implicit-latest": (_file(_single(chunks=(8, 6)), "latest"), X),
    "growing-latest": (_file(_single(chunks=(8, 3), maxshape=(None, DIM), shuffle=True), "latest"), X),
    "growing-both-latest": (_file(_single(chunks=(8, 3), maxshape=(None, None)), "latest"), X),
    "user-block": (_file(_single(), userblock_size=512), X),
    "scaleoffset": (_file(_filtered("scaleoffset")), X),
    "fletcher32": (_file(_filtered("fletcher32")), X),
    "half-written": (_file(_half_written), X),
    "items": (_file(_items), ITEMS),
    "items-latest": (_file(_items, "latest"), ITEMS),
    "nested": (_file(_nested), LEAVES),
    "nested-latest": (_file(_nested, "latest"), LEAVES),
    "fixed-ids": (_file(_fixed_ids), {"arguments": ["--base", "x", "--ids", "ids"], "base": "x"}),
    "text-ids": (_file(_text_ids), {"arguments": ["--base", "x", "--ids", "ids"], "base": "x"}),
    "text-ids-latest": (_file(_text_ids, "latest"), X),
    "compound": (_file(_compound), TABLE),
    "packed-bits": (_file(_packed), {"arguments": ["--base", "x"]}),
    "bools": (_file(_bools), {"arguments": ["--base", "x", "--metric", "hamming"]}),
    "virtual": (_file(_virtual), X),
    "virtual-latest": (_file(_virtual, "latest"), X),
    "links": (_file(_links), {"arguments": ["--base", "soft"], "base": "soft"}),
    "links-latest": (_file(_links, "latest"), {"arguments": []}),
    "bfloat16": (_file(_custom_float), X),
    "labels": (_file(_labels), LABELS),
    "anndata": (_anndata, {"arguments": ["--base", "obsm/X_pca"], "base": "obsm/X_pca"}),
    "anndata-guessed": (_anndata, {"arguments": []}),
    "external": (_external, {"arguments": ["--base", "x", "--allow-external"], "base": "x"}),
}


# Results of the command itself, for show and verify: what is asked of a file with /x.
RESULTS = {
    "result-knn": ["-k", "4"],
    "result-pairs": ["--max-distance", "2"],
    "result-packed": ["-k", "4", "--compress", "6", "--ids", "ids"],
    "result-dense": ["--all"],
    "result-components": ["--max-distance", "1", "--components"],
}


def good_result(kind, folder, random, run):
    """Runs the command (`run` takes arguments and a folder) for a result to be damaged."""
    given = os.path.join(folder, "input.h5")
    path = os.path.join(folder, kind + ".h5")
    _file(_fixed_ids)(given, random)
    ended = run(["--metric", "l2", "--base", "x", *RESULTS[kind], given, path], folder)
    if ended.code != 0:
        raise RuntimeError(f"{kind}: {ended.err}")
    good = Good(kind, path)
    good.input = given
    os.unlink(path)
    return good


def good_file(kind, folder, random):
    """Writes the file of that kind into `folder`."""
    make, asked = KINDS[kind]
    path = os.path.join(folder, kind + ".h5")
    make(path, random)
    good = Good(kind, path, **asked)
    os.unlink(path)
    return good


def raw_data(path):
    """Where the elements of datasets lie: (start, end) of all that is not metadata."""
    found = []

    def visit(_, item):
        if not isinstance(item, h5py.Dataset):
            return
        offset = item.id.get_offset()
        if offset is not None and item.external is None:
            found.append((offset, offset + item.id.get_storage_size()))
        elif item.chunks is not None:
            for i in range(item.id.get_num_chunks()):
                chunk = item.id.get_chunk_info(i)
                found.append((chunk.byte_offset, chunk.byte_offset + chunk.size))

    with h5py.File(path, "r") as f:
        f.visititems(visit)
    return found


# ---------------------------------------------------------------- checksums of metadata


def _rotated(x, k):
    return ((x << k) | (x >> (32 - k))) & 0xFFFFFFFF


def checksum(data):
    """Jenkins' lookup3 as HDF5 uses it (H5_checksum_lookup3 with 0)."""
    mask = 0xFFFFFFFF
    a = b = c = (0xDEADBEEF + len(data)) & mask
    at = 0
    left = len(data)
    while left > 12:
        x, y, z = struct.unpack_from("<III", data, at)
        a, b, c = (a + x) & mask, (b + y) & mask, (c + z) & mask
        for p, shift in (("a", 4), ("b", 6), ("c", 8), ("a", 16), ("b", 19), ("c", 4)):
            if p == "a":
                a = ((a - c) & mask) ^ _rotated(c, shift)
                c = (c + b) & mask
            elif p == "b":
                b = ((b - a) & mask) ^ _rotated(a, shift)
                a = (a + c) & mask
            else:
                c = ((c - b) & mask) ^ _rotated(b, shift)
                b = (b + a) & mask
        at += 12
        left -= 12
    if left == 0:
        return c
    x, y, z = struct.unpack("<III", data[at:] + bytes(12 - left))
    a, b, c = (a + x) & mask, (b + y) & mask, (c + z) & mask
    c = ((c ^ b) - _rotated(b, 14)) & mask
    a = ((a ^ c) - _rotated(c, 11)) & mask
    b = ((b ^ a) - _rotated(a, 25)) & mask
    c = ((c ^ b) - _rotated(b, 16)) & mask
    a = ((a ^ c) - _rotated(c, 4)) & mask
    b = ((b ^ a) - _rotated(a, 14)) & mask
    return ((c ^ b) - _rotated(b, 24)) & mask


SEALED_SIGNS = (b"OHDR", b"OCHK", b"FRHP", b"FHDB", b"FHIB", b"BTHD", b"BTIN", b"BTLF", b"FAHD",
                b"FADB", b"EAHD", b"EAIB", b"EASB", b"EADB", b"FSHD", b"FSSE", b"\x89HDF\r\n\x1a\n")  # fmt: skip
LONGEST_BLOCK = 1100


def sealed_blocks(data):
    """(start, length) of blocks of metadata that end with their checksum, found by trying."""
    blocks = []
    for sign in SEALED_SIGNS:
        at = data.find(sign)
        while at >= 0:
            for length in range(len(sign), min(LONGEST_BLOCK, len(data) - at - 3)):
                stored = data[at + length : at + length + 4]
                seal = int.from_bytes(stored, "little")
                if seal != 0 and checksum(data[at : at + length]) == seal:
                    blocks.append((at, length))
                    break
            at = data.find(sign, at + 1)
    return blocks


# ---------------------------------------------------------------- damage


def _metadata_places(good):
    is_data = np.zeros(len(good.bytes), bool)
    for start, end in good.data:
        is_data[start:end] = True
    raw = np.frombuffer(good.bytes, np.uint8)
    metadata = np.flatnonzero(~is_data)
    return metadata, metadata[raw[metadata] != 0], np.flatnonzero(is_data)


def _change(random, old):
    kind = random.integers(6)
    if kind == 0:
        return int(old) ^ (1 << int(random.integers(8)))
    if kind == 1:
        return (int(old) + int(random.choice((-1, 1)))) % 256
    if kind == 2:
        return int(random.choice((0, 1, 0x7F, 0x80, 0xFE, 0xFF)))
    return int(random.integers(256))


def damaged(good, seed):
    """(bytes, what was done to them)"""
    random = np.random.default_rng([seed, len(good.bytes), *good.name.encode()])
    data = bytearray(good.bytes)
    metadata, used, elements = _metadata_places(good)
    if random.random() < 0.1:
        size = int(random.integers(len(data)))
        data = data[:size]
        if data[8:9] == b"\0" and size > 48 and random.random() < 0.7:
            data[40:48] = size.to_bytes(8, "little")  # the end that the superblock tells
        return bytes(data), f"cut to {size}"
    done = []
    for _ in range(int(random.choice((1, 1, 1, 2, 3, 8)))):
        where = random.random()
        places = used if where < 0.6 else metadata if where < 0.88 or len(elements) == 0 else elements
        at = int(random.choice(places))
        size = int(random.choice((1, 1, 1, 2, 4, 8)))
        for i in range(at, min(at + size, len(data))):
            data[i] = _change(random, data[i])
        done.append(f"{at}+{size}")
    if random.random() < 0.6:
        for start, length in good.sealed:
            if data[start : start + length] != good.bytes[start : start + length]:
                seal = checksum(bytes(data[start : start + length]))
                data[start + length : start + length + 4] = seal.to_bytes(4, "little")
        done.append("sealed")
    return bytes(data), "changed at " + " ".join(done)
