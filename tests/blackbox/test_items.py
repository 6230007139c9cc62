"""Sets of one dataset per item: UniProt, bio_embeddings, EAT, hloc."""

import h5py
import numpy as np

import oracle
from support import DATA


def write(t, name, items, attributes=None, **options):
    """items: key -> array; attributes: key -> original_id."""
    path = t.path(name)
    with h5py.File(path, "w", **options) as f:
        for key, value in items.items():
            f.create_dataset(key, data=value)
        for key, value in (attributes or {}).items():
            f[key].attrs["original_id"] = value
    return path


def rows_of(items):
    """The rows as a set has them: in the order of the keys' bytes, all in one type."""
    keys = sorted(items, key=lambda key: key.encode())
    rows = [np.ravel(items[key]) for key in keys]
    wide = any(row.dtype not in (np.float16, np.float32, np.int8, np.uint8) for row in rows)
    return keys, np.array([row.astype(np.float64 if wide else np.float32) for row in rows])


def self_job(t, label, arguments, keys, rows, metric="cosine"):
    result = t.job(*arguments)
    want = oracle.answer(rows, rows, metric, k=10, self_job=True)
    t.compare(label, result, want, 10)
    ids = None if result.base_ids is None else [i.decode() for i in result.base_ids]
    t.check(ids == list(keys), f"{label}: ids {ids and ids[:5]}, expected {list(keys)[:5]}")
    ids = None if result.query_ids is None else [i.decode() for i in result.query_ids]
    t.check(ids == list(keys), f"{label}: query ids {ids and ids[:5]}")
    return result


def proteins(t, count=40, dim=16, dtype=np.float32):
    rows = t.gaussian(count, dim).astype(dtype)
    return {f"sp|P{i * 7919 % 10007:05d}|X": rows[i] for i in range(count)}


def test_flat(t):
    for version in ("earliest", "latest"):
        for dtype in (np.float16, np.float32, np.float64, ">f4", ">f2", np.int8, np.int64):
            items = proteins(t, dtype=np.float64)
            items = {key: (row * 20).astype(dtype) for key, row in items.items()}
            path = write(t, "per-protein.h5", items, libver=version)
            keys, rows = rows_of(items)
            self_job(t, f"{version} {dtype}", [path], keys, rows)


def test_real_file(t):
    path = str(DATA / "cath-50-items.h5")
    with h5py.File(path, "r") as f:
        keys, rows = rows_of({key: f[key][()] for key in f})
    self_job(t, "bio_embeddings", [path], keys, rows)
    base, queries = t.path("base.h5"), t.path("queries.h5")
    with h5py.File(base, "w") as f, h5py.File(queries, "w") as g:
        for i, key in enumerate(keys):
            (g if i % 5 == 0 else f)[key] = rows[i]
    known = [i for i in range(50) if i % 5]
    want = oracle.answer(rows[::5], rows[known], "cosine", k=3)
    result = t.job("-k", "3", "--base", base, queries)
    t.compare("lookup", result, want, 3)
    # Several files of items as one base, and a matrix among them.
    other = t.h5("other.h5", {"x": rows[::5]})
    result = t.job("--base", base, "--base", other, "--base", queries, queries)
    together = np.vstack([rows[known], rows[::5], rows[::5]])
    t.compare("many", result, oracle.answer(rows[::5], together, "cosine", k=10), 10)
    # Labels by id: the class is the second part of the key.
    with open(t.path("labels.tsv"), "w", encoding="utf-8") as f:
        f.writelines(f"{keys[i]}\t{keys[i].split('|')[1]}\n" for i in known)
    labels = ["--labels", t.path("labels.tsv")]
    t.succeeds("--force", *labels, "--base", base, queries, t.path("out.h5"))
    with h5py.File(t.path("out.h5"), "r") as f:
        nearest = oracle.answer(rows[::5], rows[known], "cosine", k=1).padded(1)[0][:, 0]
        labels = [keys[known[i]].split("|")[1] for i in nearest]
        t.check([v.decode() for v in f["labels"][()]] == labels, "labels")


