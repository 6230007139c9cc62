"""Files that are damaged, that lie, or that make libhdf5 crash: a message and a documented exit code, in
seconds, nothing left behind, and never another answer than the file's.

scripts/hostile.py does the same with thousands of damaged files."""

import os
import struct
import zlib

import h5py
import numpy as np

import hostile_check
import hostile_files
from support import SANITIZER_MARKS, Skip, is_sanitized
from test_foreign import folder

LONG = os.environ.get("ENGRAM_TEST_LONG", "0") not in ("", "0")

# (kind, seed): files that once made the command crash, hang, take gigabytes, or answer wrongly. With
# another version of h5py the same seed makes another file, which is as good as any.
ONCE = (
    ("text-ids", 4),  # crash in H5Dread of strings
    ("text-ids", 139),  # a string of 3 GB
    ("virtual-latest", 3),  # crash while it is described
    ("links-latest", 115),  # heap damaged
    ("growing-latest", 159),  # a chunk that is too short before it is unshuffled
    ("bools", 152),  # a chunk without filters that is shorter than its shape
    ("ann-latest", 150),  # chunks beyond the end of their index
    ("ann-latest", 245),  # the same, by the largest shape
    ("float16-chunks", 1044),  # HDF5 uses more of a chunk than it read
    ("user-block", 1043),  # data beyond the end that the superblock tells
    ("user-block", 500046),  # the same, by a wrong base address
    ("text-ids-latest", 1010),  # integers that begin at bit 96 of their byte
    ("packed", 1048),  # shuffled by elements of many gigabytes
    ("anndata", 212),  # strings of 3 GB that HDF5 finds after all
    ("scaleoffset", 254),  # a filter that allocates 4 GB
    ("nested-latest", 100),  # a group that cannot be opened
    ("items", 8),  # an item that has become a type
    ("external", 102),  # HDF5 prints when the file cannot be closed
    ("anndata-guessed", 700000),  # a text in the heap that is longer than its reference says
    ("items", 700024),  # an attribute of 3.6 GB
    ("items-latest", 700037),  # another
    ("packed-bits", 802017),  # bits by the gigabyte, of a few bytes
    ("half-written", 909015),  # a chunk of no bytes, which is not one that was never written
    ("implicit-latest", 909024),  # larger than it may become: chunks behind the end of their index
    ("result-components", 500188),  # a text of elements of 4 GB
)


def report(t, kind, seed, what, found):
    for command, complaint, ended in found:
        t.check(False, f"{kind} {seed}: {command}: {complaint} ({what}): {ended.err.strip()[-300:]!r}")


def try_seeds(t, wanted):
    """wanted: kind -> seeds"""
    for kind, seeds in wanted.items():
        session = hostile_check.Session(kind, str(t.folder))
        for seed in seeds:
            what, found, _ = session.try_seed(seed)
            t.runs += 2
            report(t, kind, seed, what, found)


def test_once(t):
    if is_sanitized():
        raise Skip("a sanitizer reports what libhdf5 does, and crashes itself")
    wanted = {}
    for kind, seed in ONCE:
        wanted.setdefault(kind, []).append(seed)
    try_seeds(t, wanted)


def test_damaged(t):
    """One of every kind, always the same; in long tests a hundred of every kind, drawn anew. HDF5
    itself may read past its memory on some file that nobody has met yet."""
    if is_sanitized():
        raise Skip("a sanitizer reports what libhdf5 does, and crashes itself")
    first = int(t.random.integers(1 << 30)) if LONG else 7000
    kinds = [*hostile_files.KINDS, *hostile_files.RESULTS]
    try_seeds(t, {kind: range(first, first + (100 if LONG else 1)) for kind in kinds})


def test_malformed(t):
    """Files that crashed other programs."""
    for path in sorted(folder("malformed").rglob("*.h5")):
        for arguments in (
            ["inspect", path],
            ["--force", path, "out.h5"],
            ["show", path],
            ["verify", path, path],
        ):
            before = set(os.listdir(t.folder))
            ended = hostile_check.Ended(arguments, str(t.folder))
            t.runs += 1
            if not any(mark in ended.err for mark in SANITIZER_MARKS):
                for complaint in hostile_check.complaints_about(ended, before, str(t.folder), "out.h5"):
                    t.check(False, f"{arguments[0]} {path.name}: {complaint}: {ended.err.strip()[-200:]!r}")
            if os.path.exists(t.path("out.h5")):
                os.unlink(t.path("out.h5"))


