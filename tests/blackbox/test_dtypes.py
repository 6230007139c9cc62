"""Element types in either byte order, and how HDF5 may store them."""

import itertools

import h5py
import numpy as np

import oracle
import support

TYPES = [
    order + kind
    for kind in ("f2", "f4", "f8", "i2", "u2", "i4", "u4", "i8", "u8")
    for order in "<>"
] + ["|i1", "|u1"]


def values(t, rows, dim, dtype):
    dtype = np.dtype(dtype)
    if dtype.kind == "f":
        return t.random.normal(size=(rows, dim)).astype(dtype)
    info = np.iinfo(dtype)
    low, high = max(info.min, -(2**53)), min(info.max, 2**53)
    return t.random.integers(low, high, size=(rows, dim), endpoint=True).astype(dtype)


def test_every_type(t):
    for number, dtype in enumerate(TYPES):
        base = values(t, 50, 11, dtype)
        queries = values(t, 8, 11, dtype)
        path = t.two_sets(base, queries)
        t.exact(dtype, [path], queries, base, oracle.METRICS[number % len(oracle.METRICS)])
        t.exact(dtype, [path], queries, base, oracle.METRICS[(number + 1) % len(oracle.METRICS)])


def test_small_integers_every_metric(t):
    for dtype in ("|i1", "|u1", "<i2", ">u2"):
        base = values(t, 200, 40, dtype)
        path = t.h5("one.h5", {"x": base})
        for metric in oracle.METRICS:
            t.exact(dtype, [path], base, base, metric, self_job=True)


def test_integers_not_exact_in_float32(t):
    """Neighbouring int32 and uint32 values that float32 would round together."""
    for dtype, start in (("<i4", 2**31 - 600), ("<u4", 2**32 - 600), ("<i8", 2**40)):
        base = (start + t.random.integers(0, 500, size=(120, 3))).astype(dtype)
        path = t.h5("one.h5", {"x": base})
        for metric in oracle.METRICS:
            t.exact(dtype, [path], base, base, metric, self_job=True)


def test_two_types_in_one_job(t):
    kinds = ["<f2", "<f4", ">f8", "|i1", "<u2", ">i4", "<i8"]
    pairs = list(itertools.permutations(kinds, 2))
    for index in t.random.permutation(len(pairs))[:14]:
        one, two = pairs[index]
        base = values(t, 40, 9, one)
        queries = values(t, 7, 9, two)
        path = t.two_sets(base, queries)
        metric = oracle.METRICS[int(t.random.integers(len(oracle.METRICS)))]
        t.exact(f"{one} base, {two} queries", [path], queries, base, metric)


def test_float32_base_float64_queries_near_ties(t):
    """The queries must not be rounded to the type of the base."""
    base = np.repeat(t.gaussian(1, 4), 30, axis=0)
    base[:, 0] += np.arange(30, dtype=np.float32) * np.float32(2.0**-20)
    queries = base[:9].astype(np.float64) * (1 + 2.0**-40)
    path = t.two_sets(base, queries)
    for metric in oracle.METRICS:
        t.exact("near ties", [path], queries, base, metric)


def test_bfloat16(t):
    """A 16-bit float with the exponent of float32, as HDF5 files carry it."""
    kind = h5py.h5t.IEEE_F32LE.copy()
    kind.set_fields(15, 7, 8, 0, 7)
    kind.set_size(2)
    kind.set_ebias(127)
    wide = t.gaussian(40, 10)
    path = t.path("bf16.h5")
    with h5py.File(path, "w") as f:
        space = h5py.h5s.create_simple(wide.shape)
        raw = h5py.h5d.create(f.id, b"x", kind, space)
        raw.write(h5py.h5s.ALL, h5py.h5s.ALL, wide)
        rows = np.empty_like(wide)
        raw.read(h5py.h5s.ALL, h5py.h5s.ALL, rows)
    t.check((rows != wide).any(), "test data were not rounded")
    for metric in oracle.METRICS:
        t.exact("bfloat16", [path], rows, rows, metric, self_job=True)


