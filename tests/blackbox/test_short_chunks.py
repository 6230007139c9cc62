"""Chunks whose filters give less than a chunk: HDF5 takes whatever lies in memory for the rest.

An error that names the dataset, on every way that a dataset is read by HDF5; the same files before the
damage give the right answer."""

import zlib

import h5py
import numpy as np

import oracle

ROWS, DIM, CHUNK = 64, 6, 16


def numbers():
    return (np.arange(ROWS * DIM).reshape(ROWS, DIM) * 7 % 101).astype(np.int32)


def replaced(path, name, change, corner):
    """One stored chunk becomes what `change` makes of its bytes."""
    with h5py.File(path, "r+") as f:
        dataset = f[name].id
        mask, stored = dataset.read_direct_chunk(corner)
        dataset.write_direct_chunk(corner, change(bytes(stored)), mask)


def inflated(change):
    return lambda stored: zlib.compress(change(zlib.decompress(stored)))


def cut(size):
    return lambda stored: stored[:size]


def claims(size):
    return lambda stored: size.to_bytes(4, "little") + stored[4:]


def filtered(path, filters, kind=h5py.h5t.STD_I32LE):
    """A dataset x with filters that h5py has no words for."""
    with h5py.File(path, "w") as f:
        creation = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
        creation.set_chunk((CHUNK, DIM))
        for name in filters:
            if name == "deflate":
                creation.set_deflate(4)
            elif name == "shuffle":
                creation.set_shuffle()
            elif name == "scaleoffset":
                creation.set_scaleoffset(h5py.h5z.SO_INT, 0)
            elif name == "szip":
                creation.set_szip(h5py.h5z.SZIP_NN_OPTION_MASK, 8)
            else:
                creation.set_filter(h5py.h5z.FILTER_NBIT, h5py.h5z.FLAG_MANDATORY, ())
        space = h5py.h5s.create_simple((ROWS, DIM))
        made = h5py.h5d.create(f.id, b"x", kind, space, creation)
        made.write(h5py.h5s.ALL, h5py.h5s.ALL, numbers())


def short_float():
    """20 bits in 4 bytes: nbit has something to do."""
    kind = h5py.h5t.IEEE_F32LE.copy()
    kind.set_fields(26, 20, 6, 7, 13)
    kind.set_offset(7)
    kind.set_precision(20)
    kind.set_ebias(31)
    return kind


def refused(t, mentions, *arguments):
    run = t.run("--force", "--metric", "l2", *arguments, t.path("no.h5"))
    t.check(run.code == 65 and mentions in run.err, f"expected 65 and {mentions!r}: {run}")


def test_filters(t):
    """Filters that take from the file how much they give: nbit, szip, scale-offset."""
    want = oracle.answer(numbers(), numbers(), "l2", k=3, self_job=True)
    cases = [
        ("nbit", ["nbit"], None, (cut(20), cut(1))),
        ("short", ["nbit"], short_float(), (cut(240 // 2), cut(239))),
        ("nbit-packed", ["nbit", "deflate"], short_float(), (inflated(cut(100)),)),
        ("scaled", ["scaleoffset", "shuffle", "deflate"], None, (inflated(cut(22)), inflated(cut(3)))),
        ("shuffled", ["shuffle", "scaleoffset"], None, (cut(22),)),
    ]
    if h5py.h5z.filter_avail(h5py.h5z.FILTER_SZIP):
        other = (claims(64), claims(1 << 30), claims(0), cut(2))
        cases.append(("szip", ["szip"], None, (cut(30), *other)))
        cases.append(("szip-packed", ["szip", "deflate"], None, (inflated(cut(30)),)))
    for name, filters, kind, changes in cases:
        for i, change in enumerate(changes):
            path = t.path(f"{name}{i}.h5")
            filtered(path, filters, kind or h5py.h5t.STD_I32LE)
            result = t.job("--metric", "l2", "-k", 3, path, out=f"{name}{i}-out.h5")
            t.compare(name, result, want, 3)
            replaced(path, "x", change, (CHUNK, 0))
            refused(t, "/x: rows 16 to 32 cannot be read", path)


def test_ways(t):
    """What is no plain matrix goes through HDF5, with deflate, too."""
    path = t.path("all.h5")
    rows = numbers().astype(np.float32)
    table = np.zeros(ROWS, np.dtype([("v", np.float32, (DIM,)), ("k", np.int32)]))
    table["v"] = rows
    packed = {"chunks": (CHUNK,), "compression": 4}
    with h5py.File(path, "w") as f:
        f["x"] = rows
        f.create_dataset("names", data=[f"row {i}".encode() for i in range(ROWS)], **packed)
        f.create_dataset("texts", data=[f"row {i}" for i in range(ROWS)], **packed)
        f.create_dataset("label", data=np.arange(ROWS) % 5, **packed)
        f.create_dataset("t", data=table, **packed)
        f.create_dataset("bent", data=rows, dtype=short_float(), chunks=(CHUNK, DIM), compression=4)
        for i in range(9):
            f.create_dataset(f"items/p{i}", data=rows[i : i + 1], chunks=(1, DIM), compression=4)
    ways = {
        "names": ["--base", "x", "--ids", "names"],
        "texts": ["--base", "x", "--ids", "texts"],
        "label": ["--base", "x", "--exclude-same", "label"],
        "t": ["--base", "t/v", "--ids", "names"],
        "bent": ["--base", "bent", "--ids", "names"],
        "items/p3": ["--base", "items"],
    }
    for arguments in ways.values():
        t.succeeds("--force", "--metric", "l2", *arguments, path, t.path("out.h5"))
    for name, arguments in ways.items():
        t.succeeds("--force", "--metric", "l2", *arguments, path, t.path("out.h5"))
        corner = {"bent": (CHUNK, 0), "items/p3": (0, 0)}.get(name, (CHUNK,))
        with h5py.File(path, "r") as f:
            whole = f[name].id.read_direct_chunk(corner)[1]
        replaced(path, name, inflated(cut(12)), corner)
        refused(t, "p3" if name == "items/p3" else name, *arguments, path)
        replaced(path, name, lambda _, whole=whole: bytes(whole), corner)
    t.succeeds("--force", "--base", "x", "--labels", "label", path, t.path("out.h5"))
    replaced(path, "label", inflated(cut(12)), (CHUNK,))
    refused(t, "label", "--base", "x", "--labels", "label", path)


def test_result(t):
    """show and verify of a result."""
    path = t.h5("rows.h5", {"x": numbers()})
    t.succeeds("--metric", "l2", "-k", 3, "--compress", 4, path, t.path("out.h5"))
    before = t.run("show", t.path("out.h5"), "20")
    t.check(before.code == 0, f"{before}")
    replaced(t.path("out.h5"), "distances", inflated(cut(12)), (0, 0))
    for command in (["show", t.path("out.h5"), "20"], ["verify", path, t.path("out.h5")]):
        run = t.run(*command)
        t.check(run.code == 65 and "a chunk does not hold" in run.err, f"{run}")
