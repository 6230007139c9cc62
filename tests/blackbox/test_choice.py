"""Which filter a job chooses and why: --stats and -v say it afterwards, inspect before."""

import json

import numpy as np

from support import DATA, heavy


def decaying(t, rows, dim, decay):
    return (t.random.normal(size=(rows, dim)) * 2 ** (-decay * np.arange(dim))).astype(np.float32)


def inspected(t, *arguments):
    """The filter that inspect names, what it says in brackets, and its lines on candidates."""
    run = t.run("inspect", *arguments)
    t.require(run.code == 0, run)
    lines = run.out.splitlines()
    at = next(i for i, line in enumerate(lines) if line.startswith("filter "))
    name, reason = lines[at].split(None, 2)[1:]
    candidates = {}
    for line in lines[at + 1 :]:
        if not line.startswith("  "):
            break
        key, text = line.split(None, 1)
        candidates[key] = text
    return name, reason.strip("()"), candidates


def ran(t, *arguments):
    stats = t.path("stats.json")
    run = t.run("-v", "--force", "--stats", stats, *arguments, t.path("out.h5"))
    t.require(run.code == 0, run)
    with open(stats, encoding="utf-8") as f:
        told = json.load(f)
    return told, next(line for line in run.err.splitlines() if line.startswith("  filter "))


def agree(t, what, *arguments, expected=None, small=True):
    """Of a small base inspect looks at all rows, and makes the job's own estimates."""
    name, reason, candidates = inspected(t, *arguments)
    told, summary = ran(t, *arguments)
    chosen = told["filter"]
    t.check(name == chosen["name"], f"{what}: inspect says {name}, the job {chosen}")
    t.check(expected in (None, name), f"{what}: {name}, expected {expected}")
    if chosen["predicted_share"] is not None and small and name in candidates:
        share = f"{100 * chosen['predicted_share']:.2g} %"
        t.check(candidates[name].startswith(share), f"{what}: {candidates}: {chosen}")
    t.check(f"{name}: {chosen['reason']}" in summary, f"{what}: {summary}: {chosen}")
    return reason, candidates, chosen


def test_bundled(t):
    """The sample of inspect and that of the job lead to the same choice."""
    glove = DATA / "glove-20k.h5"
    for more in ([], ["-k", "1"], ["--min-similarity", "0.8"], ["--query-rows", "0:200"]):
        reason, candidates, chosen = agree(t, f"{more}", *more, glove)
        t.check(set(candidates) == {"f32", "int", "prefix"}, candidates)
        t.check("cost 1.00" in " ".join(candidates.values()), candidates)
        if "--query-rows" in more:  # too few pairs for the job to estimate anything
            t.check("too few" in candidates["prefix"], candidates)
            t.check(chosen["predicted_share"] is None, chosen)
        else:
            t.check("sample" in reason and "sample" in chosen["reason"], f"{reason}: {chosen}")
            t.check(0 <= chosen["predicted_share"] < 0.02, chosen)
        t.check(0 <= chosen["actual_share"] < 0.05, chosen)


@heavy
def test_prefix_is_foreseen(t):
    """Rows of few large coordinates: however they are stored, and also in parts."""
    rows = decaying(t, 12_000, 400, 0.25)  # more than inspect reads as a whole
    for what, storage in (
        ("contiguous", {}),
        ("chunks", {"chunks": (500, 400), "compression": 1, "shuffle": True}),
        ("one chunk", {"chunks": (12_000, 400), "compression": 1}),
        ("narrow chunks", {"chunks": (64, 32), "compression": 1}),
    ):
        path = t.h5("x.h5", {"x": rows}, **storage)
        _, candidates, chosen = agree(t, what, "-k", "5", path, expected="prefix", small=False)
        t.check("axes" in candidates["prefix"], candidates)
        t.check(15 <= chosen["axes"] <= 64, chosen)
        t.check(0 < chosen["predicted_share"] < 0.05, chosen)
        t.check(0 < chosen["actual_share"] < 0.05, chosen)
    path = t.h5("x.h5", {"x": t.gaussian(12_000, 96)})
    _, candidates, chosen = agree(t, "no structure", "-k", "5", path, expected="int")
    t.check(chosen["axes"] == 0, chosen)
    t.check("no axes" in candidates["prefix"], candidates)


def test_shapes_decide(t):
    """No sample is needed to tell, and the reason says what decided."""
    path = t.h5("x.h5", {"x": t.gaussian(300, 16)})
    wide = t.h5("wide.h5", {"x": t.gaussian(300, 40)})
    bits = t.h5("bits.h5", {"x": t.random.integers(0, 2, (300, 40)).astype(bool)})
    for name, text, arguments in (
        ("f32", "24 dimensions", [path]),
        ("f32", "dot product", ["--metric", "l1", wide]),
        ("canonical", "few queries", ["--query-rows", "5:9", wide]),
        ("canonical", "few rows", ["--base-rows", "0:60", "--query-rows", "60:", wide]),
        ("canonical", "every pair", ["--all", wide]),
        ("bits", "bits", [bits]),
    ):
        reason, candidates, chosen = agree(t, text, *arguments, expected=name)
        t.check(text in reason and text in chosen["reason"], f"{reason}: {chosen}")
        t.check(candidates == {}, candidates)
        t.check(chosen["predicted_share"] is None, chosen)
        t.check((chosen["actual_share"] is None) == (name == "canonical"), chosen)


def test_forced(t):
    path = t.h5("x.h5", {"x": t.gaussian(400, 40)})
    for name in ("canonical", "f32", "int", "prefix"):
        reason, _, chosen = agree(t, name, "--filter", name, path, expected=name)
        t.check(reason == "forced" and chosen["reason"] == "forced", f"{reason}: {chosen}")


def test_allowed_rows(t):
    """Rows that cannot be answers are not in the sample."""
    rows = t.gaussian(12_000, 96)
    allowed = np.arange(12_000) % 2 == 0
    rows[allowed] = decaying(t, 6_000, 96, 0.25)
    path = t.h5("x.h5", {"x": rows, "good": allowed})
    agree(t, "subset", "--base", "x", "--subset", "good", "-k", "5", path, expected="prefix")
