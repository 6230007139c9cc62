"""The command line: verify, show, inspect, statistics, mistakes."""

import json
import os
import re
import subprocess

import h5py
import numpy as np

import oracle
from support import DATA, Result, binary


def make_result(t, *options, metric="l2"):
    base, queries = t.gaussian(80, 6), t.gaussian(25, 6)
    base[10:14] = base[9]
    path = t.two_sets(base, queries, metric=metric)
    out = t.path("out.h5")
    t.succeeds("--force", *options, path, out)
    return path, out, base, queries


def verify(t, code, label, *arguments):
    run = t.run("verify", *arguments)
    t.check(run.code == code, f"{label}: expected exit {code}: {run}")
    return run


def test_verify_good_results(t):
    for metric in oracle.METRICS:
        for options in ([], ["-k", "200"], ["--max-distance", "1.5"], ["--compress", "6"],
                        ["--max-distance", "2", "-k", "3"], ["--base-rows", "5:60"],
                        ["--query-rows", "5:11"]):
            path, out, _, _ = make_result(t, *options, metric=metric)
            verify(t, 0, f"{metric} {options}", path, out)
            verify(t, 0, f"{metric} {options} --full", "--full", path, out)
    rows = t.gaussian(40, 5)
    rows[3] = np.nan
    path = t.h5("one.h5", {"x": rows})
    t.succeeds(path, t.path("self.h5"))
    verify(t, 0, "self", "--full", path, t.path("self.h5"))


def test_verify_second_file(t):
    one = t.h5("one.h5", {"x": t.gaussian(30, 5)})
    two = t.h5("queries.h5", {"y": t.gaussian(9, 5)})
    t.succeeds("--queries", two, one, t.path("out.h5"))
    verify(t, 0, "second file", "--full", "--queries", two, one, t.path("out.h5"))


def tamper(out, name, place, value):
    with h5py.File(out, "r+") as f:
        f[name][place] = value


def test_verify_finds_tampering(t):
    path, out, base, queries = make_result(t)
    good = Result(out)
    stranger = np.setdiff1d(np.arange(80), good.neighbors[4])[0]
    cases = (
        ("other neighbour", "neighbors", (4, 2), stranger),
        ("repeated neighbour", "neighbors", (4, 2), good.neighbors[4, 0]),
        ("neighbour out of range", "neighbors", (4, 2), 80),
        ("negative neighbour", "neighbors", (4, 2), -1),
        ("distance", "distances", (4, 2), good.distances[4, 2] * np.float32(1.01)),
        ("distance of the last", "distances", (24, 9), 0),
        ("NaN distance", "distances", (4, 2), np.nan),
        ("count", "counts", 4, 9),
        ("negative count", "counts", 4, -1),
    )
    for label, name, place, value in cases:
        make = t.path("bad.h5")
        with open(out, "rb") as source, open(make, "wb") as copy:
            copy.write(source.read())
        tamper(make, name, place, value)
        run = t.run("verify", "--full", path, make)
        allowed = (1,) if "distance" in label or "other" in label else (1, 65)
        t.check(run.code in allowed, f"{label}: expected exit {allowed}: {run}")
    rows = t.gaussian(80, 6)
    other = t.two_sets(rows, queries, name="other.h5", metric="l2")
    run = t.run("verify", "--full", other, out)
    t.check(run.code in (1, 65), f"another input: {run}")


def test_verify_finds_tampered_pairs(t):
    path, out, base, queries = make_result(t, "--max-distance", "2.5")
    good = Result(out)
    t.require(len(good.indices) > 20, "test data give too few pairs")
    row = int(np.argmax(np.diff(good.indptr)))
    at = int(good.indptr[row])
    stranger = np.setdiff1d(np.arange(80), good.indices[at : good.indptr[row + 1]])[0]
    for label, name, place, value in (
        ("other row", "pairs/indices", at, stranger),
        ("distance", "pairs/data", at, good.data[at] * np.float32(0.99)),
        ("indptr", "pairs/indptr", row, good.indptr[row] + 1),
        ("row out of range", "pairs/indices", at, 10**12),
    ):
        make = t.path("bad.h5")
        with open(out, "rb") as source, open(make, "wb") as copy:
            copy.write(source.read())
        tamper(make, name, place, value)
        run = t.run("verify", "--full", path, make)
        allowed = (1,) if label in ("other row", "distance") else (1, 65)
        t.check(run.code in allowed, f"{label}: expected exit {allowed}: {run}")


