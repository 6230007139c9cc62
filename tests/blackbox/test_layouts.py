"""How a file says what is in it, and how options say it instead."""

import os

import h5py
import numpy as np

import oracle
from support import DATA

ALIASES = {"angular": "cosine", "dot": "ip", "euclidean": "l2", "manhattan": "l1", "cityblock": "l1"}


def test_annbench_metric_from_attribute(t):
    base, queries = t.gaussian(40, 6), t.gaussian(7, 6)
    names = dict(ALIASES, cosine="cosine", ip="ip", l2="l2", sqeuclidean="sqeuclidean", l1="l1")
    for name, metric in names.items():
        for kind in (str, np.bytes_):
            path = t.h5("ann.h5", {"train": base, "test": queries}, {"distance": kind(name)})
            result = t.job(path)
            t.compare(f"distance={name}", result, oracle.answer(queries, base, metric, k=10), 10)
    path = t.two_sets(base, queries, metric="angular")
    run = t.succeeds("--force", path, t.path("out.h5"))
    t.check("cosine" in run.err and "angular" in run.err, f"metric and reason not told: {run}")


def test_annbench_with_truth_and_more(t):
    """Datasets of ann-benchmarks files besides train and test are no candidates."""
    base, queries = t.gaussian(40, 6), t.gaussian(7, 6)
    extra = {
        "train": base,
        "test": queries,
        "neighbors": np.zeros((7, 40), np.int32),
        "distances": np.zeros((7, 40), np.float32),
    }
    path = t.h5("ann.h5", extra, {"distance": "euclidean"})
    result = t.job(path)
    t.compare("truth ignored", result, oracle.answer(queries, base, "l2", k=10), 10)


def test_annbench_without_attribute(t):
    path = t.two_sets(t.gaussian(40, 6), t.gaussian(7, 6))
    t.fails(64, "--metric", path, t.path("out.h5"))
    t.fails(64, "--metric", str(DATA / "annbench-600x16.h5"), t.path("out.h5"))


def test_unknown_attribute(t):
    rows = t.gaussian(40, 6)
    path = t.two_sets(rows, rows, metric="hellinger")
    t.fails((64, 65), ["hellinger", "--metric"], path, t.path("out.h5"))
    t.exact("--metric decides", [path], rows, rows, "l2")


def test_metric_option_wins(t):
    base, queries = t.gaussian(40, 6), t.gaussian(7, 6)
    path = t.two_sets(base, queries, metric="angular")
    for name in oracle.METRICS + tuple(ALIASES):
        result = t.job("--metric", name, path)
        want = oracle.answer(queries, base, ALIASES.get(name, name), k=10)
        t.compare(f"--metric {name}", result, want, 10)


def test_single_dataset(t):
    rows = t.gaussian(40, 6)
    for name in ("x", "embeddings", "deep/down/vectors", "vecteurs \u00e9t\u00e9"):
        path = t.h5("one.h5", {name: rows})
        result = t.job(path)
        want = oracle.answer(rows, rows, "cosine", k=10, self_job=True)
        t.compare(f"single {name}: self and cosine by default", result, want, 10)
        t.check(result.query_ids is None and result.base_ids is None, "ids from nowhere")
    path = t.h5("one.h5", {"x": rows}, {"distance": "euclidean"})
    result = t.job(path)
    t.compare("attribute", result, oracle.answer(rows, rows, "l2", k=10, self_job=True), 10)


WORDS = [
    "alpha",
    "b\u00eata",
    "\u03b3\u03ac\u03bc\u03bc\u03b1",
    "",
    "\u6f22\u5b57",
    "a b\tc",
    "\U0001f600",
]


def test_ids(t):
    rows = t.gaussian(len(WORDS), 6)
    want = np.array([w.encode() for w in WORDS])
    width = max(len(w.encode()) for w in WORDS)
    fixed = np.array([w.encode() for w in WORDS], dtype=f"S{width + 5}")
    for label, ids in (("vlen", WORDS), ("fixed", fixed)):
        path = t.h5("ids.h5", {"embeddings": rows, "ids": ids})
        result = t.job("--metric", "l2", "-k", 3, path)
        t.compare(label, result, oracle.answer(rows, rows, "l2", k=3, self_job=True), 3)
        for name, got in (("query_ids", result.query_ids), ("base_ids", result.base_ids)):
            if t.check(got is not None, f"{label}: no {name}"):
                t.check(got.dtype.kind == "S", f"{label}: {name} is {got.dtype}")
                t.check((got == want).all(), f"{label}: {name} {got!r}")
    with h5py.File(t.path("out.h5"), "r") as f:
        info = h5py.check_string_dtype(f["base_ids"].dtype)
        t.check(info.encoding == "utf-8" and info.length == width, f"type of ids: {info}")
        t.check(f["base_ids"].asstr()[2] == WORDS[2], "asstr")


