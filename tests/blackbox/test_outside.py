"""Virtual datasets, external files, filters that HDF5 does not have."""

import os
from pathlib import Path

import h5py
import numpy as np


def virtual(t, name, pieces, columns, dtype="f4"):
    """A virtual dataset of all rows of these (file name or ".", dataset, rows)."""
    layout = h5py.VirtualLayout(shape=(sum(p[2] for p in pieces), columns), dtype=dtype)
    first = 0
    for file, dataset, rows in pieces:
        layout[first : first + rows] = h5py.VirtualSource(
            file, dataset, shape=(rows, columns), dtype=dtype
        )
        first += rows
    with h5py.File(t.path(name), "a", libver="latest") as f:
        f.create_virtual_dataset("all", layout, fillvalue=-7)
    return t.path(name)


def test_virtual_inside(t):
    """Sources in the file itself need no permission."""
    one, two = t.gaussian(20, 5), t.gaussian(13, 5)
    path = t.h5("in.h5", {"one": (one, {"compression": "gzip"}), "two": two})
    virtual(t, "in.h5", [(".", "one", 20), (".", "two", 13)], 5)
    rows = np.concatenate([one, two])
    t.exact("inside", ["--base", "all", path], rows, rows, "l2", self_job=True)
    t.exact("rows", ["--base", "all", path], rows, rows, "ip", k=3, base_rows=(15, 30),
            self_job=True)


def test_virtual_outside(t):
    one, two = t.gaussian(20, 5), t.gaussian(13, 5)
    t.h5("one.h5", {"v": one})
    folder = Path(t.path("deep"))
    folder.mkdir()
    os.rename(t.h5("two.h5", {"v": two}, chunks=(4, 5), compression="gzip"), folder / "two.h5")
    path = virtual(t, "all.h5", [("one.h5", "v", 20), ("deep/two.h5", "v", 13)], 5)
    t.fails(64, ["--allow-external", "one.h5"], path, t.path("out.h5"))
    rows = np.concatenate([one, two])
    t.exact("outside", ["--allow-external", path], rows, rows, "l2", self_job=True)
    run = t.run("verify", path, t.path("out.h5"))
    t.check(run.code == 64, f"verify without permission: {run}")
    run = t.run("verify", "--allow-external", path, t.path("out.h5"))
    t.check(run.code == 0, f"verify: {run}")
    os.unlink(folder / "two.h5")
    t.fails(66, ["two.h5"], "--allow-external", path, t.path("o.h5"))
    t.h5("deep/two.h5", {"w": two})
    t.fails(66, ["two.h5", "v"], "--allow-external", path, t.path("o.h5"))
    t.h5("deep/two.h5", {"v": two[:9]})
    t.fails(65, ["two.h5", "another size"], "--allow-external", path, t.path("o.h5"))


def test_virtual_of_virtual(t):
    rows = t.gaussian(20, 5)
    t.h5("one.h5", {"v": rows})
    virtual(t, "two.h5", [("one.h5", "v", 20)], 5)
    path = virtual(t, "three.h5", [("two.h5", "all", 20)], 5)
    t.fails(64, ["virtual", "two.h5"], "--allow-external", path, t.path("out.h5"))


def test_virtual_by_pattern(t):
    rows = t.gaussian(8, 5)
    t.h5("p0.h5", {"v": rows})
    path = t.path("all.h5")
    with h5py.File(path, "w", libver="latest") as f:
        without_end = h5py.h5s.UNLIMITED
        target = h5py.h5s.create_simple((8, 5), (without_end, 5))
        target.select_hyperslab((0, 0), (without_end, 1), stride=(8, 1), block=(8, 5))
        origin = h5py.h5s.create_simple((8, 5))
        creation = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
        creation.set_virtual(target, b"p%b.h5", b"v", origin)
        space = h5py.h5s.create_simple((8, 5), (without_end, 5))
        h5py.h5d.create(f.id, b"all", h5py.h5t.IEEE_F32LE, space, creation)
    t.fails(64, ["pattern"], "--allow-external", path, t.path("out.h5"))


def test_external(t):
    rows = t.gaussian(20, 5)
    folder = Path(t.path("deep"))
    folder.mkdir()
    (folder / "a.raw").write_bytes(b"\0" * 12 + rows[:8].tobytes() + b"more")
    (folder / "b.raw").write_bytes(rows[8:].tobytes())
    path = str(folder / "ext.h5")
    with h5py.File(path, "w") as f:
        f.create_dataset("v", (20, 5), "f4",
                         external=[("a.raw", 12, 160), ("b.raw", 0, h5py.h5f.UNLIMITED)])
    t.fails(64, ["--allow-external", "a.raw"], path, t.path("out.h5"))
    t.exact("beside the file", ["--allow-external", path], rows, rows, "l2", self_job=True)
    for name in ("a.raw", "b.raw"):
        os.rename(folder / name, t.path(name))
    t.exact("in the working folder", ["--allow-external", path], rows, rows, "ip", self_job=True)
    Path(t.path("b.raw")).write_bytes(rows[8:].tobytes()[:-1])
    t.fails(65, ["b.raw"], "--allow-external", path, t.path("o.h5"))
    os.unlink(t.path("b.raw"))
    t.fails(66, ["b.raw"], "--allow-external", path, t.path("o.h5"))


def test_missing_filters(t):
    """69 names the filter, its number, and where HDF5 looks for plugins."""
    rows = t.gaussian(20, 5)
    for number, name in ((32004, "lz4"), (32008, "bitshuffle"), (32015, "zstd"), (32000, "lzf")):
        if number == 32000:
            path = t.h5("lzf.h5", {"v": rows}, chunks=(5, 5), compression="lzf")
        else:
            path = t.path("filter.h5")
            with h5py.File(path, "w") as f:
                creation = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
                creation.set_chunk((5, 5))
                creation.set_filter(number, h5py.h5z.FLAG_OPTIONAL, ())
                space = h5py.h5s.create_simple((20, 5))
                data = h5py.h5d.create(f.id, b"v", h5py.h5t.IEEE_F32LE, space, creation)
                for chunk in range(4):
                    data.write_direct_chunk((5 * chunk, 0), rows[5 * chunk :][:5].tobytes())
        if number == 32000 or h5py.h5z.filter_avail(number):
            run = t.run("--force", "--metric", "l2", path, t.path("out.h5"))
            t.check(run.code in (0, 65, 69), f"{name}: {run}")
            t.check(run.code != 69 or ("32000" in run.err and "lzf" in run.err), f"{name}: {run}")
            continue
        t.fails(69, [name, str(number), "HDF5_PLUGIN_PATH"], path, t.path("o.h5"))
