"""Bits in all forms files hold them, and numbers kept as raw bits."""

import h5py
import numpy as np

import oracle
from support import kernel_sets


def bits(t, rows, dim):
    return t.random.integers(0, 2, size=(rows, dim)).astype(bool)


def packed(t, name, sets, distance=None, **storage):
    """A file of rows packed by numpy, with the attribute that says how many bits there are."""
    path = t.path(name)
    with h5py.File(path, "w") as f:
        for key, array in sets.items():
            data = f.create_dataset(key, data=np.packbits(array, axis=1), **storage)
            data.attrs["nbits"] = array.shape[1]
        if distance:
            f.attrs["distance"] = distance
    return path


def test_forms(t):
    """bool, 0/1 of every number type and packed bits give the same answers."""
    for dim in (1, 7, 8, 9, 64, 130):
        base, queries = bits(t, 40, dim), bits(t, 6, dim)
        base[3], queries[2] = False, False
        dtype = ["?", "<i4", "u1", "f4", ">f8", "f2"][dim % 6]
        for metric in oracle.BIT_METRICS:
            path = t.two_sets(base.astype(dtype), queries, metric=metric)
            t.exact(f"{dtype}, {dim} bits", [path], queries, base, metric)
            for storage in ({}, {"chunks": (5, 1), "compression": "gzip", "shuffle": True}):
                path = packed(t, "packed.h5", {"train": base, "test": queries}, **storage)
                t.exact(f"packed, {dim} bits", [path], queries, base, metric)


def test_default_metric(t):
    base = bits(t, 40, 20)
    for label, path in (
        ("bool", t.h5("bool.h5", {"x": base})),
        ("packed", packed(t, "packed.h5", {"x": base})),
    ):
        run = t.succeeds("--force", path, t.path("out.h5"))
        t.check("hamming (bits)" in run.err, f"{label}: {run}")
        t.exact(label, [path], base, base, "hamming", self_job=True)
    path = t.h5("ann.h5", {"train": base, "test": base[:4]}, {"distance": "jaccard"})
    result = t.job(path)
    t.compare("attribute", result, oracle.answer(base[:4], base, "jaccard", k=10), 10)


def test_widened(t):
    """Other metrics take bits for the numbers 0 and 1."""
    base = bits(t, 40, 21)
    wide = base.astype(np.float32)
    for metric in ("cosine", "ip", "l2", "sqeuclidean"):
        t.exact("bool", [t.h5("bool.h5", {"x": base})], wide, wide, metric, self_job=True)
        t.exact("packed", [packed(t, "packed.h5", {"x": base})], wide, wide, metric,
                self_job=True)


def test_padding_is_no_bit(t):
    """Bits behind the last one may hold anything."""
    base = bits(t, 30, 13)
    path = packed(t, "packed.h5", {"x": base})
    with h5py.File(path, "a") as f:
        f["x"][:, 1] |= 7
    for metric in oracle.BIT_METRICS:
        t.exact("padding", [path], base, base, metric, self_job=True)


def test_no_bits(t):
    rows = np.zeros((20, 5), np.uint8)
    rows[7, 3] = 2
    t.fails(65, ["row 7", "column 3", "2"], "--metric", "hamming", t.h5("n.h5", {"x": rows}),
            t.path("out.h5"))
    floats = t.gaussian(20, 5)
    floats[0] = 1
    t.fails(65, ["row 1", "column 0", "0 nor 1"], "--metric", "jaccard",
            t.h5("f.h5", {"x": floats}), t.path("out.h5"))


def test_nbits_beside_other_rows(t):
    """The attribute means packed bits only where so many fill the rows: codes keep being numbers."""
    codes = t.random.integers(0, 256, size=(40, 8)).astype(np.uint8)
    path = t.h5("codes.h5", {"x": codes})
    with h5py.File(path, "a") as f:
        f["x"].attrs["nbits"] = 8
    result = t.job("-k", 3, path)
    t.compare("codes", result, oracle.answer(codes, codes, "cosine", k=3, self_job=True), 3)
    t.exact("codes as bits", ["--dtype", "bits", path], np.unpackbits(codes, axis=1),
            np.unpackbits(codes, axis=1), "hamming", self_job=True)