def test_shapes_and_types_mixed(t):
    items = proteins(t)
    for i, key in enumerate(items):
        items[key] = items[key].astype([np.float32, np.float16, ">f4"][i % 3])
        items[key] = items[key].reshape(1, -1) if i % 4 == 1 else items[key]
    self_job(t, "mixed", [write(t, "mixed.h5", items)], *rows_of(items))
    first = next(iter(items))
    items[first] = items[first].astype(np.float64) / 3
    path = write(t, "wide.h5", items)
    self_job(t, "one float64", [path], *rows_of(items))
    # Any number of threads, and slabs that are read again for the check of an existing result.
    for threads in (1, 3):
        run = t.run("--threads", threads, path, t.path("out.h5"))
        t.check(run.code == 0 and "up to date" in run.err, f"not up to date: {run}")


def test_original_id(t):
    items = proteins(t, 12)
    named = {key: f"ein \u00e9 {i}" for i, key in enumerate(items) if i % 3}
    path = write(t, "named.h5", items, named)
    with h5py.File(path, "r+") as f:
        some = [key for key in items if key not in named]
        f[some[0]].attrs["original_id"] = np.bytes_("fixed")
        f[some[1]].attrs["original_id"] = ""
        f[some[2]].attrs["original_id"] = 7
    named[some[0]] = "fixed"
    keys, rows = rows_of(items)
    self_job(t, "original_id", [path], [named.get(key, key) for key in keys], rows)


def test_nested_keys(t):
    """Slashes in keys make groups; the order is that of the whole keys."""
    items = {f"db/{name}": t.gaussian(1, 8)[0] for name in ("a/b", "a-b", "a.b", "a", "B/c/d")}
    items.update({f"a/{i}": t.gaussian(1, 8)[0] for i in (2, 10)})
    del items["db/a"]  # a dataset cannot be a group too
    self_job(t, "nested", [write(t, "nested.h5", items)], *rows_of(items))
    deep = {f"all/{key}": row for key, row in items.items()}
    keys, rows = rows_of(items)
    result = self_job(t, "one group", [write(t, "deep.h5", deep)], keys, rows)
    t.check(result.attributes["base_dataset"] == "/all", f"{result.attributes['base_dataset']}")


def test_groups_as_sets(t):
    base, queries = proteins(t, 30), proteins(t, 7)
    path = t.path("two.h5")
    with h5py.File(path, "w") as f:
        for group, items in (("base", base), ("asked", queries)):
            for key, row in items.items():
                f.create_dataset(f"{group}/{key}", data=row)
        f["matrix"] = t.gaussian(3, 5)
        f["other"] = t.gaussian(3, 5)
    t.fails(64, ["/base holds 30 datasets of 16 numbers", "/matrix"], path, t.path("out.h5"))
    base_keys, base_rows = rows_of(base)
    keys, rows = rows_of(queries)
    for arguments in (
        ["--base", "base", "--queries", "/asked/", path],
        ["--base", f"{path}::base", "--queries", f"{path}::asked", path],
    ):
        result = t.job(*arguments)
        t.compare("groups", result, oracle.answer(rows, base_rows, "cosine", k=10), 10)
        t.check([i.decode() for i in result.query_ids] == keys, "query ids")
        t.check([i.decode() for i in result.base_ids] == base_keys, "base ids")
        run = t.run("verify", "--full", path, t.path("out.h5"))
        t.check(run.code == 0, f"verify: {run}")
    other = write(t, "other.h5", base)
    single = t.h5("q.h5", {"x": rows})
    result = t.job("--base", other, "--base-rows", "3:20", single)
    want = oracle.answer(rows, base_rows, "cosine", k=10, base_rows=(3, 20))
    t.compare("another file", result, want, 10)
    one = write(t, "one.h5", {"only": rows[0]})
    result = t.job("--base", other, one)
    t.compare("one query", result, oracle.answer(rows[:1], base_rows, "cosine", k=10), 10)
    t.check([i.decode() for i in result.query_ids] == ["only"], "the id of one query")