def test_verify_accepts_a_swap_of_equals(t):
    """Two answers of equal distance in the other order are no error of the scan's rounding."""
    rows = t.gaussian(30, 5)
    rows[7] = rows[3]
    path = t.h5("one.h5", {"x": rows})
    out = t.path("out.h5")
    t.succeeds("--metric", "l2", path, out)
    with h5py.File(out, "r+") as f:
        neighbors = f["neighbors"]
        for i in range(30):
            line = neighbors[i]
            places = [int(np.flatnonzero(line == v)[0]) for v in (3, 7) if (line == v).any()]
            if len(places) == 2:
                line[places] = line[places[::-1]]
                neighbors[i] = line
    verify(t, 0, "swap", "--full", path, out)


def test_verify_recall_of_own_truth(t):
    path = str(DATA / "annbench-600x16.h5")
    t.succeeds("--metric", "l2", "-k", "20", path, t.path("out.h5"))
    run = verify(t, 0, "annbench", path, t.path("out.h5"))
    t.check("recall" in (run.out + run.err).lower(), f"no recall: {run}")


def test_verify_refuses_what_is_no_result(t):
    path, out, _, _ = make_result(t)
    t.fails(65, "two.h5", "verify", path, path)
    t.fails(66, "gone.h5", "verify", path, t.path("gone.h5"))
    t.fails(66, "gone.h5", "verify", t.path("gone.h5"), out)
    t.fails(64, [], "verify", path)


def test_show(t):
    words = [f"word{i}" for i in range(30)]
    words[4] = "caf\u00e9"
    rows = t.gaussian(30, 5)
    path = t.h5("one.h5", {"x": rows, "ids": words})
    out = t.path("out.h5")
    t.succeeds("-k", "3", path, out)
    result = Result(out)
    for argument in ("word7", "7"):
        run = t.run("show", out, argument)
        t.check(run.code == 0 and run.err == "", f"show {argument}: {run}")
        for row in result.neighbors[7]:
            t.check(words[row] in run.out, f"show {argument}: no {words[row]}: {run.out!r}")
        t.check("word8" not in run.out or 8 in result.neighbors[7], "another query is shown")
    run = t.run("show", out, "caf\u00e9", "word1")
    t.check(run.code == 0 and "caf\u00e9" in run.out and "word1" in run.out, f"{run}")
    t.check(run.out.index("caf\u00e9") < run.out.index("word1"), "order of arguments")
    run = t.run("show", out)
    t.check(run.code == 0, f"{run}")
    t.check("word9" in run.out, "ten rows by default")
    run = t.run("show", "--tsv", out, "word7")
    lines = [line.split("\t") for line in run.out.splitlines()]
    t.check(run.code == 0 and len(lines) >= 1 and min(map(len, lines)) > 1, f"tsv: {run.out!r}")
    distance = float(result.distances[7, 0])
    t.check(
        any(v != "" and np.float32(float(v)) == result.distances[7, 0]
            for v in (line[-1] for line in lines[1:])),
        f"the last column does not give back the distance {distance}: {run.out!r}",
    )
    run = t.fails((64, 65, 66), "nobody", "show", out, "nobody")


def test_show_without_ids_and_pairs(t):
    rows = t.gaussian(30, 5)
    path = t.h5("one.h5", {"x": rows})
    t.succeeds("-k", "3", path, t.path("knn.h5"))
    t.succeeds("--max-distance", "0.4", path, t.path("pairs.h5"))
    for name in ("knn.h5", "pairs.h5"):
        for extra in ([], ["3"], ["--tsv"], ["--tsv", "29"]):
            tsv = [word for word in extra if word == "--tsv"]
            rows_asked = [word for word in extra if word != "--tsv"]
            run = t.run("show", *tsv, t.path(name), *rows_asked)
            t.check(run.code == 0 and run.out and run.err == "", f"{name} {extra}: {run}")
    t.fails((64, 65, 66), "30", "show", t.path("knn.h5"), "30")
    t.fails(65, "one.h5", "show", path)


def test_show_is_quiet_when_the_reader_leaves(t):
    rows = t.gaussian(3000, 5)
    path = t.h5("one.h5", {"x": rows})
    t.succeeds("-k", "60", path, t.path("out.h5"))
    read, write = os.pipe()
    os.close(read)
    with open(write, "wb") as closed:
        done = subprocess.run(
            [binary(), "show", t.path("out.h5")] + [str(i) for i in range(3000)],
            stdout=closed,
            stderr=subprocess.PIPE,
            check=False,
            timeout=100,
        )
    t.check(done.stderr == b"", f"not quiet: {done.stderr!r}")


def test_ids_cannot_play_with_the_terminal(t):
    rows = t.gaussian(4, 5)
    words = ["\x1b[2Jgone", "line\nbreak", "tab\there", "plain"]
    path = t.h5("one.h5", {"x": rows, "ids": words})
    t.succeeds("-k", "2", path, t.path("out.h5"))
    for extra in ([], ["--tsv"]):
        run = t.run("show", *extra, t.path("out.h5"))
        t.check(run.code == 0, f"{run}")
        t.check("\x1b" not in run.out, f"escape sequences reach the terminal: {run.out!r}")
        t.check("line\nbreak" not in run.out, f"an id breaks the line: {run.out!r}")


