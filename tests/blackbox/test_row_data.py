"""Which rows may be answers: --subset and --exclude-same, in every form their data come in."""

import h5py
import numpy as np

from support import kernel_sets, number


def mask_of(rows, count):
    mask = np.zeros(count, bool)
    mask[rows] = True
    return mask


def test_subset_forms(t):
    base, queries = t.gaussian(300, 12), t.gaussian(40, 12)
    base[17, 3] = np.nan
    rows = t.random.permutation(300)[:70]
    mask = mask_of(rows, 300)
    forms = {
        "bool": mask,
        "int8": mask.astype("i1"),
        "uint8": mask.astype("u1"),
        "int64 mask": mask.astype("i8"),
        "indices": rows.astype("i8"),
        "uint16": rows.astype("u2"),
        "big-endian": rows.astype(">i4"),
        "twice": np.concatenate([rows, rows[:9]]),
        "uint64": rows.astype("u8"),
    }
    other = t.h5("other.h5", {"deep/mask": mask})
    for storage in ({}, {"chunks": (64,), "compression": "gzip", "shuffle": True}):
        data = {f"rows/{name}": (array, storage) for name, array in forms.items()}
        path = t.h5("in.h5", {"train": base, "test": queries, **data})
        for name in forms:
            arguments = [f"--subset=rows/{name}", path]
            t.exact(name, arguments, queries, base, "cosine", subset=rows)
        arguments = ["--subset", other + "::deep/mask", path]
        t.exact("another file", arguments, queries, base, "l2", subset=rows)


def test_subset_and_the_rest(t):
    base = t.gaussian(400, 9)
    base[100:120] = base[5]
    rows = t.random.permutation(400)[:150]
    path = t.h5("in.h5", {"x": base, "rows": rows})
    for metric, limit in (("cosine", 0.4), ("l2", 3.0), ("ip", -4.0)):
        for extra in ({}, {"base_rows": (13, 311)}, {"query_rows": (100, 399)}):
            arguments = ["--subset=rows", path]
            both = {"subset": rows, "self_job": True, **extra}
            t.exact(f"{extra}", arguments, base, base, metric, k=7, **both)
            t.exact(f"{extra}", arguments, base, base, metric, k=None, max_distance=limit, **both)


def test_small_subsets(t):
    base, queries = t.gaussian(3000, 16), t.gaussian(100, 16)
    data = {"none": np.zeros(0, "i8"), "nobody": np.zeros(3000, bool), "one": np.array([1234])}
    data["first"] = np.arange(8)
    data["all"] = np.ones(3000, bool)
    path = t.h5("in.h5", {"train": base, "test": queries, **data})
    for name, array in data.items():
        rows = np.flatnonzero(array) if array.dtype == bool else array
        for k in (1, 10):
            t.exact(name, [f"--subset={name}", path], queries, base, "cosine", k=k, subset=rows)
        limits = {"max_distance": 0.6, "subset": rows}
        t.exact(name, [f"--subset={name}", path], queries, base, "cosine", k=None, **limits)


def test_subset_errors(t):
    base = t.gaussian(30, 4)
    data = {
        "short": np.ones(29, bool),
        "range": np.array([3, 30]),
        "negative": np.array([3, -1]),
        "floats": np.ones(30),
        "matrix": np.ones((30, 1), bool),
        "words": [f"w{i}" for i in range(30)],
        "huge": np.array([2**63 + 1], "u8"),
        "group/x": base,
    }
    path = t.h5("in.h5", {"x": base, **data})
    out = t.path("out.h5")
    common = ["--base", "x", path, out]
    t.fails(65, ["short", "29", "30"], "--subset=short", *common)
    t.fails(65, ["range", "entry 1 is 30"], "--subset=range", *common)
    t.fails(65, ["negative", "entry 1 is -1"], "--subset=negative", *common)
    t.fails(65, ["floats", "float64"], "--subset=floats", *common)
    t.fails(65, ["matrix", "one dimension"], "--subset=matrix", *common)
    t.fails(65, ["words", "strings"], "--subset=words", *common)
    t.fails(65, ["huge", "2^63"], "--subset=huge", *common)
    t.fails(65, ["group", "is a group"], "--subset=group", *common)
    t.fails(66, ["nothing", "no such dataset"], "--subset=nothing", *common)
    t.fails(66, ["nothing", "no such dataset"], "--subset", path + "::nothing", *common)