def test_nbits_that_do_not_fit(t):
    """Codes of a byte have eight bits at most: a larger number is a mistake, and not searched."""
    packed_bytes = t.random.integers(0, 256, size=(40, 5)).astype(np.uint8)
    path = t.h5("misfit.h5", {"x": packed_bytes})
    for count in (32, 41):
        with h5py.File(path, "a") as f:
            f["x"].attrs["nbits"] = count
        t.fails(64, ["/x", f"nbits {count} does not fit"], path, t.path("out.h5"))
        t.fails(65, ["/x", f"nbits {count} does not fit"], "--base", "x", path, t.path("out.h5"))
        wide = np.unpackbits(packed_bytes, axis=1)
        t.exact("in spite of it", ["--base", "x", "--dtype", "bits", path], wide, wide, "hamming",
                self_job=True)


def test_many_bits_in_parts(t):
    one, two = bits(t, 1500, 77), bits(t, 700, 77)
    both = np.concatenate([one, two])
    paths = [packed(t, "one.h5", {"x": one}), t.h5("two.h5", {"x": two.astype(np.float64)})]
    question = t.h5("q.h5", {"q": one[:9]})
    options = ["--base", paths[0], "--base", paths[1], question]
    for metric in oracle.BIT_METRICS:
        t.exact("parts", options, one[:9], both, metric, base_rows=(20, 2000))


def test_enumerations(t):
    """Two values 0 and 1 are bool under any names; others are their numbers."""
    colour = h5py.enum_dtype({"RED": 0, "GREEN": 1, "BLUE": 2}, basetype=">u2")
    rows = t.random.integers(0, 3, size=(30, 6))
    path = t.path("enum.h5")
    for storage in ({}, {"chunks": (7, 4), "compression": "gzip"}):
        with h5py.File(path, "w") as f:
            f.create_dataset("x", rows.shape, dtype=colour, **storage)[...] = rows
        wide = rows.astype(np.float32)
        t.exact("colours", [path], wide, wide, "l2", self_job=True)
    switch = h5py.enum_dtype({"ON": 1, "OFF": 0}, basetype="i4")
    with h5py.File(path, "w") as f:
        f.create_dataset("x", rows.shape, dtype=switch)[...] = rows % 2
    t.exact("switches", [path], rows % 2, rows % 2, "hamming", self_job=True)


def test_raw_bits(t):
    """bfloat16 and float16 that were stored as the integers of their bits."""
    wide = t.gaussian(40, 10)
    brain = (wide.view(np.uint32) >> 16).astype(np.uint16)
    value = (brain.astype(np.uint32) << 16).view(np.float32)
    for order in "<>":
        for storage in ({}, {"chunks": (9, 4), "shuffle": True, "compression": "gzip"}):
            path = t.h5("raw.h5", {"x": (brain.astype(order + "u2"), storage)})
            for name in ("bfloat16", "bf16"):
                t.exact(name, ["--dtype", name, path], value, value, "l2", self_job=True)
    half = wide.astype(np.float16)
    path = t.h5("half.h5", {"x": half.view(np.int16)})
    t.exact("f16", ["--dtype", "f16", path], half, half, "ip", self_job=True)
    bytes_ = h5py.h5t.create(h5py.h5t.OPAQUE, 2)
    bytes_.set_tag(b"bfloat16")
    with h5py.File(t.path("opaque.h5"), "w") as f:
        space = h5py.h5s.create_simple(brain.shape)
        data = h5py.h5d.create(f.id, b"x", bytes_, space)
        data.write(h5py.h5s.ALL, h5py.h5s.ALL, brain.view("V2"), mtype=bytes_)
    t.exact("opaque", ["--base", "x", "--dtype", "bf16", t.path("opaque.h5")], value, value, "l2",
            self_job=True)


