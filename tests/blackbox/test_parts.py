"""Several sets as one base: --base repeated, or a list of them."""

import os
from pathlib import Path

import h5py
import numpy as np

import oracle


def ids_of(name, rows):
    return [f"{name}-{i}" + "x" * (i % 3) for i in range(rows)]


def make(t, shapes, dim=6, with_ids=True):
    """Files of these row counts and types; (paths, arrays, ids)"""
    paths, arrays, ids = [], [], []
    for n, (rows, dtype) in enumerate(shapes):
        array = t.gaussian(rows, dim, np.float64) * 10
        array = array.astype(dtype)
        names = ids_of(f"p{n}" * (n + 1), rows)
        packed = {"chunks": (4, 3), "compression": "gzip"} if n % 2 and rows >= 4 else {}
        content = {"vectors": (array, packed)}
        if with_ids:
            content["ids"] = names
        paths.append(t.h5(f"part{n}.h5", content))
        arrays.append(array)
        ids += names
    return paths, arrays, ids


def base_options(paths):
    return [text for path in paths for text in ("--base", path)]


def test_repeated(t):
    paths, arrays, ids = make(t, [(9, "f4"), (0, "f4"), (17, "f4"), (1, "f4"), (5, "f4")])
    base = np.concatenate(arrays)
    queries = t.gaussian(7, 6)
    question = t.h5("q.h5", {"q": queries})
    for metric in oracle.METRICS[:4]:
        result = t.exact("parts", base_options(paths) + [question], queries, base, metric, k=4)
        got = [i.decode() for i in result.base_ids]
        t.check(got == ids, f"ids: {got}")
    t.exact(
        "rows over all", base_options(paths) + [question], queries, base, "l2", k=3,
        base_rows=(6, 28),
    )
    t.exact(
        "rows in one", base_options(paths) + [question], queries, base, "l2", k=3,
        base_rows=(11, 20),
    )
    t.exact("pairs", base_options(paths) + [question], queries, base, "l2", k=None,
            max_distance=25.0)


def test_self(t):
    paths, arrays, _ = make(t, [(9, "f4"), (17, "f4")])
    base = np.concatenate(arrays)
    t.exact("self", ["--self"] + base_options(paths) + [paths[0]], base, base, "l2", k=3,
            self_job=True)
    path = t.h5("in.h5", {"a": arrays[1], "b": arrays[0]})
    both = np.concatenate([arrays[0], arrays[1]])
    t.exact("sets of INPUT", ["--base", "b", "--base", "a", path], both, both, "cosine", k=3,
            self_job=True)


def test_types(t):
    """The element type is the widest that is needed."""
    shapes = [(9, "f4"), (5, "f2"), (8, "f8"), (6, "i1"), (7, ">i4"), (3, "u2"), (4, "<f4")]
    paths, arrays, _ = make(t, shapes)
    queries = t.gaussian(5, 6)
    question = t.h5("q.h5", {"q": queries})
    base = np.concatenate([a.astype("f8") for a in arrays])
    t.exact("all types", base_options(paths) + [question], queries, base, "l2", k=9)
    t.exact("narrow", base_options([paths[i] for i in (0, 1, 3, 5, 6)]) + [question], queries,
            np.concatenate([arrays[i].astype("f4") for i in (0, 1, 3, 5, 6)]), "ip", k=9)


def test_list(t):
    paths, arrays, ids = make(t, [(9, "f4"), (17, "f4"), (5, "f4")])
    base = np.concatenate(arrays)
    queries = t.gaussian(7, 6)
    question = t.h5("q.h5", {"q": queries})
    folder = Path(t.path("lists"))
    folder.mkdir()
    text = folder / "all.txt"
    text.write_text("# the parts\n\n../part0.h5\r\n  ../part1.h5::vectors  \n" + paths[2])
    result = t.exact("list", ["--base", f"@{text}", question], queries, base, "l2", k=4)
    t.check([i.decode() for i in result.base_ids] == ids, "ids")
    text.write_bytes(b"\xef\xbb\xbf../part0.h5\n../part1.h5\n../part2.h5\n")
    t.exact("mark of an editor", ["--base", f"@{text}", question], queries, base, "l2", k=4)
    before = t.path("out.h5")
    again = t.run(*base_options(paths), "-k", 4, "--metric", "l2", question, before)
    t.check(again.code == 0 and "up to date" in again.err, f"same content, other paths: {again}")
    t.fails(66, "gone.txt", "--base", "@gone.txt", question, t.path("o.h5"))
    empty = folder / "empty.txt"
    empty.write_text("# nothing\n")
    t.fails(64, ["empty.txt", "no set"], "--base", f"@{empty}", question, t.path("o.h5"))
    t.fails((66, 74), "lists", "--base", f"@{folder}", question, t.path("o.h5"))
    lost = folder / "lost.txt"
    lost.write_text("../part0.h5\n../part9.h5\n")
    t.fails(66, "part9.h5", "--base", f"@{lost}", question, t.path("o.h5"))