STORAGE = [
    {},
    {"chunks": (16, 24)},
    {"chunks": (7, 5)},
    {"chunks": (300, 24), "maxshape": (None, 24)},
    {"chunks": (16, 24), "compression": "gzip", "compression_opts": 1},
    {"chunks": (16, 24), "compression": "gzip", "compression_opts": 9, "shuffle": True},
    {"chunks": (1, 24), "compression": "gzip"},
    {"chunks": (31, 11), "compression": "gzip", "shuffle": True, "fletcher32": True},
    {"chunks": (16, 24), "fletcher32": True},
    {"chunks": (16, 24), "shuffle": True},
]


def test_storage(t):
    for dtype in ("<f4", ">f8", "<i2"):
        rows = values(t, 211, 24, dtype)
        for storage in STORAGE:
            path = t.h5("one.h5", {"x": rows}, **storage)
            metric = oracle.METRICS[int(t.random.integers(len(oracle.METRICS)))]
            t.exact(f"{dtype} {storage}", [path], rows, rows, metric, self_job=True)


def test_scaleoffset(t):
    rows = t.random.integers(0, 100, size=(90, 6)).astype("<i4")
    path = t.h5("one.h5", {"x": rows}, chunks=(20, 6), scaleoffset=0)
    t.exact("scaleoffset", [path], rows, rows, "l2", self_job=True)


def test_compact(t):
    rows = t.gaussian(30, 8)
    path = t.path("compact.h5")
    with h5py.File(path, "w") as f:
        create = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
        create.set_layout(h5py.h5d.COMPACT)
        raw = h5py.h5d.create(
            f.id, b"x", h5py.h5t.IEEE_F32LE, h5py.h5s.create_simple(rows.shape), create
        )
        raw.write(h5py.h5s.ALL, h5py.h5s.ALL, rows)
    for metric in oracle.METRICS:
        t.exact("compact", [path], rows, rows, metric, self_job=True)


def test_never_written_chunks_and_fill_values(t):
    path = t.path("sparse.h5")
    with h5py.File(path, "w") as f:
        x = f.create_dataset("x", (70, 6), "<f4", chunks=(8, 6), fillvalue=0.25)
        x[16:40] = t.gaussian(24, 6)
        rows = x[:]
    for metric in oracle.METRICS:
        t.exact("fill value", [path], rows, rows, metric, self_job=True)
    path = t.path("never.h5")
    with h5py.File(path, "w") as f:
        f.create_dataset("x", (20, 4), "<f8")
    rows = np.zeros((20, 4))
    t.exact("never written", [path], rows, rows, "l2", self_job=True)


def never_filled(f, name, written, shape, chunks):
    """A dataset of which only the first rows are written, and whose fill value is not to be used."""
    create = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
    create.set_fill_time(h5py.h5d.FILL_TIME_NEVER)
    if chunks:
        create.set_chunk(chunks)
    kind = h5py.h5t.py_create(written.dtype, logical=True)
    made = h5py.h5d.create(f.id, name.encode(), kind, h5py.h5s.create_simple(shape), create)
    if len(written) > 0:
        h5py.Dataset(made)[: len(written)] = written


def never_and_zeros(t, written, chunked):
    """Two files with the same values: in one of them zeros were never written."""
    rows = t.gaussian(64, 6)
    table = np.zeros(64, np.dtype([("v", np.float32, (6,)), ("k", np.int32)]))
    table["v"] = rows
    kept = {
        "x": rows,
        "d": rows.astype(np.float64),
        "t": table,
        "group": np.arange(64) % 5,
        "subset": np.arange(64)[::-1],
        "names": np.array([f"row {i}".encode() for i in range(64)]),
    }
    paths = t.path("never.h5"), t.path("zeros.h5")
    with h5py.File(paths[0], "w") as never, h5py.File(paths[1], "w") as zeros:
        never["full"] = zeros["full"] = rows
        for name, data in kept.items():
            chunks = (16, *data.shape[1:]) if chunked else None
            never_filled(never, name, data[:written], data.shape, chunks)
            zeros[name] = np.concatenate([data[:written], np.zeros_like(data[written:])])
    return paths