def test_inspect(t):
    base, queries = t.gaussian(80, 6), t.gaussian(25, 6)
    path = t.two_sets(base, queries, metric="euclidean", chunks=(8, 6), compression="gzip")
    run = t.run("inspect", path)
    t.check(run.code == 0, f"{run}")
    for word in ("train", "test", "80", "25", "float32", "l2"):
        t.check(word in run.out, f"inspect does not say {word}: {run.out!r}")
    before = sorted(os.listdir(t.folder))
    t.run("inspect", path)
    t.check(sorted(os.listdir(t.folder)) == before, "inspect wrote something")
    many = t.h5("many.h5", {"first": base, "second": queries})
    run = t.run("inspect", many)
    t.check(run.code in (0, 64, 65), f"{run}")
    said = run.out + run.err
    t.check("first" in said and "second" in said and "--base" in said, f"{run} {run.out!r}")
    run = t.run("inspect", "--base", "first", "--self", many)
    t.check(run.code == 0 and "first" in run.out, f"{run}")
    t.fails(66, "gone.h5", "inspect", t.path("gone.h5"))


def test_stats(t):
    base, queries = t.gaussian(80, 6), t.gaussian(25, 6)
    base[7, 0] = np.nan
    path = t.two_sets(base, queries, metric="l2")
    stats = t.path("stats.json")
    run = t.run("--stats", stats, "--threads", "2", path, t.path("out.h5"))
    t.require(run.code == 0, run)
    with open(stats, encoding="utf-8") as f:
        content = json.load(f)
    flat = json.dumps(content)
    t.check(isinstance(content, dict) and content, content)
    t.check('"l2"' in flat, f"no metric: {flat}")
    t.check("2000" in flat, f"no number of pairs: {flat}")


def test_summary_and_quiet(t):
    path = t.two_sets(t.gaussian(80, 6), t.gaussian(25, 6), metric="euclidean")
    run = t.succeeds("--force", path, t.path("out.h5"))
    for word in ("l2", "euclidean", "80", "25"):
        t.check(word in run.err, f"the summary does not say {word}: {run}")
    t.check("\r" not in run.err and "\x1b" not in run.err, f"terminal codes in a log: {run.err!r}")
    run = t.succeeds("--force", "-q", path, t.path("out.h5"))
    t.check(run.err == "", f"-q is not quiet: {run}")
    run = t.succeeds("--force", "-v", path, t.path("out.h5"))
    t.check("arena" in run.err, f"-v does not tell of the arena: {run}")


def test_help_and_version(t):
    run = t.run("--help")
    t.check(run.code == 0 and run.err == "", f"{run}")
    for name in ("--metric", "--max-distance", "--min-similarity", "--base", "--queries", "-k",
                 "--memory", "--self", "--ids", "--compress", "--threads", "--isa", "--filter", "--force",
                 "--stats", "--shard", "--from-scratch", "inspect", "show", "verify", "merge"):
        t.check(name in run.out, f"--help does not list {name}")
    for command in ("inspect", "show", "verify"):
        run = t.run(command, "--help")
        t.check(run.code == 0 and run.out and run.err == "", f"{run}")
    run = t.run("--version")
    t.check(run.code == 0 and re.search(r"\d+\.\d+\.\d+", run.out), f"{run} {run.out!r}")


def test_mistakes(t):
    path = t.h5("one.h5", {"x": t.gaussian(10, 3)})
    out = t.path("out.h5")
    for arguments in ([], [path], [path, out, "third"], ["--nonsense", path, out],
                      ["--threads", path, out], ["-k"], ["--self=yes", path, out]):
        run = t.run(*arguments)
        t.check(run.code == 64 and run.out == "" and run.err, f"{run}")
    for name, values in (
        ("-k", ("0", "-1", "1x", "", "1.5", "0x10", "99999999999999999999", " 3")),
        ("--threads", ("0", "-2", "two", "", "99999999999")),
        ("--memory", ("0", "-1G", "4X", "", "4GG", "G", "nan", "99999999999999999999T")),
        ("--compress", ("10", "-1", "x", "")),
        ("--max-distance", ("x", "", "nan", "1,5")),
        ("--min-similarity", ("x", "", "nan")),
        ("--isa", ("sse9", "")),
        ("--filter", ("fast", "")),
    ):
        for value in values:
            argument = f"-k{value}" if name == "-k" and value else f"{name}={value}"
            if name == "-k" and not value:
                continue
            t.fails(64, name.lstrip("-") if name != "-k" else "k", argument, path, out)
    t.fails(64, "--min-similarity", "--min-similarity=1", "--metric=l2", path, out)
    t.fails(64, "--min-similarity", "--min-similarity=1", "--metric=sqeuclidean", path, out)
    t.fails(64, "isa", path, out, env={"ENGRAM_ISA": "sse9"})