def codes(values):
    """Group numbers of anything; missing is negative."""
    numbers = {}
    missing = ("", b"", None)
    return np.array(
        [
            -1
            if v in missing or (isinstance(v, (int, np.integer)) and v < 0)
            else numbers.setdefault(v, len(numbers))
            for v in values
        ]
    )


def categorical(f, name, values):
    group = f.create_group(name)
    group.attrs["encoding-type"] = "categorical"
    kinds = sorted({v for v in values if v is not None}) + ["unused"]
    group["categories"] = np.array(kinds, dtype=h5py.string_dtype())
    group["codes"] = np.array([-1 if v is None else kinds.index(v) for v in values], "i1")


def test_groups_forms(t):
    base = t.gaussian(300, 8)
    words = [None if w == 3 else f"gr\u00fcppe {w}" for w in t.random.integers(0, 9, 300)]
    texts = ["" if w is None else w for w in words]
    numbers = t.random.integers(-1, 6, 300)
    fixed = np.array([w.encode() for w in texts])
    path = t.h5("in.h5", {"x": base, "texts": texts, "fixed": fixed, "numbers": numbers})
    with h5py.File(path, "a") as f:
        categorical(f, "obs/kind", words)
        nullable = f.create_group("obs/nullable")
        nullable["values"] = numbers
        nullable["mask"] = numbers == 2
        f["bools"] = numbers > 2
    forms = {
        "texts": texts,
        "fixed": texts,
        "numbers": numbers,
        "obs/kind": words,
        "obs/nullable": np.where(numbers == 2, -1, numbers),
        "bools": (numbers > 2).astype(int),
    }
    for name, values in forms.items():
        groups = {"base_groups": codes(values), "query_groups": codes(values), "self_job": True}
        arguments = ["--exclude-same", name, path]
        t.exact(name, arguments, base, base, "cosine", k=5, **groups)
        t.exact(name, arguments, base, base, "l2", k=None, max_distance=3.0, **groups)
        groups["base_rows"] = (11, 205)
        t.exact(name, arguments, base, base, "ip", k=300, **groups)


def test_groups_of_two_sets(t):
    base, queries = t.gaussian(200, 8), t.gaussian(60, 8)
    ours = [f"g{v}" for v in t.random.integers(0, 5, 200)]
    theirs = [f"g{v}" for v in t.random.integers(2, 8, 60)]
    groups = {"base_groups": [int(v[1:]) for v in ours]}
    groups["query_groups"] = [int(v[1:]) for v in theirs]
    both = t.h5("both.h5", {"train": base, "test": queries, "a": ours, "b": theirs})
    first = t.h5("first.h5", {"x": base, "group": ours})
    second = t.h5("second.h5", {"x": queries, "group": theirs})
    wanted = ("cosine",)
    t.exact("one file", ["--exclude-same=a,b", both], queries, base, *wanted, **groups)
    t.exact("same name", ["--base", first, "--exclude-same=group", second], queries, base, *wanted,
            **groups)
    named = ["--base", first, "--exclude-same", f"group,{both}::b", second]
    t.exact("named", named, queries, base, *wanted, **groups)
    out = t.path("out2.h5")
    third = t.h5("third.h5", {"x": queries})
    fourth = t.h5("fourth.h5", {"x": queries, "group": np.arange(60)})
    t.fails(66, ["third.h5", "group"], "--base", first, "--exclude-same=group", third, out)
    t.fails(65, ["strings", "numbers"], "--base", first, "--exclude-same=group", fourth, out)
    t.fails(65, ["/train", "60", "200"], "--exclude-same=b", "--metric=l2", both, out)


