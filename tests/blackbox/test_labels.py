"""Label transfer: --labels."""

import h5py
import numpy as np

import oracle
from support import first_difference, kernel_sets, number, same_bits


def read(path):
    with h5py.File(path, "r") as f:
        values = next(f[n] for n in ("label_distances", "label_similarities") if n in f)[()]
        labels = [v.decode() for v in f["labels"][()]]
        return labels, values, f["label_rows"][()], dict(f.attrs), sorted(f)


def expected(queries, base, metric, texts, float_type=np.float32, similarity=False, **options):
    """(labels, values, rows) from the oracle; texts: "" is no label."""
    labelled = [r for r, text in enumerate(texts) if text]
    subset = options.pop("subset", None)
    allowed = labelled if subset is None else np.intersect1d(labelled, subset)
    found = oracle.answer(queries, base, metric, k=1, subset=allowed, **options)
    rows = np.array([r[0] if len(r) else -1 for r in found.rows], np.int64)
    keys = np.array([k[0] if len(k) else np.inf for k in found.keys])
    if similarity:
        score, _ = oracle.scores(queries, base, metric)
        keys = np.array([score[q, r] if r >= 0 else -np.inf for q, r in enumerate(rows)])
    return [texts[r] if r >= 0 else "" for r in rows], keys.astype(float_type), rows


def compare(t, label, out, wanted):
    labels, values, rows, attributes, names = read(out)
    t.check(labels == wanted[0], f"{label}: labels differ")
    for got, want in ((values, wanted[1]), (rows, wanted[2])):
        if not same_bits(got, want):
            t.check(False, f"{label}: {first_difference(got, want)}")
    return attributes, names


def make(t, rows=400, asked=60, share=0.3):
    base, queries = t.gaussian(rows, 12), t.gaussian(asked, 12)
    base[3, 1] = np.nan
    queries[7, 0] = np.inf
    ids = [f"P{i:05d} \u00e4" for i in range(rows)]
    kinds = ["kinase", "\u03b2-lactamase", "a, \"quoted\" label", "x" * 200]
    texts = [kinds[t.random.integers(0, 4)] if t.random.random() < share else "" for _ in ids]
    return base, queries, ids, texts


def table(t, ids, texts, end="\n", name="labels.tsv"):
    lines = [f"{i}\t{text}" for i, text in zip(ids, texts) if text]
    t.random.shuffle(lines)
    path = t.path(name)
    with open(path, "w", encoding="utf-8", newline="") as f:
        f.write(end.join(lines + ["somebody else\tx", ""]) + end)
    return path


def test_sources(t):
    base, queries, ids, texts = make(t)
    numbers = t.random.integers(-1, 5, 400)
    data = {"train": base, "test": queries, "train_ids": ids, "texts": texts, "numbers": numbers}
    path = t.h5("in.h5", data)
    other = t.h5("other.h5", {"texts": texts})
    with h5py.File(path, "a") as f:
        kinds = sorted(set(texts))
        group = f.create_group("obs/kind")
        group["categories"] = np.array(kinds, dtype=h5py.string_dtype())
        group["codes"] = np.array([kinds.index(v) if v else -1 for v in texts], "i1")
    out = t.path("out.h5")
    unix, dos = table(t, ids, texts), table(t, ids, texts, "\r\n", "dos.tsv")
    digits = ["" if v < 0 else str(v) for v in numbers]
    for labels, wanted in (
        (unix, texts),
        (dos, texts),
        ("texts", texts),
        (other + "::texts", texts),
        ("obs/kind", texts),
        ("numbers", digits),
    ):
        for metric in ("cosine", "l2"):
            run = t.succeeds("--force", "--metric", metric, "--labels", labels, path, out)
            compare(t, labels, out, expected(queries, base, metric, wanted))
        if labels == unix:
            t.check("1 unknown id" in run.err, run.err)
    _, _, _, attributes, names = read(out)
    t.check(attributes["labels_dataset"] == "/numbers", attributes)
    wanted = ["base_ids", "label_distances", "label_rows", "labels"]
    t.check(names == wanted, names)