def test_ids_recognised_by_length(t):
    rows = t.gaussian(7, 6)
    path = t.h5("ids.h5", {"v": rows, "words": WORDS, "notes": ["x", "y"]})
    result = t.job("-k", 2, path)
    t.check(
        result.base_ids is not None and (result.base_ids == [w.encode() for w in WORDS]).all(),
        f"{result.base_ids}",
    )
    other = [f"n{i}" for i in range(7)]
    path = t.h5("ids.h5", {"v": rows, "words": WORDS, "other": other})
    result = t.job("-k", 2, "--ids", "other", path)
    t.check(
        result.base_ids is not None and (result.base_ids == [w.encode() for w in other]).all(),
        f"--ids: {result.base_ids}",
    )


def test_ids_of_other_length_or_missing(t):
    rows = t.gaussian(7, 6)
    path = t.h5("ids.h5", {"v": rows, "few": ["x", "y"]})
    result = t.job("-k", 2, path)
    t.check(result.base_ids is None, "ids of another length were taken")
    t.fails((64, 65), "few", "--ids", "few", path, t.path("other.h5"))
    t.fails((64, 66), "nowhere", "--ids", "nowhere", path, t.path("other.h5"))


def test_ids_follow_row_ranges(t):
    rows = t.gaussian(30, 5)
    words = [f"w{i}" for i in range(30)]
    path = t.h5("ids.h5", {"v": rows, "ids": words})
    result = t.job("-k", 2, "--metric", "l2", "--query-rows", "10:20", path)
    want = oracle.answer(rows, rows, "l2", k=2, self_job=True, query_rows=(10, 20))
    t.compare("range", result, want, 2)
    t.check(len(result.query_ids) == 10 and result.query_ids[0] == b"w10", f"{result.query_ids}")
    t.check(len(result.base_ids) == 30, "neighbors are dataset rows, so base_ids must be too")


def test_several_candidates(t):
    path = t.h5("many.h5", {"first": t.gaussian(9, 4), "group/second": t.gaussian(8, 4)})
    t.fails((64, 65), ["first", "group/second", "--base"], path, t.path("out.h5"))


def test_no_candidates(t):
    path = t.h5("none.h5", {"names": ["a", "b"], "flat": np.arange(5.0)})
    t.fails((64, 65), "none.h5", path, t.path("out.h5"))
    path = t.h5("empty.h5", {})
    t.fails((64, 65), "empty.h5", path, t.path("out.h5"))


def test_choosing_datasets(t):
    a, b = t.gaussian(19, 4), t.gaussian(8, 4)
    path = t.h5("many.h5", {"a": a, "g/b": b})
    for base, queries in (("a", "g/b"), ("/a", "/g/b")):
        t.exact(
            "two paths", ["--base", base, "--queries", queries, path], b, a, "l2"
        )
    t.exact("self by option", ["--base", "a", "--self", path], a, a, "l2", self_job=True)
    t.exact("other", ["--base", "g/b", "--self", path], b, b, "ip", k=3, self_job=True)
    out = t.path("other.h5")
    t.fails((64, 66), "nowhere", "--base", "nowhere", "--self", path, out)
    t.fails((64, 66), "nowhere", "--base", "a", "--queries", "nowhere", path, out)


def test_same_dataset_twice_is_not_self(t):
    a, b = t.gaussian(19, 4), t.gaussian(8, 4)
    path = t.h5("many.h5", {"a": a, "b": b})
    result = t.exact("itself", ["--base", "a", "--queries", "a", path], a, a, "l2")
    t.check((result.neighbors[:, 0] == np.arange(19)).all(), "a row finds itself first")


def test_self_by_option_on_annbench(t):
    base, queries = t.gaussian(19, 4), t.gaussian(8, 4)
    path = t.two_sets(base, queries)
    t.exact("self", ["--self", path], base, base, "l2", self_job=True)


def test_other_files(t):
    a, b = t.gaussian(19, 4), t.gaussian(8, 4, np.float64)
    one = t.h5("one.h5", {"x": a})
    two = t.h5("two.h5", {"y": b})
    many = t.h5("many.h5", {"p": b, "q/r": a})
    t.exact("queries from a file", ["--queries", two, one], b, a, "l2")
    t.exact("base from a file", ["--base", two, one], a, b, "l2")
    t.exact("FILE::PATH", ["--queries", f"{many}::p", one], b, a, "l2")
    t.exact("FILE::/PATH", ["--queries", f"{many}::/p", one], b, a, "l2")
    t.exact("both FILE::PATH", ["--base", f"{many}::q/r", "--queries", two, many], b, a, "ip")
    t.fails((64, 66), "gone.h5", "--queries", t.path("gone.h5"), one, t.path("other.h5"))
    t.fails((64, 66), "nope", "--queries", f"{many}::nope", one, t.path("other.h5"))
    t.fails((64, 65), ["many.h5", "p", "q/r"], "--queries", many, one, t.path("other.h5"))


