"""One input and one set of semantic options give one output, byte for byte."""

import time

import h5py
import numpy as np

from support import heavy, kernel_sets, number

SCHEDULES = (
    {"OMP_NUM_THREADS": "1"},
    {"OMP_NUM_THREADS": "3", "OMP_DYNAMIC": "true"},
    {"OMP_SCHEDULE": "static", "OMP_DYNAMIC": "false"},
    {"OMP_SCHEDULE": "dynamic,1", "OMP_PROC_BIND": "true", "OMP_PLACES": "cores"},
    {"OMP_SCHEDULE": "guided", "OMP_WAIT_POLICY": "passive", "OMP_PROC_BIND": "spread"},
    {"OMP_THREAD_LIMIT": "2"},
)


def content(path):
    with open(path, "rb") as f:
        return f.read()


def jobs(t):
    """(label, arguments) of jobs that cover metrics, collectors and both ways of writing."""
    base = t.gaussian(1500, 24)
    base[700:720] = base[3]
    base[11, 2] = np.nan
    base[40] = 0
    queries = t.gaussian(150, 24)
    queries[5] = base[3]
    words = [f"word {i} \u00e4" for i in range(1500)]
    two = t.two_sets(base, queries)
    one = t.h5("one.h5", {"x": base[:700], "ids": words[:700]})
    wide = t.two_sets(base.astype("f8") * (1 + 2.0**-40), queries.astype("f8"), name="wide.h5")
    return (
        ("cosine knn", ["--metric", "cosine", two]),
        ("l2 knn compressed", ["--metric", "l2", "-k", "33", "--compress", "6", two]),
        ("ip self ids", ["--metric", "ip", one]),
        ("sqeuclidean self ids compressed", ["--metric=sqeuclidean", "--compress", "6", one]),
        ("cosine float64", ["--metric", "cosine", "-k", "7", wide]),
        ("l2 float64", ["--metric", "l2", wide]),
        ("cosine pairs", ["--metric", "cosine", "--min-similarity", "0.4", two]),
        ("l2 pairs compressed", ["--metric=l2", "--max-distance=5.5", "--compress=6", two]),
        ("cosine pairs self, k", ["--max-distance", "0.7", "-k", "4", one]),
        ("ip pairs", ["--metric", "ip", "--min-similarity", "9", "-k", "20", two]),
    )


def every_variant(t, label, arguments, variants):
    reference = None
    for name, extra, env in variants:
        out = t.path("out.h5")
        t.succeeds("--force", *arguments, *extra, out, env=env)
        got = content(out)
        if reference is None:
            reference = got
        t.check(got == reference, f"{label}: {name} gives other bytes than the first")


@heavy
def test_threads_filters_and_kernel_sets(t):
    sets = kernel_sets(t)
    for label, arguments in jobs(t):
        variants = [(f"--threads {n}", ["--threads", n], {}) for n in (1, 2, 3, 4)]
        for filter_name in ("canonical", "f32", "int", "prefix", "auto"):
            variants.append((f"--filter {filter_name}", ["--filter", filter_name], {}))
        for isa in sets:
            variants.append((f"--isa {isa}", ["--isa", isa, "--threads", 2], {}))
            variants.append((f"{isa} f32", ["--isa", isa, "--filter", "f32"], {}))
            variants.append((f"{isa} canonical", ["--isa", isa, "--filter", "canonical"], {}))
            variants.append((f"ENGRAM_ISA={isa}", [], {"ENGRAM_ISA": isa}))
        every_variant(t, label, arguments, variants)


def test_openmp_environment(t):
    for label, arguments in jobs(t)[:2] + jobs(t)[6:8]:
        every_variant(t, label, arguments, [(str(env), [], env) for env in SCHEDULES])


def test_time_and_place(t):
    """Runs more than a second apart, under other names, from another folder, in another zone."""
    base = t.gaussian(100, 6)
    words = [f"w{i}" for i in range(100)]
    path = t.h5("one.h5", {"x": base, "ids": words})
    (t.folder / "elsewhere").mkdir()
    other = t.path("elsewhere/copy of one.h5")
    with open(other, "wb") as f:
        f.write(content(path))
    for extra in ([], ["--compress", "6"], ["--max-distance", "0.5"]):
        t.succeeds("--force", *extra, path, t.path("a.h5"))
        time.sleep(1.1)
        t.succeeds(
            "--force",
            *extra,
            "copy of one.h5",
            "b.h5",
            cwd=t.path("elsewhere"),
            env={"TZ": "Asia/Tokyo", "LC_ALL": "C", "HOME": "/nonexistent"},
        )
        t.check(
            content(t.path("a.h5")) == content(t.path("elsewhere/b.h5")),
            f"{extra}: bytes depend on time or place",
        )


def test_storage_of_the_input(t):
    rows = t.gaussian(300, 12)
    words = [f"w{i}" for i in range(300)]
    fixed = np.array([w.encode() for w in words])
    forms = (
        ("contiguous", (rows, {}), words),
        ("chunked", (rows, {"chunks": (7, 12)}), words),
        ("resizable", (rows, {"chunks": (64, 5), "maxshape": (None, None)}), words),
        ("gzip", (rows, {"chunks": (50, 12), "compression": "gzip"}), words),
        (
            "everything",
            (rows, {"chunks": (50, 12), "compression": 9, "shuffle": True, "fletcher32": True}),
            words,
        ),
        ("fixed-length ids", (rows, {}), fixed),
        ("big-endian", (rows.astype(">f4"), {}), words),
    )
    for extra in ([], ["--compress", "3"], ["--min-similarity", "0.5"]):
        reference = None
        for label, vectors, ids in forms:
            path = t.h5("one.h5", {"x": vectors, "ids": ids})
            out = t.path("out.h5")
            t.succeeds("--force", *extra, path, out)
            got = content(out)
            reference = reference or got
            t.check(got == reference, f"{extra}: input stored as {label} gives other bytes")


def test_compression_changes_storage_only(t):
    base, queries = t.gaussian(400, 12), t.gaussian(90, 12)
    path = t.two_sets(base, queries)
    limit = number(3.5)
    for arguments in (["--metric", "l2"], ["--metric", "l2", "--max-distance", limit]):
        found = []
        for level in (0, 1, 6, 9):
            out = t.path("out.h5")
            t.succeeds("--force", *arguments, "--compress", level, path, out)
            with h5py.File(out, "r") as f:
                name = "neighbors" if "neighbors" in f else "pairs/indices"
                data = f[name]
                t.check(
                    (data.compression, data.compression_opts if level else None)
                    == (("gzip", level) if level else (None, None)),
                    f"--compress {level}: {data.compression} {data.compression_opts}",
                )
                t.check((data.chunks is None) == (level == 0), f"chunks {data.chunks}")
                values = {}
                f.visititems(
                    lambda n, o: values.update({n: o[()]}) if isinstance(o, h5py.Dataset) else None
                )
                found.append({n: v.tobytes() for n, v in values.items()})
        t.check(all(f == found[0] for f in found), f"{arguments}: --compress changes values")