def test_never_filled(t):
    """What was never written and is not to be filled is zero, not what lies in memory."""
    ways = {
        "x": ["--base", "x"],
        "d": ["--base", "d"],
        "t": ["--base", "t/v"],
        "group": ["--base", "full", "--exclude-same", "group"],
        "subset": ["--base", "full", "--subset", "subset"],
        "names": ["--base", "full", "--ids", "names"],
    }
    for written, chunked in ((0, False), (0, True), (32, True)):
        paths = never_and_zeros(t, written, chunked)
        for name, arguments in ways.items():
            want = None
            for path, fill in itertools.product(paths, ("170", "85")):
                env = {"MALLOC_PERTURB_": fill}
                result = t.job("--metric", "l2", "-k", 3, *arguments, path, env=env)
                got = [result.neighbors, result.distances, result.query_ids]
                want = want or [part for part in got if part is not None]
                got = [part for part in got if part is not None]
                same = len(got) == len(want) and all(map(support.same_bits, got, want))
                t.check(same, f"{name}: not as with zeros, {written} rows written")


def test_chunk_with_skipped_filter(t):
    """filter_mask bits say that a chunk was stored without deflate."""
    rows = t.gaussian(64, 8)
    path = t.path("one.h5")
    with h5py.File(path, "w") as f:
        x = f.create_dataset("x", rows.shape, rows.dtype, chunks=(16, 8), compression="gzip",
                             shuffle=True)
        # A chunk that is there already would keep its mask if it happened to have this size.
        x.id.write_direct_chunk((16, 0), rows[16:32].tobytes(), filter_mask=0b11)
        x[:16] = rows[:16]
        x[32:] = rows[32:]
    with h5py.File(path) as f:
        t.check((f["x"][:] == rows).all(), "test data are wrong")
    t.exact("filter mask", [path], rows, rows, "l2", self_job=True)


def test_lzf_plugin_missing(t):
    """h5py bundles LZF for itself; elsewhere it is a plugin."""
    rows = np.round(t.gaussian(64, 8))  # what LZF cannot shrink is stored without it
    path = t.h5("lzf.h5", {"x": rows}, chunks=(16, 8), compression="lzf")
    none = {"HDF5_PLUGIN_PATH": t.path("no-plugins")}
    t.fails(69, ["lzf.h5", "lzf"], path, t.path("out.h5"), env=none)


def test_lzf_plugin_missing_for_ids_and_columns(t):
    """What AnnData compresses with the vectors."""
    rows = t.gaussian(64, 8)
    path = t.h5("lzf.h5", {"x": rows})
    with h5py.File(path, "r+") as f:
        names = np.array([b"row%08d" % i for i in range(64)])
        f.create_dataset("ids", data=names, chunks=(16,), compression="lzf")
        f.create_dataset("group", data=np.arange(64) // 8, chunks=(16,), compression="lzf")
    none = {"HDF5_PLUGIN_PATH": t.path("no-plugins")}
    t.fails(69, ["/ids", "32000", "lzf"], path, t.path("out.h5"), env=none)
    with h5py.File(path, "r+") as f:
        del f["ids"]
    for option in ("--exclude-same", "--labels", "--subset"):
        t.fails(69, ["group", "32000", "lzf"], option, "group", path, t.path("out.h5"), env=none)


def test_damaged_chunk(t):
    rows = t.gaussian(64, 8)
    path = t.h5("bad.h5", {"x": rows}, chunks=(16, 8), fletcher32=True)
    with h5py.File(path, "r") as f:
        info = f["x"].id.get_chunk_info(2)
    with open(path, "r+b") as f:
        f.seek(info.byte_offset + 9)
        byte = f.read(1)
        f.seek(info.byte_offset + 9)
        f.write(bytes([byte[0] ^ 0x40]))
    t.fails((65, 74), ["bad.h5", "x"], path, t.path("out.h5"))
    path = t.h5("bad-gzip.h5", {"x": rows}, chunks=(16, 8), compression="gzip")
    with h5py.File(path, "r") as f:
        info = f["x"].id.get_chunk_info(1)
    with open(path, "r+b") as f:
        f.seek(info.byte_offset)
        f.write(b"\xff" * info.size)
    t.fails((65, 74), ["bad-gzip.h5", "x"], path, t.path("out.h5"))


def test_truncated_files(t):
    """Cut at many places: an error, never a crash, a hang or an answer."""
    rows = t.gaussian(64, 8)
    whole = t.h5("whole.h5", {"x": rows}, chunks=(16, 8), compression="gzip")
    with open(whole, "rb") as f:
        content = f.read()
    for part in range(1, 10):
        size = len(content) * part // 10
        cut = t.path("cut.h5")
        with open(cut, "wb") as f:
            f.write(content[:size])
        t.fails((65, 74), "cut.h5", cut, t.path("out.h5"))