def test_ids_of_other_files(t):
    a, b = t.gaussian(19, 4), t.gaussian(8, 4)
    one = t.h5("one.h5", {"x": a, "ids": [f"a{i}" for i in range(19)]})
    two = t.h5("two.h5", {"y": b, "ids": [f"b{i}" for i in range(8)]})
    result = t.job("--queries", two, one)
    t.check(result.base_ids is not None and result.base_ids[3] == b"a3", f"{result.base_ids}")
    t.check(result.query_ids is not None and result.query_ids[3] == b"b3", f"{result.query_ids}")


def test_literal_name_wins(t):
    a, b = t.gaussian(19, 4), t.gaussian(8, 4)
    t.h5("d.h5", {"x": b})
    path = t.h5("one.h5", {"rows": a, "d.h5::x": a[::-1]})
    result = t.exact(
        "dataset", ["--base", "rows", "--queries", "d.h5::x", path], a[::-1], a, "l2"
    )
    t.check(len(result.neighbors) == 19, "the dataset of that name must win")
    os.rename(t.path("d.h5"), t.path("e.h5::x"))
    one = t.h5("two.h5", {"rows": a})
    t.exact("file", ["--queries", "e.h5::x", one], b, a, "l2")


def test_row_ranges(t):
    base, queries = t.gaussian(50, 6), t.gaussian(20, 6)
    path = t.two_sets(base, queries)
    single = t.h5("one.h5", {"x": base})
    cases = (((0, 50), (0, 20)), ((7, 31), (3, 4)), ((49, 50), (0, 20)), ((0, 1), (19, 20)))
    for base_rows, query_rows in cases:
        for metric in ("cosine", "l2"):
            t.exact(
                "ranges", [path], queries, base, metric, base_rows=base_rows, query_rows=query_rows
            )
        t.exact(
            "pairs",
            [path],
            queries,
            base,
            "l2",
            k=None,
            base_rows=base_rows,
            query_rows=query_rows,
            max_distance=3.0,
        )
        t.exact(
            "self",
            [single],
            base,
            base,
            "l2",
            self_job=True,
            base_rows=base_rows,
            query_rows=query_rows,
        )


def test_row_ranges_refused(t):
    path = t.h5("one.h5", {"x": t.gaussian(10, 3)})
    out = t.path("out.h5")
    for text in ("5:3", "0:11", "11:12", "a:b", "-1:3", "3", "1:2:3", "", ":", "0x1:3", "1 :2"):
        for name in ("--base-rows", "--query-rows"):
            if text == ":":
                continue
            t.fails((64, 65), name, f"{name}={text}", path, out)


def test_sparse_jaccard_form_is_refused(t):
    path = t.h5(
        "sparse.h5",
        {
            "train": np.arange(30),
            "test": np.arange(12),
            "size_train": np.array([10, 20]),
            "size_test": np.array([12]),
        },
        {"distance": "jaccard"},
    )
    t.fails((64, 65), "sparse.h5", path, t.path("out.h5"))


def test_unknown_metrics_are_refused_by_name(t):
    path = t.h5("one.h5", {"x": t.gaussian(10, 3)})
    for name in ("cosin", "L2", "L1", "tanimoto", ""):
        t.fails(64, "metric", f"--metric={name}", path, t.path("out.h5"))


def test_dataset_kinds_that_cannot_be_searched(t):
    path = t.path("odd.h5")
    with h5py.File(path, "w") as f:
        f["text"] = np.array([[b"a", b"b"], [b"c", b"d"]])
        f["cube"] = t.gaussian(8, 6).reshape(2, 4, 6)
        f["struct"] = np.zeros((3, 3), [("a", "f4"), ("b", "f4")])
        f["complex"] = np.zeros((3, 3), np.complex64)
        f["scalar"] = 3.0
        f["null"] = h5py.Empty("f4")
    for name in ("text", "cube", "struct", "complex", "scalar", "null"):
        t.fails((64, 65), name, "--base", name, "--self", path, t.path("out.h5"))


def test_links(t):
    """Soft and hard links to one dataset; a loop of groups."""
    rows = t.gaussian(12, 4)
    path = t.path("links.h5")
    with h5py.File(path, "w") as f:
        f["g/x"] = rows
        f["g/loop"] = f["g"]
        f["dangling"] = h5py.SoftLink("/nowhere")
    t.exact("loop", [path], rows, rows, "l2", self_job=True)
    with h5py.File(path, "a") as f:
        f["soft"] = h5py.SoftLink("/g/x")
    t.exact("soft", ["--base", "soft", "--self", path], rows, rows, "l2", self_job=True)


