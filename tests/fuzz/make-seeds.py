#!/usr/bin/env python3
"""Writes small valid inputs for every fuzz target: make-seeds.py FOLDER [engram-batch]

FOLDER/h5 is for layout, reader and column; FOLDER/TARGET for the others. Results need the command.
"""

import os
import struct
import subprocess
import sys
import zlib

import h5py
import numpy as np

LAYOUTS = ["earliest", "latest"]


def values(rows, dim, dtype="f4"):
    return (np.arange(rows * dim) % 251 - 100).reshape(rows, dim).astype(dtype)


def filters(f):
    data = values(40, 6)
    f.create_dataset("plain", data=data)
    f.create_dataset("deflate", data=data, chunks=(16, 6), compression=4)
    f.create_dataset("all", data=data, chunks=(16, 4), compression=4, shuffle=True, fletcher32=True)
    f.create_dataset("sum", data=values(9, 2, ">i8"), chunks=(4, 2), fletcher32=True)
    f.create_dataset("shuffle", data=values(10, 3, "i2"), chunks=(3, 3), shuffle=True)


def chunk_indexes(f):
    """One for each index of chunks that the library knows."""
    data = values(12, 4, "f8")
    f.create_dataset("single", data=data, chunks=(12, 4), compression=1)
    f.create_dataset("fixed", data=data, chunks=(2, 4))
    f.create_dataset("extensible", data=data, chunks=(2, 4), maxshape=(None, 4), compression=1)
    f.create_dataset("tree", data=data, chunks=(2, 2), maxshape=(None, None))
    f.create_dataset("sparse", shape=(1000, 4), dtype="f4", chunks=(10, 4), fillvalue=2.5)


def types(f):
    for name in ["f2", ">f4", "f8", "i1", "u1", ">u2", "i4", "u8"]:
        f.create_dataset("t_" + name.strip(">"), data=values(5, 3, name))
    f.create_dataset("bools", data=values(6, 9) > 0)
    bits = f.create_dataset("bits", data=np.arange(12, dtype="u1").reshape(6, 2))
    bits.attrs["nbits"] = np.int64(13)
    table = np.zeros(4, dtype=[("v", "f4", (3,)), ("name", "S5"), ("n", "i4")])
    table["name"] = [b"a", b"bb", b"ccc", b""]
    f.create_dataset("table", data=table)


def ann(f):
    f.attrs["distance"] = "angular"
    f.create_dataset("train", data=values(20, 4))
    f.create_dataset("test", data=values(5, 4))
    f.create_dataset("neighbors", data=values(5, 3, "i4"))
    f.create_dataset("distances", data=values(5, 3))


def items(f):
    for i in range(6):
        item = f.create_dataset("item%d" % i, data=values(1, 8)[0] + i)
        item.attrs["original_id"] = "protein %d" % i


def leaves(f):
    for i in range(5):
        group = f.create_group("db/%d.jpg" % i)
        group.create_dataset("global_descriptor", data=values(1, 6, "f2")[0])
        group.create_dataset("keypoints", data=values(3, 2))


def ids(f):
    f.create_dataset("x", data=values(4, 3))
    f.create_dataset("x_ids", data=["a", "bb", "", "dddd"], dtype=h5py.string_dtype())
    f.create_dataset("fixed", data=np.array([b"one", b"two", b"three", b"\xc3\xa9"]))
    f.create_dataset("numbers", data=np.arange(4, dtype="i8"))
    f.create_dataset("unsigned", data=np.arange(4, dtype=">u8"))
    f.create_dataset("mask", data=np.array([True, False, True, True]))
    f.create_dataset("chunked", data=["p", "q", "r", "s"], dtype=h5py.string_dtype(), chunks=(2,))