def test_options(t):
    base, queries, ids, texts = make(t)
    own, asked = t.random.integers(0, 6, 400), t.random.integers(0, 6, 60)
    rows = t.random.permutation(400)[:200]
    data = {"train": base, "test": queries, "train_ids": ids, "texts": texts, "rows": rows}
    path = t.h5("in.h5", {**data, "own": own, "asked": asked})
    out = t.path("out.h5")
    groups = {"base_groups": own, "query_groups": asked}
    limit = float(np.median(expected(queries, base, "cosine", texts)[1]))
    for arguments, options in (
        ([], {}),
        (["--similarity"], {"similarity": True}),
        (["--float64"], {"float_type": np.float64}),
        (["--subset=rows"], {"subset": rows}),
        (["--exclude-same=own,asked"], groups),
        (["--max-distance", number(limit)], {"max_distance": limit}),
        (["--min-similarity", number(0.7)], {"min_similarity": 0.7}),
        (["--base-rows=13:211", "--query-rows=5:50"], {"base_rows": (13, 211),
                                                       "query_rows": (5, 50)}),
        (["--compress=6"], {}),
    ):
        arguments = ["--metric=cosine", "--labels=texts"] + arguments
        t.succeeds("--force", *arguments, path, out)
        compare(t, arguments, out, expected(queries, base, "cosine", texts, **options))
        run = t.run("verify", "--full", path, out)
        t.check(run.code == 0, f"{arguments}: {run} {run.out}")


def test_self(t):
    base, _, ids, texts = make(t)
    path = t.h5("in.h5", {"x": base, "ids": ids, "texts": texts})
    out = t.path("out.h5")
    t.succeeds("--labels=texts", path, out)
    compare(t, "self", out, expected(base, base, "cosine", texts, self_job=True))


def test_few_labels(t):
    base, queries, ids, _ = make(t, rows=3000)
    path = t.h5("in.h5", {"train": base, "test": queries, "train_ids": ids})
    out = t.path("out.h5")
    for count in (0, 1, 5):
        texts = [""] * 3000
        for r in t.random.permutation(3000)[:count]:
            texts[r] = "only"
        t.succeeds("--force", "--metric=l2", "--labels", table(t, ids, texts), path, out)
        compare(t, f"{count} labels", out, expected(queries, base, "l2", texts))


def test_ids_that_repeat(t):
    """Rows of one id share its label; a line may come twice."""
    base = t.gaussian(40, 5)
    ids = [f"P{i // 4}" for i in range(40)]
    path = t.h5("in.h5", {"x": base, "ids": ids})
    labels = t.path("labels.tsv")
    with open(labels, "w", encoding="utf-8") as f:
        f.write("P3\tthree\nP5\tfive\nP3\tthree\n\nP6\t\n")
    texts = [{"P3": "three", "P5": "five"}.get(i, "") for i in ids]
    t.succeeds("--labels", labels, path, t.path("out.h5"))
    compare(t, "twice", t.path("out.h5"), expected(base, base, "cosine", texts, self_job=True))


def test_errors(t):
    base = t.gaussian(10, 4)
    path = t.h5("in.h5", {"x": base, "ids": [f"P{i}" for i in range(10)], "short": ["a"] * 9})
    bare = t.h5("bare.h5", {"x": base})
    out = t.path("out.h5")
    lines = t.path("labels.tsv")
    for text, said in (
        ("P1\ta\nP2 b\n", "line 2: has no tab"),
        ("P1\ta\tb\n", "line 1: has more than one tab"),
        ("\n\ta\n", "line 2: has no id"),
        ("P1\ta\nP1\tb\n", "line 2: the id has another label"),
    ):
        with open(lines, "w", encoding="utf-8") as f:
            f.write(text)
        t.fails(65, ["labels.tsv", said], "--labels", lines, path, out)
    with open(lines, "w", encoding="utf-8") as f:
        f.write("P1\ta\n")
    t.fails(64, ["bare.h5", "no ids"], "--labels", lines, bare, out)
    t.fails(65, ["short", "9 entries"], "--base=x", "--labels=short", path, out)
    t.fails(66, ["nowhere"], "--labels=nowhere", path, out)
    t.fails(64, ["exclude"], "--labels", lines, "-k", "3", path, out)