def images(t, extra):
    names = [f"{folder}/{i}.jpg" for folder in ("db", "query/x") for i in range(9)]
    items = {name: t.gaussian(1, 12)[0] for name in names}
    path = t.path("features.h5")
    with h5py.File(path, "w", libver="latest") as f:
        for i, (name, row) in enumerate(items.items()):
            f[f"{name}/global_descriptor"] = row
            for leaf, make in extra.items():
                f[f"{name}/{leaf}"] = make(i)
    return path, items


def test_leaves(t):
    path, items = images(t, {})
    self_job(t, "one leaf", [path], *rows_of(items))
    size = {"image_size": lambda i: np.array([640, 480])}
    path, items = images(t, size)
    self_job(t, "hloc global", [path], *rows_of(items))
    local = {
        "keypoints": lambda i: t.gaussian(5 + i, 2),
        "descriptors": lambda i: t.gaussian(16, 5 + i),
        "scores": lambda i: t.gaussian(1, 5 + i)[0],
        "image_size": lambda i: np.array([640, 480]),
    }
    path, items = images(t, local)
    self_job(t, "hloc all", [path], *rows_of(items))
    self_job(t, "--leaf", ["--leaf", "global_descriptor", path], *rows_of(items))
    sizes = {key: np.array([640, 480]) for key in items}
    self_job(t, "another leaf", ["--leaf", "image_size", path], *rows_of(sizes))
    t.fails(65, ["keypoints", "--base"], "--force", "--leaf", "keypoints", path, t.path("out.h5"))
    t.fails(65, ["nothing"], "--force", "--leaf", "nothing", path, t.path("out.h5"))


def test_leaf_has_to_be_chosen(t):
    path = t.path("several.h5")
    first = {f"{i}": t.gaussian(1, 6)[0] for i in range(8)}
    with h5py.File(path, "w") as f:
        for key, row in first.items():
            f[f"{key}/cls"] = row
            f[f"{key}/mean"] = t.gaussian(1, 9)[0]
    t.fails(64, ["cls", "mean", "--leaf"], path, t.path("out.h5"))
    self_job(t, "--leaf", ["--leaf", "cls", path], *rows_of(first))
    run = t.run("verify", "--leaf", "cls", path, t.path("out.h5"))
    t.check(run.code == 0, f"verify: {run}")


def test_storage(t):
    """Chunked, compact, never written, empty space; hard and soft links."""
    items = proteins(t, 9)
    keys = sorted(items)
    path = write(t, "storage.h5", items)
    with h5py.File(path, "r+") as f:
        for key in keys[:3]:
            del f[key]
        f.create_dataset(keys[0], data=items[keys[0]], chunks=(5,), compression="gzip")
        plist = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
        plist.set_layout(h5py.h5d.COMPACT)
        space = h5py.h5s.create_simple((16,))
        made = h5py.h5d.create(f.id, keys[1].encode(), h5py.h5t.IEEE_F32LE, space, plist)
        made.write(h5py.h5s.ALL, h5py.h5s.ALL, items[keys[1]])
        f.create_dataset(keys[2], shape=(16,), dtype="f4", fillvalue=0.5)
        f["zz hard"] = f[keys[4]]
        f["zz soft"] = h5py.SoftLink("/" + keys[5])
    items[keys[2]] = np.full(16, 0.5, np.float32)
    items["zz hard"], items["zz soft"] = items[keys[4]], items[keys[5]]
    self_job(t, "storage", [path], *rows_of(items))


def test_bools(t):
    rows = t.random.integers(0, 2, (20, 19)).astype(bool)
    path = write(t, "bools.h5", {f"{i:02d}": row for i, row in enumerate(rows)})
    for arguments, metric in (([], "hamming"), (["--metric", "l2"], "l2")):
        result = t.job(*arguments, path)
        values = rows if metric == "hamming" else rows.astype(np.float32)
        want = oracle.answer(values, values, metric, k=10, self_job=True)
        t.compare(f"bools {metric}", result, want, 10)