# ---------------------------------------------------------------- claims


def refused(t, mentions, path, *arguments):
    for command in (["inspect"], ["--force"]):
        operands = [path] if command == ["inspect"] else [path, t.path("no.h5")]
        run = t.run(*command, "--metric", "l2", *arguments, *operands)
        t.check(run.code == 65 and mentions in run.err, f"expected 65 and {mentions!r}: {run}")
        t.check(not os.path.exists(t.path("no.h5")), f"wrote: {run}")


def test_never_written(t):
    """A shape costs nothing: rows that nobody wrote are believed up to a point."""
    queries = t.gaussian(5, 6)
    for name, shape, options in (
        ("chunks", (10**9, 6), {"chunks": (1000, 6)}),
        ("small-chunks", (10**8, 6), {"chunks": (8, 3), "compression": 1}),
        ("contiguous", (10**8, 6), {}),
    ):
        path = t.path(name + ".h5")
        with h5py.File(path, "w") as f:
            f.create_dataset("train", shape, np.float32, **options)
            f["test"] = queries
        refused(t, "/train: its shape takes", path)
    path = t.path("virtual.h5")
    with h5py.File(path, "w") as f:
        f["a"] = queries
        layout = h5py.VirtualLayout((10**9, 6), np.float32)
        layout[:5] = h5py.VirtualSource(".", "a", (5, 6))
        f.create_virtual_dataset("train", layout)
        f["test"] = queries
    refused(t, "/train: its shape takes", path)


def test_half_written(t):
    """Rows of which most were never written: those that are there can be had."""
    rows = t.gaussian(500, 6)
    path = t.path("part.h5")
    with h5py.File(path, "w") as f:
        f.create_dataset("x", (10**8, 6), np.float32, chunks=(100, 6), maxshape=(None, 6))[:500] = rows
    refused(t, "--base-rows", path)
    whole = t.h5("whole.h5", {"x": rows})
    cut = ["--base-rows", "0:500", "--query-rows", "0:500"]
    a = t.job("--self", "--metric", "l2", *cut, path, out="a.h5")
    b = t.job("--self", "--metric", "l2", whole, out="b.h5")
    t.check((a.neighbors == b.neighbors).all() and (a.distances == b.distances).all(), "rows that are there")
    # A few fill values are as good as any other value.
    path = t.path("few.h5")
    with h5py.File(path, "w") as f:
        f.create_dataset("x", (3000, 6), np.float32, chunks=(100, 6), fillvalue=1.5)[:500] = rows
    t.succeeds("--force", "--self", "--metric", "l2", path, t.path("few-out.h5"))


def test_strings(t):
    """Lengths of strings that the file cannot hold, by every kind of storage."""
    ids = [f"name {i}" for i in range(300)]
    for name, options in (
        ("contiguous", {}),
        ("chunks", {"chunks": (64,)}),
        ("packed", {"chunks": (64,), "compression": 6}),
    ):
        path = t.path(name + ".h5")
        with h5py.File(path, "w") as f:
            f["x"] = t.gaussian(300, 4)
            kind = h5py.string_dtype()
            values = f.create_dataset("ids", data=np.array(ids, dtype=kind), **options)
            offset = values.id.get_offset()
            chunks = values.chunks is not None and values.id.get_chunk_info(2)
        result = t.job(path, "--ids", "ids", out=name + "-out.h5")
        t.check(list(result.base_ids) == [i.encode() for i in ids], f"{name}: ids")
        if name == "packed":
            with h5py.File(path, "r+") as f:
                _, packed = f["ids"].id.read_direct_chunk((128,))
                references = bytearray(zlib.decompress(packed))
                references[16 * 5 + 3] = 0x80  # the highest byte of the length of element 5
                f["ids"].id.write_direct_chunk((128,), zlib.compress(bytes(references)))
        else:
            with open(path, "r+b") as f:
                f.seek((offset if offset is not None else chunks.byte_offset) + 16 * 5)
                f.write(struct.pack("<I", 0x80000000))
        run = t.run("--force", "--ids", "ids", path, t.path("no.h5"))
        t.check(run.code == 65 and "/ids: " in run.err and "claims" in run.err, f"{name}: {run}")


# ---------------------------------------------------------------- what cannot be read is not left out


def wipe(path, address, size=8):
    with open(path, "r+b") as f:
        f.seek(address)
        f.write(bytes(size))