def test_ids_of_another_kind(t):
    """A file none of whose ids is one of a row is a valid answer, and a likely mistake."""
    path = t.h5("b.h5", {"b": t.gaussian(9, 4), "ids": [f"sp|P{i}|NAME" for i in range(9)]})
    text = t.path("labels.tsv")
    for first, warned in (("P1", True), ("sp|P1|NAME", False)):
        with open(text, "w") as f:
            f.write(f"{first}\tkinase\nP2\tkinase\n")
        run = t.succeeds("--force", "--labels", text, path, t.path("out.h5"))
        said = "warning" in run.err and '"P1"' in run.err and "sp|P0|NAME" in run.err
        t.check(said == warned, f"{first}: {run}")


def test_verify_and_show(t):
    base, queries, ids, texts = make(t)
    path = t.h5("in.h5", {"train": base, "test": queries, "train_ids": ids})
    labels, out = table(t, ids, texts), t.path("out.h5")
    t.succeeds("--metric=l2", "--labels", labels, path, out)
    t.fails(64, "--labels", "verify", path, out)
    run = t.run("verify", "--full", "--labels", labels, path, out)
    t.check(run.code == 0 and "60 of 60" in run.out, f"{run} {run.out}")
    run = t.run("--metric=l2", "--labels", labels, path, out)
    t.check(run.code == 0 and "up to date" in run.err, run)
    names, values, rows, _, _ = read(out)
    run = t.run("show", "--tsv", "-n", "60", out)
    lines = [line.split("\t") for line in run.out.splitlines()]
    t.check(lines[0][2:4] == ["label", "distance"], lines[0])
    for q, line in enumerate(lines[1:]):
        want = names[q], "" if rows[q] < 0 else str(rows[q])
        t.check((line[2], line[4]) == want, f"row {q}: {line}, expected {want}")
    with h5py.File(out, "a") as f:
        wrong = f["labels"][()]
        wrong[20] = b"wrong"
        f["labels"][...] = wrong
    run = t.run("verify", "--full", "--labels", labels, path, out)
    t.check(run.code == 1 and "query 20" in run.out, f"{run} {run.out}")
    with h5py.File(out, "a") as f:
        f["labels"][20] = names[20].encode()
        second = oracle.answer(queries, base, "l2", k=2,
                               subset=[r for r, text in enumerate(texts) if text])
        f["label_rows"][33] = second.rows[33][1]
    run = t.run("verify", "--full", "--labels", labels, path, out)
    t.check(run.code == 1 and "query 33" in run.out, f"{run} {run.out}")


def test_same_bytes(t):
    base, queries, ids, texts = make(t, rows=3000)
    path = t.h5("in.h5", {"train": base, "test": queries, "train_ids": ids})
    labels, out = table(t, ids, texts), t.path("out.h5")
    reference = None
    variants = [["--threads", n] for n in (1, 2, 3)]
    variants += [["--filter", name] for name in ("canonical", "f32", "int")]
    variants += [["--isa", name] for name in kernel_sets(t)]
    for extra in variants:
        t.succeeds("--force", "--metric=cosine", "--labels", labels, *extra, path, out)
        with open(out, "rb") as f:
            got = f.read()
        reference = reference or got
        t.check(got == reference, f"{extra} gives other bytes")
