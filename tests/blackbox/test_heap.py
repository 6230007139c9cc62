"""Texts of variable length whose references or heap are damaged: HDF5 would allocate what they claim,
and copy what it finds."""

import struct

import h5py
import numpy as np

from hostile_check import Ended

KIB = 200 << 10  # a command takes some 15 MiB
IDS = [f"name {i}" for i in range(300)]
TEXTS = np.array(IDS, dtype=h5py.string_dtype())


def write(t, name, libver=None, user_block=0, member=False, **options):
    """A file with /x and /ids, or one table of both, and its bytes."""
    path = t.path(name + ".h5")
    rows = t.gaussian(len(IDS), 4)
    with h5py.File(path, "w", libver=libver, userblock_size=user_block) as f:
        if member:
            kind = np.dtype([("x", np.float32, (4,)), ("id", h5py.string_dtype())])
            table = np.zeros(len(IDS), kind)
            table["x"] = rows
            table["id"] = TEXTS
            f.create_dataset("t", data=table, **options)
        else:
            f["x"] = rows
            if options.pop("compact", False):
                plist = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
                plist.set_layout(h5py.h5d.COMPACT)
                kind = h5py.h5t.py_create(h5py.string_dtype(), logical=True)
                ids = h5py.h5d.create(f.id, b"ids", kind, h5py.h5s.create_simple((len(IDS),)), plist)
                ids.write(h5py.h5s.ALL, h5py.h5s.ALL, TEXTS)
            else:
                f.create_dataset("ids", data=TEXTS, **options)
    with open(path, "rb") as f:
        return path, bytearray(f.read())


STORAGES = {
    "contiguous": {},
    "chunks": {"chunks": (64,)},
    "packed": {"chunks": (64,), "compression": 6, "shuffle": True},
    "latest": {"libver": "latest", "chunks": (64,)},
    "compact": {"compact": True},
    "user-block": {"user_block": 1024, "chunks": (64,)},
    "member": {"member": True},
}


def object_of(data, text):
    """Where the heap keeps a text: its header is a number, a count, and a length."""
    return data.index(text) - 16


def try_damaged(t, label, path, data, code, mentions, *arguments):
    with open(path, "wb") as f:
        f.write(data)
    ended = Ended([*arguments, path, *([] if arguments[0] in ("show", "inspect") else [t.path("no.h5")])], str(t.folder))
    t.check(ended.code == code and mentions in ended.err, f"{label}: {ended.code} {ended.err!r}")
    t.check(ended.kilobytes < KIB, f"{label}: {ended.kilobytes} KiB")


def test_storages(t):
    """By whatever storage: right texts, and damage in the heap found."""
    for name, options in STORAGES.items():
        path, good = write(t, name, **options)
        sets = ["--base", "t/x", "--ids", "t/id"] if "member" in options else ["--base", "x", "--ids", "ids"]
        result = t.job(*sets, path, out=name + "-out.h5")
        t.check(list(result.base_ids) == [i.encode() for i in IDS], f"{name}: ids")
        at = object_of(good, b"name 77\0")
        for what, place, value, mentions in (
            ("longer", at + 8, struct.pack("<Q", 8), "another length"),
            ("much longer", at + 8, struct.pack("<Q", 1 << 40), "its heap is damaged"),
            ("shorter", at + 8, struct.pack("<Q", 6), "another length"),
            ("gone", at, struct.pack("<H", 40000), "does not hold it"),
            ("no heap", good.index(b"GCOL"), b"gcol", "its heap is damaged"),
        ):
            data = bytearray(good)
            data[place : place + len(value)] = value
            try_damaged(t, f"{name} {what}", path, data, 65, mentions, "--force", *sets)


def test_texts(t):
    """Empty, missing, long, shared and very many texts."""
    path = t.path("texts.h5")
    long = "x" * 200000
    texts = ["", "a", long, "b" * 4096, "\u00e9" * 3000] + [f"{i % 7 * 'y'}{i}" for i in range(3000)]
    with h5py.File(path, "w") as f:
        f["x"] = t.gaussian(len(texts), 2)
        ids = f.create_dataset("ids", (len(texts),), h5py.string_dtype(), chunks=(100,))
        ids[1:] = np.array(texts[1:], dtype=object)  # the first was never written
        f["short"] = np.array([text[:20] for text in texts], dtype=h5py.string_dtype())
        f["label"] = np.array([text[:5] for text in texts], dtype=h5py.string_dtype())
    result = t.job("--base", "x", "--ids", "short", "--exclude-same", "label", path)
    t.check(list(result.base_ids) == [text[:20].encode() for text in texts], "short texts")
    run = t.run("--force", "--base", "x", "--base-rows", "0:5", "--query-rows", "0:5", "--ids", "ids", path, t.path("o.h5"))
    t.check(run.code == 0, str(run))
    with h5py.File(t.path("o.h5")) as f:
        t.check([i.decode() for i in f["base_ids"][:5]] == texts[:5], "long texts")


def test_attributes(t):
    """Items' original_id, AnnData's _index, and the attributes of a result."""
    path = t.path("items.h5")
    with h5py.File(path, "w") as f:
        for i in range(20):
            f[f"k{i:02d}"] = t.gaussian(1, 4)[0]
            f[f"k{i:02d}"].attrs["original_id"] = f"protein {i:02d}"
    with open(path, "rb") as f:
        good = bytearray(f.read())
    heap = good.index(b"GCOL")
    for i in (0, 13):
        number = struct.unpack_from("<H", good, object_of(good, b"protein %02d" % i))[0]
        reference = good.index(struct.pack("<IQI", 10, heap, number))
        for what, place, value in (
            ("length", reference, struct.pack("<I", 0xF0000000)),
            ("address", reference + 4, struct.pack("<Q", 1 << 50)),
            ("number", reference + 12, struct.pack("<I", 1 << 31)),
            ("heap", object_of(good, b"protein %02d" % i) + 8, struct.pack("<Q", 1 << 33)),
        ):
            data = bytearray(good)
            data[place : place + len(value)] = value
            try_damaged(t, f"item {i} {what}", path, data, 65, "original_id", "--force", "--base", "/")

    source = t.h5("x.h5", {"x": t.gaussian(20, 3)})
    path = t.path("result.h5")
    t.succeeds(source, path)
    with open(path, "rb") as f:
        good = bytearray(f.read())
    heap = good.index(b"GCOL")
    at = good.index(b"cosine") - 16
    number = struct.unpack_from("<H", good, at)[0]
    reference = good.index(struct.pack("<IQI", 6, heap, number))
    data = bytearray(good)
    data[at + 8 : at + 16] = struct.pack("<Q", 1 << 33)
    try_damaged(t, "result heap", path, data, 65, "cannot be read", "show")
    if good[8] == 0:  # else a checksum guards the reference
        data = bytearray(good)
        data[reference : reference + 4] = struct.pack("<I", 0xF0000000)
        try_damaged(t, "result length", path, data, 65, "cannot be read", "show")