def anndata(f):
    obs = f.create_group("obs")
    obs.attrs["_index"] = "names"
    obs.attrs["encoding-type"] = "dataframe"
    obs.create_dataset("names", data=["c1", "c2", "c3"], dtype=h5py.string_dtype())
    kinds = obs.create_group("cell_type")
    kinds.attrs["encoding-type"] = "categorical"
    kinds.create_dataset("codes", data=np.array([0, 1, -1], "i1"))
    kinds.create_dataset("categories", data=["T", "B"], dtype=h5py.string_dtype())
    nullable = obs.create_group("nullable")
    nullable.create_dataset("values", data=np.array([5, 6, 7]))
    nullable.create_dataset("mask", data=np.array([False, True, False]))
    f.create_group("var").attrs["_index"] = "g"
    f.create_group("obsm").create_dataset("X_pca", data=values(3, 4))
    x = f.create_group("X")
    x.create_dataset("data", data=np.ones(2, "f4"))
    x.create_dataset("indices", data=np.array([0, 1], "i4"))
    x.create_dataset("indptr", data=np.array([0, 1, 1, 2], "i4"))


def links(f):
    f.create_dataset("deep/er/x", data=values(3, 2))
    f["soft"] = h5py.SoftLink("/deep/er/x")
    f["round"] = h5py.SoftLink("/round")
    f["outside"] = h5py.ExternalLink("other.h5", "/x")
    f["hard"] = f["deep/er/x"]
    f["deep/loop"] = f["deep"]


def storage(f):
    plist = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
    plist.set_layout(h5py.h5d.COMPACT)
    space = h5py.h5s.create_simple((4, 3))
    made = h5py.h5d.create(f.id, b"compact", h5py.h5t.IEEE_F32LE, space, plist)
    made.write(h5py.h5s.ALL, h5py.h5s.ALL, values(4, 3))
    f.create_dataset("x", data=values(6, 3))
    layout = h5py.VirtualLayout(shape=(6, 3), dtype="f4")
    layout[:] = h5py.VirtualSource(".", "x", shape=(6, 3))
    f.create_virtual_dataset("virtual", layout)
    f.create_dataset("raw", shape=(2, 2), dtype="f4", external=[("raw.bin", 0, 16)])


def virtual(f):
    """Mappings by rows, blocks, points, and of other files."""
    f.create_dataset("x", data=values(8, 3))
    parts = f.create_dataset("packed", data=values(8, 3), chunks=(4, 3), compression=4)
    rows = h5py.VirtualLayout(shape=(16, 3), dtype="f4")
    rows[0:16:2] = h5py.VirtualSource(".", "x", shape=(8, 3))
    rows[1:16:2] = h5py.VirtualSource(parts)
    f.create_virtual_dataset("rows", rows, fillvalue=1.5)
    columns = h5py.VirtualLayout(shape=(8, 4), dtype="f4")
    columns[:, 1:3] = h5py.VirtualSource(".", "x", shape=(8, 3))[:, 0:2]
    columns[2:4, 3] = h5py.VirtualSource("none.h5", "x", shape=(2,))
    f.create_virtual_dataset("columns", columns)
    plist = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
    chosen, source = h5py.h5s.create_simple((4, 3)), h5py.h5s.create_simple((8, 3))
    for corner in (0, 0), (2, 1):
        operator = h5py.h5s.SELECT_SET if corner == (0, 0) else h5py.h5s.SELECT_OR
        for space in chosen, source:
            space.select_hyperslab(corner, (1, 2), op=operator)
    plist.set_virtual(chosen, b".", b"x", source)
    h5py.h5d.create(f.id, b"blocks", h5py.h5t.IEEE_F32LE, h5py.h5s.create_simple((4, 3)), plist)