def test_groups_that_decide(t):
    """The nearest rows of every query all in its own group; everything one group."""
    centres = 10 * t.gaussian(8, 12)
    own = t.random.integers(0, 8, 5000)
    base = (centres[own] + 0.01 * t.gaussian(5000, 12)).astype("f4")
    path = t.h5("in.h5", {"x": base, "own": own, "same": np.zeros(5000, "i4")})
    rows = (0, 50)
    for metric in ("cosine", "l2", "ip"):
        groups = {"base_groups": own, "query_groups": own, "self_job": True, "query_rows": rows}
        t.exact("clusters", ["--exclude-same=own", path], base, base, metric, **groups)
        same = np.zeros(5000)
        groups.update(base_groups=same, query_groups=same)
        t.exact("one group", ["--exclude-same=same", path], base, base, metric, **groups)


def test_same_bytes(t):
    base = t.gaussian(1500, 24)
    base[700:720] = base[3]
    mask = t.random.random(1500) < 0.3
    own = t.random.integers(0, 40, 1500)
    path = t.h5("in.h5", {"x": base, "mask": mask, "own": own})
    limit = number(0.6)
    for question in (["-k", "30"], ["--max-distance", limit], ["--max-distance=0.7", "-k", "3"]):

        for data in (["--subset=mask"], ["--exclude-same=own", "--subset=mask"]):
            reference = None
            variants = [["--threads", n] for n in (1, 2, 3)]
            variants += [["--filter", name] for name in ("canonical", "f32", "int")]
            variants += [["--isa", name] for name in kernel_sets(t)]
            for extra in variants:
                out = t.path("out.h5")
                t.succeeds("--force", *question, *data, *extra, path, out)
                with open(out, "rb") as f:
                    got = f.read()
                reference = reference or got
                t.check(got == reference, f"{question} {data}: {extra} gives other bytes")


def test_identity(t):
    """The same content under another name or form is the same job; other content is not."""
    base = t.gaussian(100, 6)
    mask = t.random.random(100) < 0.5
    other = mask.copy()
    other[7] ^= True
    own = t.random.integers(0, 9, 100)
    data = {"x": base, "mask": mask, "rows": np.flatnonzero(mask), "other": other, "own": own}
    path = t.h5("in.h5", data)
    out = t.path("out.h5")
    t.succeeds("--subset=mask", "--exclude-same=own", path, out)
    run = t.run("--subset=rows", "--exclude-same=own", path, out)
    t.check(run.code == 0 and "up to date" in run.err, run)
    for arguments in (["--subset=other", "--exclude-same=own"], ["--subset=mask"], []):
        t.fails(73, "exists", *arguments, path, out)
    with h5py.File(out, "r") as f:
        t.check(f.attrs["subset_dataset"] == "/mask", dict(f.attrs))
        t.check(f.attrs["exclude_same_dataset"] == "/own", dict(f.attrs))


def test_verify(t):
    """verify finds the data by itself, notices others, and finds answers that are not allowed."""
    base, queries = t.gaussian(200, 6), t.gaussian(40, 6)
    mask = t.random.random(200) < 0.5
    own, asked = t.random.integers(0, 5, 200), t.random.integers(0, 5, 40)
    data = {"train": base, "test": queries, "mask": mask, "a": own, "b": asked}
    data["neighbors"] = np.zeros((40, 10), "i4")
    path = t.h5("in.h5", data)
    other = t.h5("other.h5", {"mask": mask, "not": ~mask})
    out = t.path("out.h5")
    for question in (["--subset=mask"], ["--exclude-same=a,b"], ["--subset", other + "::mask"]):
        t.succeeds("--force", "--metric=l2", *question, path, out)
        extra = question if other in question[-1] else []
        run = t.run("verify", "--full", *extra, path, out)
        t.check(run.code == 0 and "recall" not in run.out, f"{question}: {run} {run.out}")
    t.fails(65, "another subset", "verify", "--subset", other + "::not", path, out)
    t.succeeds("--force", "--metric=l2", path, out)
    t.fails(65, "another subset", "verify", "--subset=mask", path, out)
    with h5py.File(out, "a") as f:  # all answers, and a claim that they keep to the subset
        t.succeeds("--force", "--metric=l2", "--subset=mask", path, t.path("subset.h5"))
        with h5py.File(t.path("subset.h5"), "r") as g:
            for name in ("subset_dataset", "row_data_hash"):
                f.attrs[name] = g.attrs[name]
    run = t.run("verify", "--full", path, out)
    t.check(run.code == 1 and "DIFFERS" in run.out, f"wrong answers: {run} {run.out}")