def test_moved(t):
    """Paths are no part of the identity, content and order are."""
    paths, _, _ = make(t, [(9, "f4"), (17, "f4")])
    question = t.h5("q.h5", {"q": t.gaussian(4, 6)})
    t.job(*base_options(paths), question)
    first = Path(t.path("out.h5")).read_bytes()
    os.rename(paths[1], t.path("elsewhere.h5"))
    moved = base_options([paths[0], t.path("elsewhere.h5")])
    t.job(*moved, question, out="two.h5")
    t.check(Path(t.path("two.h5")).read_bytes() == first, "a moved part changed the result")
    swapped = base_options([t.path("elsewhere.h5"), paths[0]])
    t.fails(73, "--force", *swapped, question, t.path("out.h5"))


def test_refused(t):
    paths, arrays, _ = make(t, [(9, "f4"), (17, "f4")])
    other = t.h5("other.h5", {"v": t.gaussian(4, 5)})
    question = t.h5("q.h5", {"q": t.gaussian(4, 6)})
    t.fails(65, ["dimensions", "other.h5", "5", "6"], *base_options([paths[0], other]), question,
            t.path("out.h5"))
    t.fails(64, "26 rows", "--base-rows", "0:27", *base_options(paths), question,
            t.path("out.h5"))
    bare = t.h5("bare.h5", {"v": arrays[0]})
    run = t.succeeds("--force", *base_options([paths[0], bare]), question, t.path("out.h5"))
    t.check("no ids" in run.err, f"missing ids are not told: {run}")
    t.fails(64, "input", *base_options(paths), question, paths[1])


def test_verify_and_show(t):
    paths, arrays, _ = make(t, [(9, "f4"), (40, "f8"), (17, "i1")])
    question = t.h5("q.h5", {"q": t.gaussian(12, 6)})
    t.job(*base_options(paths), question)
    run = t.run("verify", *base_options(paths), question, t.path("out.h5"))
    t.check(run.code == 0, f"verify: {run}")
    run = t.run("verify", "--base", paths[0], question, t.path("out.h5"))
    t.check(run.code in (64, 65), f"verify with too few sets: {run}")
    run = t.run("show", t.path("out.h5"), "0")
    t.check(run.code == 0, f"show: {run}")
    run = t.run("inspect", *base_options(paths), question)
    t.check(run.code == 0 and "66 x 6" in run.out, f"inspect: {run}\n{run.out}")


def test_large(t):
    """Parts whose borders lie on no grain, read in slabs."""
    shapes = [(1100, "f4"), (1535, "f2"), (1, "f4"), (1300, "f4")]
    paths, arrays, _ = make(t, shapes, dim=11, with_ids=False)
    queries = t.gaussian(20, 11)
    question = t.h5("q.h5", {"q": queries})
    base = np.concatenate([a.astype("f4") for a in arrays])
    t.exact("large", base_options(paths) + [question], queries, base, "l2", k=5)
    t.exact("large, self", ["--self"] + base_options(paths) + [question], base, base, "ip", k=2,
            self_job=True)


def test_labels(t):
    """A label file is matched with the ids of all parts."""
    paths, arrays, ids = make(t, [(9, "f4"), (17, "f4")])
    base = np.concatenate(arrays).astype(np.float64)
    queries = t.gaussian(6, 6)
    question = t.h5("q.h5", {"q": queries})
    labelled = [1, 8, 9, 20, 25]
    table = Path(t.path("labels.tsv"))
    table.write_text("".join(f"{ids[i]}\tlabel{i}\n" for i in labelled))
    t.succeeds("--force", "--labels", table, "--metric", "l2", *base_options(paths), question,
               t.path("out.h5"))
    apart = ((queries[:, None].astype(np.float64) - base[None, labelled]) ** 2).sum(axis=2)
    wanted = [f"label{labelled[i]}" for i in apart.argmin(axis=1)]
    with h5py.File(t.path("out.h5"), "r") as f:
        got = [text.decode() for text in f["labels"][()]]
    t.check(got == wanted, f"labels {got}, expected {wanted}")
