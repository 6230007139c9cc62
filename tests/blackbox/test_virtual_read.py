"""Virtual datasets whose mappings are no plain blocks of rows: read piece by piece, in any order, they
are what h5py says they are. A damaged source is an error."""

import zlib

import h5py
import numpy as np


def mapped(t, name, build, shape, fill=None, kind="f4"):
    """A file with a virtual dataset, and beside it, in another file, the same rows stored."""
    path = t.path(name)
    with h5py.File(path, "w", libver="latest") as f:
        layout = h5py.VirtualLayout(shape=shape, dtype=kind)
        build(f, layout)
        f.create_virtual_dataset("v", layout, fillvalue=fill)
    with h5py.File(path, "r") as f:
        rows = f["v"][...]
    t.h5(f"plain-{name}", {"v": rows})
    return path, t.path(f"plain-{name}")


def answers(t, path, *more):
    t.succeeds("--force", "-k", "5", "--metric", "l2", "--base", "v", *more, path, t.path("out.h5"))
    with h5py.File(t.path("out.h5"), "r") as f:
        return f["neighbors"][...], f["distances"][...]


def same(t, path, plain):
    for more in ((), ("--base-rows", "7:33"), ("--memory", "40M"), ("--shard", "2/3")):
        if more[:1] == ("--shard",):
            run = [t.run("--force", "-q", "-k", "5", "--metric", "l2", "--base", "v", *more, file,
                         t.path(f"part-{i}.h5")) for i, file in enumerate((path, plain))]
            t.check(run[0].code == run[1].code == 0, f"{run}")
            continue
        got = answers(t, path, *more)
        want = answers(t, plain, *more)
        t.check(all(np.array_equal(g, w) for g, w in zip(got, want)), f"{path} {more}: differs")


def test_odd_mappings(t):
    rows = t.gaussian(60, 8)

    def interleaved(f, layout):
        f["a"], f["b"] = rows[0::2], rows[1::2]
        layout[0::2] = h5py.VirtualSource(f["a"])
        layout[1::2] = h5py.VirtualSource(f["b"])

    def columns(f, layout):
        f["a"] = rows[:, :3].astype("f8")
        f["b"] = rows[:, 3:]
        layout[:, :3] = h5py.VirtualSource(f["a"])
        layout[:, 3:] = h5py.VirtualSource(f["b"])

    def picked(f, layout):
        f.create_dataset("a", data=t.gaussian(400, 20), chunks=(32, 7), compression=4, shuffle=True)
        source = h5py.VirtualSource(f["a"])
        layout[10:30] = source[5:105:5, 3:11]
        layout[40:60, 2:6] = source[300:320, 0:8:2]

    def over(f, layout):
        f["a"], f["b"] = rows, -rows
        layout[:] = h5py.VirtualSource(f["a"])
        layout[20:40, 4:] = h5py.VirtualSource(f["b"])[20:40, :4]

    def flat(f, layout):
        f["a"] = t.gaussian(480, 1).reshape(480)
        source = h5py.VirtualSource(f["a"])
        for i in range(0, 60, 10):
            layout[i : i + 10] = source[8 * i : 8 * i + 80]

    for name, build in (("interleaved", interleaved), ("columns", columns), ("picked", picked),
                        ("over", over), ("flat", flat)):
        same(t, *mapped(t, f"{name}.h5", build, (60, 8), fill=0.25 if name == "picked" else None))


def test_short_chunk_in_a_source(t):
    """Damage that HDF5 does not see: a chunk that unpacks to too little, not the first one."""
    rows = t.gaussian(64, 6)
    with h5py.File(t.path("far.h5"), "w") as f:
        f.create_dataset("a", data=rows, chunks=(16, 6), compression=4)

    def build(_, layout):
        layout[:] = h5py.VirtualSource("far.h5", "a", shape=(64, 6))

    path, plain = mapped(t, "near.h5", build, (64, 6))
    outside = ("--allow-external",)
    want = answers(t, plain)
    t.check(all(np.array_equal(g, w) for g, w in zip(answers(t, path, *outside), want)), "differs")
    for row in (0, 16, 48):
        with h5py.File(t.path("far.h5"), "r+") as f:
            dataset = f["a"].id
            mask, stored = dataset.read_direct_chunk((row, 0))
            short = zlib.compress(zlib.decompress(bytes(stored))[:20])
            dataset.write_direct_chunk((row, 0), short, mask)
        run = t.run("--force", "--base", "v", *outside, path, t.path("no.h5"))
        t.check(run.code == 65 and "chunk does not hold what its shape says" in run.err, f"{row}: {run}")
        with h5py.File(t.path("far.h5"), "r+") as f:
            f["a"].id.write_direct_chunk((row, 0), bytes(stored), mask)
    t.check(all(np.array_equal(g, w) for g, w in zip(answers(t, path, *outside), want)), "differs")