def packed(f):
    """Filters that take from a chunk how much it gives, and datasets without a fill value."""
    for name in "scaleoffset", "nbit", "szip", "never":
        plist = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
        plist.set_chunk((8, 4))
        if name == "scaleoffset":
            plist.set_scaleoffset(h5py.h5z.SO_INT, 0)
        elif name == "nbit":
            plist.set_filter(h5py.h5z.FILTER_NBIT, h5py.h5z.FLAG_MANDATORY, ())
        elif name == "never":
            plist.set_fill_time(h5py.h5d.FILL_TIME_NEVER)
        elif h5py.h5z.filter_avail(h5py.h5z.FILTER_SZIP):
            plist.set_szip(h5py.h5z.SZIP_NN_OPTION_MASK, 8)
        kind = h5py.h5t.STD_I32LE.copy()
        kind.set_precision(20)
        space = h5py.h5s.create_simple((24, 4))
        made = h5py.Dataset(h5py.h5d.create(f.id, name.encode(), kind, space, plist))
        made[:16] = values(16, 4, "i4")


def many(f):
    """Links and attributes in the dense form, which has heaps and trees of its own."""
    group = f.create_group("g")
    for i in range(12):
        group.create_dataset("d%02d" % i, data=np.arange(3, dtype="f4"))
    for i in range(12):
        f.attrs["a%d" % i] = i


def write_h5(folder):
    os.makedirs(folder, exist_ok=True)
    for fill in [filters, chunk_indexes, types, ann, items, leaves, ids, anndata, links, storage, virtual,
                 packed, many]:
        for version in LAYOUTS:
            name = os.path.join(folder, "%s-%s.h5" % (fill.__name__, version))
            with h5py.File(name, "w", libver=version) as f:
                fill(f)


def write_objects(folder, files):
    """Files, each with the address of one of its datasets, and mappings as they are stored."""
    os.makedirs(folder, exist_ok=True)
    everything = struct.pack("<IIQ", 3, 1, 0)
    slab = struct.pack("<IIBII8Q", 2, 2, 1, 64, 2, 0, 0, 2, 1, 4, 3, 1, 1)
    blocks = struct.pack("<IIQII4I", 2, 1, 24, 2, 1, 0, 0, 3, 2)
    points = struct.pack("<IIQII4I", 1, 1, 24, 2, 2, 0, 0, 3, 2)
    for name, pairs in {"slab": [(slab, everything)], "lists": [(blocks, points), (points, slab)]}.items():
        mapping = struct.pack("<BQ", 0, len(pairs))
        for source, target in pairs:
            mapping += b"other.h5\0x\0" + source + target
        put(folder, "mapping-" + name, bytes(9) + mapping + bytes(4))
    for name in "storage", "virtual", "many":
        for version in LAYOUTS:
            path = os.path.join(files, "%s-%s.h5" % (name, version))
            data = open(path, "rb").read()
            with h5py.File(path, "r") as f:
                for key in f:
                    address = h5py.h5o.get_info(f.id, key.encode()).addr
                    put(folder, "%s-%s-%s" % (name, version, key), struct.pack("<QB", address, 0) + data)


def write_results(folder, command):
    os.makedirs(folder, exist_ok=True)
    base = os.path.join(folder, "input.h5")
    with h5py.File(base, "w") as f:
        f.create_dataset("x", data=values(7, 5) + np.eye(7, 5, dtype="f4"))
        f.create_dataset("x_ids", data=["id%d" % i for i in range(7)], dtype=h5py.string_dtype())
        f.create_dataset("kind", data=["a", "b", "a", "", "b", "a", "a"], dtype=h5py.string_dtype())
    jobs = {
        "knn": ["-k", "3"],
        "packed": ["-k", "2", "--compress", "6", "--float64"],
        "pairs": ["--max-distance", "0.5"],
        "similar": ["--min-similarity", "0.2", "--similarity"],
        "dense": ["--all"],
        "pairwise": ["--pairwise"],
        "labels": ["--labels", "kind"],
        "components": ["--components", "--max-distance", "0.3"],
    }
    for name, options in jobs.items():
        out = os.path.join(folder, name + ".h5")
        subprocess.run(
            [command, "-q", "--force", "--threads", "1", "--base", "x", *options, base, out], check=True
        )
    os.remove(base)