def test_said(t):
    base = t.gaussian(60, 6)
    data = {"mask": np.arange(60) < 20, "rows": np.array([3, 1, 3]), "g": base[:, 0] > 0}
    path = t.h5("in.h5", {"x": base, **data})
    for arguments, text in (
        (["--subset=mask"], "20 of 60 base rows, by a mask"),
        (["--subset=rows"], "2 of 60 base rows, by row numbers"),
        (["--subset=rows", "--exclude-same=g"], "by row numbers; no match within a group"),
        (["--exclude-same=g"], "no match within a group"),
    ):
        run = t.succeeds("--force", *arguments, path, t.path("out.h5"))
        t.check(text in run.err, f"{text}: {run.err}")
        run = t.run("inspect", *arguments, path)
        t.check(text in run.out, f"{text}: {run.out}")


def test_base_of_several_files(t):
    """The columns of the files follow each other as their rows do; one for all is fine as well."""
    base, queries = t.gaussian(300, 8), t.gaussian(50, 8)
    cuts = ((0, 120), (120, 121), (121, 300))
    mask = t.random.random(300) < 0.4
    own = t.random.integers(-1, 5, 300)
    asked = t.random.integers(0, 5, 50)
    words = [f"g{v}" if v >= 0 else "" for v in own]
    files = []
    for number_of, (a, b) in enumerate(cuts):
        data = {"x": base[a:b], "mask": mask[a:b], "word": words[a:b]}
        data["ids"] = [f"r{i}" for i in range(a, b)]
        files.append(t.h5(f"part{number_of}.h5", data))
        with h5py.File(files[-1], "a") as f:
            categorical(f, "kind", [w or None for w in words[a:b]])
    data = {"test": queries, "word": [f"g{v}" for v in asked], "all": mask}
    data["rows"] = np.flatnonzero(mask)
    path = t.h5("queries.h5", data)
    with h5py.File(path, "a") as f:
        categorical(f, "kind", [f"g{v}" for v in asked])
    command = [part for name in files for part in ("--base", name)] + ["--queries=test"]
    rows = np.flatnonzero(mask)
    for subset in ("mask", path + "::all", path + "::rows"):
        arguments = ["--subset", subset] + command + [path]
        t.exact(subset, arguments, queries, base, "cosine", subset=rows)
    groups = {"base_groups": own, "query_groups": asked}
    for name in ("word", "kind"):
        arguments = ["--exclude-same", name] + command + [path]
        t.exact(name, arguments, queries, base, "l2", **groups)
        out = t.path("out.h5")
        run = t.run("verify", "--full", *command, path, out)
        t.check(run.code == 0, f"{name}: {run} {run.out}")
    with h5py.File(files[2], "a") as f:
        del f["word"]
        f["word"] = np.arange(179)
    t.fails(65, ["part2.h5", "another type"], "--exclude-same=word", *command, path, t.path("o.h5"))
    with h5py.File(files[2], "a") as f:
        del f["word"]
        f["word"] = words[:9]
    t.fails(65, ["part2.h5", "9", "179"], "--exclude-same=word", *command, path, t.path("o.h5"))
    with h5py.File(files[2], "a") as f:
        del f["word"]
    t.fails(66, ["part2.h5", "word"], "--exclude-same=word", *command, path, t.path("o.h5"))