def test_objects(t):
    """An object whose header is gone: an error where it could have been meant."""
    rows = t.gaussian(20, 4)
    path = t.path("two.h5")
    with h5py.File(path, "w") as f:
        f["x"] = rows
        f["y"] = rows
        address = h5py.h5o.get_info(f["y"].id).addr
    wipe(path, address)
    refused(t, "/y cannot be read", path)
    t.succeeds("--force", "--base", "x", path, t.path("x-out.h5"))

    path = t.path("nested.h5")
    with h5py.File(path, "w") as f:
        for i in range(9):
            f[f"g{i}/v"] = rows[i]
        address = h5py.h5o.get_info(f["g3"].id).addr
    wipe(path, address)
    refused(t, "/g3", path, "--leaf", "v")

    path = t.path("train.h5")
    with h5py.File(path, "w") as f:
        f["train"] = rows
        f["test"] = rows
        address = h5py.h5o.get_info(f["train"].id).addr
    wipe(path, address)
    refused(t, "/train cannot be read", path)


def test_checksum(t):
    """A chunk whose checksum is wrong is named: dataset, chunk, rows."""
    rows = t.gaussian(64, 6)
    for name, options in (
        ("direct", {"compression": 4}),
        ("plain", {}),
        ("by-hdf5", {"dtype": np.dtype([("v", np.float32, (6,))])}),
    ):
        path = t.path(name + ".h5")
        shape, chunk, whole = ((64, 6), (16, 6), "x") if "dtype" not in options else ((64,), (16,), "t")
        with h5py.File(path, "w") as f:
            x = f.create_dataset(whole, shape, chunks=chunk, fletcher32=True, **options)
            x[...] = rows if whole == "x" else rows.view(options["dtype"]).reshape(-1)
            chunk = x.id.get_chunk_info(2)
        with open(path, "r+b") as f:
            f.seek(chunk.byte_offset + chunk.size // 2)
            byte = f.read(1)[0]
            f.seek(-1, 1)
            f.write(bytes([byte ^ 1]))
        run = t.run("--force", "--metric", "l2", path, t.path("no.h5"))
        t.check(run.code == 65 and "rows 32 to 48 cannot be read" in run.err, f"{name}: {run}")
        t.check(("/x: " if whole == "x" else "/t/v: ") in run.err, f"{name}: {run}")


def test_scaleoffset(t):
    """A chunk that claims more bits than it has: HDF5 would read what lies behind it."""
    rows = np.arange(64 * 6).reshape(64, 6) % 100
    path = t.path("scaled.h5")
    with h5py.File(path, "w") as f:
        x = f.create_dataset("x", data=rows.astype("i4"), chunks=(16, 4), scaleoffset=True)
        chunk = x.id.get_chunk_info(5)
    t.succeeds("--metric", "l2", path, t.path("scaled-out.h5"))
    for value in (20, 31, 33, 0xFFFFFFFF):
        with open(path, "r+b") as f:
            f.seek(chunk.byte_offset)
            f.write(struct.pack("<I", value))
        run = t.run("--force", "--metric", "l2", path, t.path("no.h5"))
        t.check(run.code == 65 and "rows 32 to 48 cannot be read" in run.err, f"{value}: {run}")
    for dtype in (np.float32, np.float64, np.int8, np.uint16):
        path = t.path(f"scaled-{np.dtype(dtype).name}.h5")
        with h5py.File(path, "w") as f:
            f.create_dataset("x", data=rows.astype(dtype), chunks=(10, 4), scaleoffset=3)
        t.succeeds("--metric", "l2", path, t.path(f"out-{np.dtype(dtype).name}.h5"))


def test_links(t):
    """Links in circles, and chains of them, end."""
    path = t.path("circles.h5")
    with h5py.File(path, "w") as f:
        f["x"] = t.gaussian(20, 4)
        f["a"] = h5py.SoftLink("/b")
        f["b"] = h5py.SoftLink("/a")
        group = f.create_group("g")
        group["up"] = f["/"]
        group["self"] = group
        for i in range(300):
            f[f"s{i}"] = h5py.SoftLink(f"/s{i + 1}")
        f["s300"] = h5py.SoftLink("/x")
        f["e"] = h5py.ExternalLink("circles.h5", "/e")
    t.succeeds("--force", path, t.path("out.h5"))
    t.fails(66, "--base a", "--force", "--base", "a", path, t.path("no.h5"))
    t.fails(66, "--base e", "--force", "--base", "e", path, t.path("no.h5"))