def write_merges(folder, command):
    """Both parts of a sharded job; with few queries the second part is empty."""
    os.makedirs(folder, exist_ok=True)
    base = os.path.join(folder, "input.h5")
    out = os.path.join(folder, "out.h5")
    with h5py.File(base, "w") as f:
        f.create_dataset("x", data=values(7, 5) + np.eye(7, 5, dtype="f4"))
        f.create_dataset("x_ids", data=["id%d" % i for i in range(7)], dtype=h5py.string_dtype())
        f.create_dataset("kind", data=["a", "b", "a", "", "b", "a", "a"], dtype=h5py.string_dtype())
        f.create_dataset("q", data=values(1030, 5))
        f.create_dataset("q_kind", data=np.arange(1030) % 3)
        f.create_dataset("y", data=values(1030, 2))
    jobs = {
        "knn": ["--base", "x", "-k", "3"],
        "packed": ["--base", "x", "-k", "2", "--compress", "6", "--float64"],
        "labels": ["--base", "x", "--labels", "kind"],
        "pairs": ["--base", "x", "--queries", "q", "--max-distance", "0.7"],
        "many": ["--base", "x", "--queries", "q", "-k", "1", "--compress", "1"],
        "limited": ["--base", "x", "--queries", "q", "-k", "2", "--max-distance", "0.5"],
        "dense": ["--base", "x", "--queries", "q", "--all", "--similarity"],
        "pairwise": ["--base", "y", "--queries", "y", "--pairwise"],
        "components": ["--base", "y", "--components", "--max-distance", "1e-7"],
    }
    for name, options in jobs.items():
        parts = []
        for shard in "1/2", "2/2":
            subprocess.run(
                [command, "-q", "--threads", "1", "--shard", shard, *options, base, out], check=True
            )
            parts.append(os.path.join(folder, "out.shard-%s-of-2.h5" % shard[0]))
        subprocess.run([command, "merge", "-q", "--threads", "1", *parts, out], check=True)
        data = [open(path, "rb").read() for path in [*parts, out]]
        head = struct.pack("<III", 0, len(data[0]), zlib.crc32(data[2]))
        for path in [*parts, out]:
            os.remove(path)
        put(folder, name, head + data[0] + data[1])
    os.remove(base)


def put(folder, name, data):
    os.makedirs(folder, exist_ok=True)
    with open(os.path.join(folder, name), "wb") as f:
        f.write(data)


def write_options(folder):
    lines = [
        "in.h5\nout.h5",
        "-k\n5\n--metric\nl2\n--base\nin.h5::x\nin.h5\nout.h5",
        "inspect\n--base=obsm/X_pca\n--queries\n@list\na.h5",
        "--base-rows\n3:9\n--query-rows=:4\n--self\na\nb",
        "verify\n--full\na\nb",
        "verify\n--sample\n10\na\nb",
        "show\n--tsv\nout.h5\nid1\n7",
        "show\n-n3\nout.h5",
        "--max-distance\n0x1p-3\n--similarity\n--float64\n--compress\n9\na\nb",
        "--min-similarity=0.5\n--components\n--memory\n1.5g\n--threads\n2\na\nb",
        "--all\n--isa\navx2\n--filter\nprefix\n--progress\nlines\n-vq\n--stats\ns.json\na\nb",
        "--subset\np\n--exclude-same\na,b\n--labels\nl.tsv\n--ids\ni\n--leaf\nl\n--dtype\nbfloat16\na\nb",
        "--max-pairs\n100\n--tmpdir\n/tmp\n--force\n--allow-external\n--\n-a\n-b",
        "merge\na\nb\nc",
        "--help",
        "--version",
    ]
    for i, line in enumerate(lines):
        put(folder, "%02d" % i, line.encode())