def test_dtype_refused(t):
    path = t.h5("x.h5", {"x": t.gaussian(9, 4)})
    t.fails(64, ["--dtype", "bfloat17"], "--dtype", "bfloat17", path, t.path("out.h5"))
    t.fails(65, ["--dtype", "float32"], "--dtype", "bf16", path, t.path("out.h5"))
    t.exact("the type that it has", ["--dtype", "f32", path], *[h5py.File(path, "r")["x"][()]] * 2,
            "l2", self_job=True)


def test_small_integers_of_many_dimensions(t):
    """Sums of products of int8 pass 2^31 and stay exact: against integers."""
    dim = 200_000
    base = t.random.choice(np.array([-128, 127, -127, 0], np.int8), size=(12, dim))
    base[4], base[5] = -128, 127
    queries = np.concatenate([base[4:7], t.random.choice(np.array([-128, 127], np.int8), (3, dim))])
    path = t.two_sets(base, queries)
    wide, asked = base.astype(np.int64), queries.astype(np.int64)
    wanted = {
        "ip": -(asked @ wide.T),
        "sqeuclidean": ((asked[:, None] - wide[None]) ** 2).sum(axis=2),
        "l1": abs(asked[:, None] - wide[None]).sum(axis=2),
    }
    t.check(abs(wanted["ip"]).max() > 2**31, "the test is too easy")
    for metric, keys in wanted.items():
        result = t.job("--metric", metric, "-k", 12, "--float64", path)
        order = np.lexsort((np.broadcast_to(np.arange(12), keys.shape), keys), axis=1)
        t.check((result.neighbors == order).all(), f"{metric}: neighbours")
        exact = np.take_along_axis(keys, order, axis=1)
        t.check((result.distances.astype(np.float64) == exact.astype(np.float64)).all(),
                f"{metric}: distances")


def test_sparse_annbench(t):
    path = t.path("kosarak.h5")
    with h5py.File(path, "w") as f:
        f.attrs["distance"] = "jaccard"
        f.attrs["type"] = "sparse"
        f["size_train"] = np.array([2, 1])
        f["size_test"] = np.array([1])
        f["train"] = np.array([1, 5, 9])
        f["test"] = np.array([5])
    t.fails(64, ["sparse ann-benchmarks", "size_train"], path, t.path("out.h5"))


def test_ways(t):
    """Whatever the filter, the kernel set and the threads: the same answers; limits at a pair."""
    base, queries = bits(t, 700, 203), bits(t, 30, 203)
    base[5:9] = base[5]
    queries[3] = base[5]
    path = packed(t, "packed.h5", {"train": base, "test": queries})
    for metric in oracle.BIT_METRICS:
        score, key = oracle.scores(queries, base, metric)
        limit = float(np.sort(key.ravel())[200])
        for isa in kernel_sets(t):
            for name in ("auto", "canonical"):
                way = ["--isa", isa, "--filter", name, path]
                t.exact(f"{isa} {name}", way, queries, base, metric)
                t.exact(f"{isa} {name} pairs", way, queries, base, metric, k=None,
                        max_distance=limit)
        t.exact("self", ["--base", "train", "--self", path], base, base, metric, self_job=True,
                k=None, max_distance=limit)
        if metric == "jaccard":
            t.exact("similarity", [path], queries, base, metric, k=None,
                    min_similarity=float(np.sort(score.ravel())[-200]))
        else:
            t.fails(64, "--min-similarity", "--metric", metric, "--min-similarity=0.5", path,
                    t.path("out.h5"))
        for name in ("f32", "int", "prefix"):
            t.fails(64, f"filter {name}", "--metric", metric, "--filter", name, path,
                    t.path("out.h5"))


def test_verify(t):
    base, queries = bits(t, 150, 77), bits(t, 9, 77)
    path = packed(t, "packed.h5", {"train": base, "test": queries})
    out = t.path("out.h5")
    for metric in oracle.BIT_METRICS:
        t.succeeds("--force", "--metric", metric, path, out)
        t.check(t.run("verify", "--full", path, out).code == 0, f"{metric}: a good result")
        with h5py.File(out, "a") as f:
            f["distances"][4, 2] += 0.004
        t.check(t.run("verify", "--full", path, out).code == 1, f"{metric}: a wrong distance")