def test_odd_ones(t):
    out = t.path("out.h5")
    odd = {
        "other": (t.gaussian(1, 15)[0], ["16", "15"]),
        "matrix": (t.gaussian(4, 16), ["4 x 16", "residue"]),
        "text": ("words", ["string"]),
        "scalar": (1.5, ["single value"]),
        "empty": (np.zeros(0, np.float32), ["empty"]),
    }
    for name, (value, words) in odd.items():
        items = proteins(t, 60)
        for key in ("A", "zz"):
            path = write(t, "odd.h5", dict(items, **{key: value}))
            t.fails(65, [f"/{key} ", "sp|P"] + words, path, out)
            run = t.run("inspect", path)
            t.check(run.code == 65 and f"/{key} " in run.err, f"{name}: {run}")
    path = write(t, "two.h5", {"a": t.gaussian(1, 5)[0], "b": t.gaussian(1, 6)[0]})
    t.fails(65, ["/a", "/b", "5", "6"], path, out)
    many = {f"{i:05d}": t.gaussian(1, 4)[0] for i in range(6000)}
    path = write(t, "many.h5", dict(many, **{"05999": t.gaussian(1, 5)[0]}))
    t.fails(65, ["/05999", "/00000"], path, out)
    items = proteins(t, 20)
    keys, rows = rows_of(items)
    items[keys[3]] = np.full(16, np.nan, np.float32)
    rows[3] = np.nan
    self_job(t, "a row of NaN", [write(t, "nan.h5", items)], keys, rows)


def test_per_residue(t):
    for lengths in ((14, 8, 6), (3, 1, 9, 5)):
        items = {f"Q{i}": t.gaussian(n, 32) for i, n in enumerate(lengths)}
        t.fails((64, 65), ["residue", "average"], write(t, "res.h5", items), t.path("out.h5"))
    layers = {f"Q{i}": np.zeros((3, 4 + i, 8), np.float32) for i in range(5)}
    t.fails(64, ["layers", "average"], write(t, "layers.h5", layers), t.path("out.h5"))


def test_other_files_stay_what_they_are(t):
    """Vectors beside a matrix are no items."""
    rows = t.gaussian(30, 6)
    path = t.h5("one.h5", {"x": rows, "mean": rows[0], "labels": np.arange(30), "w": rows[:, 0]})
    result = t.job(path)
    want = oracle.answer(rows, rows, "cosine", k=10, self_job=True)
    t.compare("single", result, want, 10)
    columns = {f"column{i}": t.gaussian(1, 30)[0] for i in range(20)}
    path = t.h5("one.h5", dict(columns, x=rows))
    t.compare("columns", t.job(path), want, 10)
    path = t.h5("labels.h5", {"labels": np.arange(30), "groups": np.arange(9)})
    t.fails(64, "labels", path, t.path("o.h5"))
    split = {"train/x": rows, "train/y": rows[:, 0], "test/x": rows, "test/y": rows[:, 1]}
    path = t.h5("split.h5", split)
    t.fails(64, "train/x", path, t.path("o.h5"))


def test_many(t):
    """More items than are listed one by one."""
    rows = t.gaussian(9000, 4)
    items = {f"{i * 7 % 9000}": rows[i] for i in range(9000)}
    path = write(t, "many.h5", items, libver="latest")
    keys, rows = rows_of(items)
    result = t.job("--query-rows", "0:20", path)
    want = oracle.answer(rows, rows, "cosine", k=10, self_job=True, query_rows=(0, 20))
    t.compare("many", result, want, 10)
    t.check([i.decode() for i in result.base_ids] == keys, "base ids")
    t.check([i.decode() for i in result.query_ids] == keys[:20], "query ids")