def test_forms_of_options(t):
    rows = t.gaussian(20, 3)
    path = t.h5("one.h5", {"x": rows})
    want = oracle.answer(rows, rows, "l2", k=3, self_job=True)
    for arguments in (["-k", "3", "--metric", "l2"], ["-k3", "--metric=l2"], ["--metric=euclidean",
                      "-k3"], ["-k3", "--met", "l2"]):
        t.compare(str(arguments), t.job(*arguments, path), want, 3)
    os.rename(path, t.path("-k"))
    run = t.run("--metric=l2", "-k3", "--force", "--", "-k", "out.h5")
    t.check(run.code == 0, f"a file named -k after --: {run}")
    t.compare("--", Result(t.path("out.h5")), want, 3)
    t.h5("one2.h5", {"x": rows})
    os.rename(t.path("-k"), t.path("show"))
    run = t.run("--metric=l2", "-k3", "--force", "./show", "out2.h5")
    t.check(run.code == 0, f"a file named ./show: {run}")
    run = t.run("--force", t.path("one2.h5"), "--metric=l2", t.path("out3.h5"), "-k3")
    t.check(run.code == 0, f"options after operands: {run}")


def test_bad_inputs(t):
    out = t.path("out.h5")
    t.fails(66, "gone.h5", t.path("gone.h5"), out)
    t.fails((65, 66), str(t.folder), str(t.folder), out)
    for name, content in (("text.h5", b"not HDF5\n"), ("zero.h5", b""), ("nul.h5", b"\0" * 5000),
                          ("magic.h5", b"\x89HDF\r\n\x1a\n" + b"\xff" * 600)):
        with open(t.path(name), "wb") as f:
            f.write(content)
        t.fails(65, name, t.path(name), out)
    if os.geteuid() != 0:
        path = t.h5("secret.h5", {"x": t.gaussian(10, 3)})
        os.chmod(path, 0)
        t.fails(77, "secret.h5", path, out)


def test_names_that_are_hard_to_print(t):
    name = "odd name \u00fc %s \x1b[31m\n.h5"
    with open(t.path(name), "wb") as f:
        f.write(b"not HDF5\n")
    run = t.fails(65, "odd name", t.path(name), t.path("out.h5"))
    t.check("\x1b" not in run.err, f"escape sequences of a name reach the terminal: {run.err!r}")
    rows = t.gaussian(10, 3)
    t.h5("plain.h5", {"x": rows})
    os.replace(t.path("plain.h5"), t.path(name))
    t.succeeds(t.path(name), t.path("out \u00e9.h5"))


def test_more_threads_than_anyone_has(t):
    """OpenMP's runtime ends the process, or crashes, when it cannot start a team."""
    path = t.h5("one.h5", {"x": t.gaussian(200, 4)})
    for count in (5000, 65536):
        for arguments, env in ((["--threads", count], {}), ([], {"OMP_NUM_THREADS": str(count)})):
            run = t.run("--force", *arguments, path, t.path("out.h5"), env=env)
            t.check(run.code == 64 and "1 to 4096" in run.err, f"{arguments} {env}: {run}")
            t.check(run.err.count("\n") == 1, f"{arguments} {env}: {run}")


def test_sizes_beyond_everything(t):
    """Chunks that were never written cost nothing: the file is small, its shape is not. What was
    never written, or has more dimensions than any job can have, is bad data, unless the plan knows
    before anybody looks that memory will not do."""
    limit = "has 1099511627776 dimensions; the limit is 16777216"
    for rows, dim in ((2**40, 4), (2**62, 4), (2**32, 2**20), (3, 2**40)):
        path = t.path("huge.h5")
        with h5py.File(path, "w") as file:
            file.create_dataset("x", shape=(rows, dim), dtype="f4", chunks=(1, 4))
        for command in (["inspect", "-k", 3], ["inspect", "--max-distance", 1], ["-k", 3]):
            run = t.run(*command, path, *([] if "inspect" in command else [t.path("out.h5")]))
            said = limit if dim > 2**24 else "of which at most 0 were ever written"
            too_large = run.code == 71 and "of memory are too little" in run.err
            t.check(run.code == 65 and said in run.err or too_large, f"{rows} x {dim}: {run}")
            t.check(" 0 pairs" not in run.out, f"{rows} x {dim}: {run}")