def write_text(folder):
    texts = [
        b"\x00a.h5::x\n# comment\n  b.h5 \r\n\n/abs/c.h5\n",
        b"\x00\xef\xbb\xbfa.h5\n",
        b"\x01a\tx\nb\ty\r\n\nunknown\tz\n",
        b"\x01\xef\xbb\xbfa\tlabel one\nb\t\nwide\tx",
        b"\x02/proc/self/exe::a::b",
        b"\x02::",
        b"\x03123",
        b"\x031.5e3",
        b"\x03512M",
        b"\x033:17",
        b"\x03-0x1.8p+4",
        b"\x04plain \x1b[2J \xe2\x80\xae\xc3\xa9\xff\n",
    ]
    for i, text in enumerate(texts):
        put(folder, "%02d" % i, text)


def write_codec(folder):
    data = bytes(range(64)) * 4
    elements = {1: 0, 2: 1, 4: 2, 8: 3}
    for element, code in elements.items():
        count = len(data) // element - 1
        for mode in range(3):
            for choice in range(8):
                head = struct.pack("<BBBHBBB", choice, choice, code, count, 2, mode, 0)
                put(folder, "%d-%d-%d" % (element, mode, choice), head + data)
        head = struct.pack("<BBBHBBB", 1, 2, code, count, 0, 0, 0)
        put(folder, "deflate-%d" % element, head + zlib.compress(data))


def write_checkpoints(folder):
    record = lambda kind, row, size: struct.pack("<BBHH", kind, row, size, kind * 257)
    plain = bytes([5]) + b"".join(record(i, i & 3, 100 * i) for i in range(5))
    put(folder, "plain", plain)
    put(folder, "pieces", bytes([3]) + record(8, 0, 3000) + record(9, 1, 64) + record(0xF9, 2, 150))
    put(folder, "replaced", bytes([4]) + record(0, 0, 9) * 2 + record(3, 0, 70) * 2)
    for kind in range(12):
        put(folder, "damage%d" % kind, plain + struct.pack("<BHBHH", kind, 4300, 0, 40, 999))


def write_restarts(folder):
    for kind in range(8):
        for part in range(4):
            put(folder, "%d-%d" % (kind, part), bytes([kind, part, 0, 0]))
            put(folder, "%d-%d-repaired" % (kind, part), bytes([kind, part, 1, 0]))
        for change in range(6):
            for record in range(3):
                what = struct.pack("<BBHBB", change, record, 9 * record, 0, 1)
                put(folder, "%d-change%d%d" % (kind, change, record), bytes([kind, 2, 1, 0]) + what)


def write_partials(folder):
    def partial(counts, hits, metric=2, k=3):
        words = [0x4C41495452415045, 1, metric, 1024, len(counts), k, *counts]
        body = struct.pack("<%dQ" % len(words), *words)
        body += b"".join(struct.pack("<dq", score, row) for score, row in hits)
        return body + bytes(8)

    put(folder, "empty", partial([], []))
    put(folder, "some", partial([2, 0, 1], [(0.5, 7), (0.5, 9), (1.0, 3)]))
    put(folder, "cosine", partial([3], [(1.0, 1), (0.5, 0), (-1.0, 5)], metric=0))
    put(folder, "unlimited", partial([1, 1], [(2.0, 1), (3.0, 2)], metric=4, k=2**63 - 1))


def main():
    folder = sys.argv[1]
    write_h5(os.path.join(folder, "h5"))
    if len(sys.argv) > 2:
        write_results(os.path.join(folder, "result"), os.path.abspath(sys.argv[2]))
        write_merges(os.path.join(folder, "merge"), os.path.abspath(sys.argv[2]))
    write_objects(os.path.join(folder, "object"), os.path.join(folder, "h5"))
    write_options(os.path.join(folder, "options"))
    write_text(os.path.join(folder, "text"))
    write_codec(os.path.join(folder, "codec"))
    write_checkpoints(os.path.join(folder, "checkpoint"))
    write_partials(os.path.join(folder, "partial"))
    write_restarts(os.path.join(folder, "restart"))


if __name__ == "__main__":
    main()
