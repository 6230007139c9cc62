"""Jobs cut into shards: the parts joined by merge are the file that the job writes as a whole."""

import os
import re
import shutil
import subprocess
import sys
import time

import h5py
import numpy as np

from support import binary, heavy, is_sanitized
from test_memory import MEASURE

GRAIN = 1024

# The library loses memory where it meets damage.
LEAKS_OF_HDF5 = {"ASAN_OPTIONS": os.environ.get("ASAN_OPTIONS", "") + ":detect_leaks=0"}


def content(path):
    with open(path, "rb") as f:
        return f.read()


def part(out, number, count):
    stem, extension = os.path.splitext(out)
    return f"{stem}.shard-{number}-of-{count}{extension}"


def make_parts(t, arguments, count, out, env=None):
    """Runs all shards, the last first; the names of the parts."""
    names = [part(out, i + 1, count) for i in range(count)]
    for number in range(count, 0, -1):
        run = t.run("--force", "--shard", f"{number}/{count}", *arguments, out, env=env)
        t.require(run.code == 0 and run.out == "", f"shard {number}/{count}: {run}")
        t.require(os.path.exists(names[number - 1]), f"no {names[number - 1]}: {run}")
    return names


def merged(t, label, arguments, counts=(1, 3, 7), extra=(), verified=()):
    """Runs the job as a whole and in shards, and compares bytes. `verified`: what verify has to be
    told; None: it refuses parts."""
    whole = t.path("whole.h5")
    t.succeeds("--force", *arguments, whole)
    for count in counts:
        out = t.path("out.h5")
        names = make_parts(t, arguments, count, out)
        if count == 3 and verified is not None:
            run = t.run("verify", *verified, arguments[-1], names[1])
            t.check(run.code == 0, f"{label}: verify of a part: {run} {run.out}")
        names = [names[i] for i in t.random.permutation(count)]
        t.succeeds("merge", *extra, *names, out)
        t.check(content(out) == content(whole), f"{label}: {count} shards give other bytes")
        run = t.succeeds("merge", *names, out)
        t.check("up to date" in run.err, f"{label}: merged again: {run}")
        for name in [out] + names:
            os.remove(name)


def rows_of(t, rows=3500, dim=6):
    base = t.gaussian(rows, dim)
    base[rows // 2 : rows // 2 + 9] = base[3]
    base[1500] = 0
    base[GRAIN, 2] = np.nan
    return base


def words(rows, first=0):
    return [f"word {i} \u00e4"[: 5 + i % 9] for i in range(first, first + rows)]


def test_self_jobs(t):
    base = rows_of(t)
    own = t.random.integers(-1, 40, len(base))
    allowed = t.random.random(len(base)) < 0.6
    path = t.h5("one.h5", {"x": base, "ids": words(len(base)), "own": own, "allowed": allowed})
    for label, extra in (
        ("knn", []),
        ("l2, float64, compressed", ["--metric=l2", "--float64", "--compress=4", "-k", "3"]),
        ("similarity", ["--similarity", "-k", "2", "--compress=1"]),
        ("pairs", ["--metric=l2", "--max-distance=0.5"]),
        ("pairs, compressed", ["--min-similarity=0.97", "--similarity", "--compress=6"]),
        ("pairs with k", ["--metric=l2", "--max-distance=0.6", "-k", "3"]),
        ("subset, groups", ["--subset=allowed", "--exclude-same=own", "-k", "4"]),
        ("query rows", ["--query-rows=77:3400", "--exclude-same=own", "-k", "4"]),
        ("both ranges", ["--query-rows=100:2300", "--base-rows=1200:", "-k", "4"]),
    ):
        merged(t, label, extra + [path])


def test_groups(t):
    base = rows_of(t)
    own = t.random.integers(-1, 40, len(base))
    allowed = t.random.random(len(base)) < 0.8
    path = t.h5("one.h5", {"x": base, "ids": words(len(base)), "own": own, "allowed": allowed})
    components = ["--components", "--metric=l2", "--max-distance=0.55"]
    for label, extra in (
        ("components", []),
        ("compressed", ["--compress=3"]),
        ("rows", ["--base-rows=50:3333"]),
        ("subset, groups", ["--subset=allowed", "--exclude-same=own"]),
    ):
        merged(t, label, components + extra + [path], verified=None)


def test_components_are_joined_across_shards(t):
    """A chain whose links lie in all shards, and in slabs of the base."""
    base = np.arange(3500, dtype="f4")[t.random.permutation(3500)].reshape(-1, 1)
    path = t.h5("chain.h5", {"x": base})
    arguments = ["--components", "--metric=l2", "--max-distance=1", path]
    merged(t, "chain", arguments, counts=(4,))
    with h5py.File(t.path("whole.h5"), "r") as f:
        t.check((f["component"][:] == 0).all(), "the chain is broken")


@heavy
def test_two_sets(t):
    base, queries = rows_of(t, 1700), t.gaussian(2900, 6)
    queries[2100, 0] = np.inf
    two = t.h5(
        "two.h5",
        {"train": base, "test": queries, "train_ids": words(1700), "test_ids": words(2900, 5)},
    )
    labels = t.path("labels.tsv")
    with open(labels, "w", encoding="utf-8") as f:
        for i in range(0, 1700, 3):
            f.write(f"id{i}\t{'long ' * (i % 7)}label {i % 11}\n")
    named = t.h5("named.h5", {"x": base, "ids": [f"id{i}" for i in range(1700)]})
    asked = t.h5("asked.h5", {"y": queries})
    for label, arguments in (
        ("dense", ["--all", "--query-rows=:2200", "--base-rows=3:90", "--metric=l2", two]),
        ("dense, compressed", ["--all", "--base-rows=:50", "--similarity", "--compress=2",
                               "--float64", "--metric=cosine", two]),
        ("dense, no base rows", ["--all", "--base-rows=:0", "--metric=l2", two]),
        ("pairwise", ["--pairwise", "--query-rows=60:1700", "--base-rows=:1640", "--metric=l2",
                      two]),
        ("labels", ["--base", named, "--labels", labels, asked]),
        ("labels within", ["--base", named, "--labels", labels, "--max-distance=0.02",
                           "--float64", "--compress=5", asked]),
        ("pairs", ["--metric=ip", "--min-similarity=11", two]),
        ("no pairs", ["--metric=l2", "--max-distance=0", two]),
        ("two bases", ["--base", named, "--base", named, "--metric=l2", "-k", "5", asked]),
        ("no queries", ["--query-rows=7:7", "--metric=l2", two]),
        ("no base", ["--base-rows=7:7", "--metric=l2", two]),
    ):
        told = []
        for option in ("--base", "--labels"):
            for i, argument in enumerate(arguments):
                told += [option, arguments[i + 1]] if argument == option else []
        merged(t, label, arguments, verified=told)


def test_pairwise_of_one_set(t):
    path = t.h5("one.h5", {"x": rows_of(t), "ids": words(3500)})
    merged(t, "steps", ["--pairwise", "--base-rows=1:", "--query-rows=:3499", path])
    merged(t, "itself", ["--pairwise", "--metric=ip", path], counts=(3,))


def test_bits(t):
    base = t.random.integers(0, 2, size=(2600, 40)).astype(bool)
    path = t.h5("bits.h5", {"x": base})
    merged(t, "hamming", [path])
    merged(t, "jaccard", ["--metric=jaccard", "--min-similarity=0.6", path])


def test_items(t):
    path = t.path("items.h5")
    with h5py.File(path, "w") as f:
        for i, row in enumerate(t.gaussian(2100, 5)):
            f[f"item{i:05d}"] = row
    merged(t, "items", [path], counts=(3,))


def test_shares(t):
    """Whole grains, as even as possible; more shards than grains leave some empty."""
    path = t.h5("one.h5", {"x": t.gaussian(4500, 4)})
    for count in (2, 3, 9):
        seen = []
        for name in make_parts(t, ["--query-rows=100:", path], count, t.path("out.h5")):
            with h5py.File(name, "r") as f:
                seen.append(tuple(f.attrs["query_rows"]))
        t.check(seen[0][0] == 100 and seen[-1][1] == 4500, f"{seen}")
        t.check(all(a[1] == b[0] for a, b in zip(seen, seen[1:])), f"gaps: {seen}")
        t.check(all((first - 100) % GRAIN == 0 for first, last in seen if last > first), f"{seen}")
        grains = [-(-(last - first) // GRAIN) for first, last in seen]
        t.check(max(grains) - min(grains) <= 1, f"uneven: {grains}")


def test_parts_are_results(t):
    base = rows_of(t)
    own = t.random.integers(0, 40, len(base))
    path = t.h5("one.h5", {"x": base, "ids": words(len(base)), "own": own})
    out = t.path("out.h5")
    names = make_parts(t, ["--exclude-same=own", path], 3, out)
    before = content(names[1])
    run = t.run("--shard=2/3", "--exclude-same=own", path, out)
    t.check(run.code == 0 and "up to date" in run.err, f"{run}")
    t.check(content(names[1]) == before, "a part that is up to date was written again")
    run = t.run("show", "-n", "1", names[1])
    t.check(run.code == 0 and "shard 2 of 3" in run.out and "row 2048" in run.out, f"{run} {run.out}")
    run = t.run("verify", "--full", path, names[1])
    t.check(run.code == 0, f"{run} {run.out}")
    run = t.run("inspect", "--shard=2/3", path)
    t.check(run.code == 0 and "shard    2 of 3" in run.out, f"{run} {run.out}")
    t.fails(73, ["exists", "--force"], "--shard=2/3", "-k", "3", path, out)
    names = make_parts(t, ["--components", "--max-distance=0.01", path], 3, out)
    t.fails(65, ["shard 2 of 3", "merge"], "verify", path, names[1])
    run = t.run("show", names[1])
    t.check(run.code == 0, f"{run}")


def test_sets_that_do_not_fit_in_memory(t):
    """Each shard under its own memory, threads and filter."""
    path = t.h5("one.h5", {"x": t.gaussian(6000, 64)})
    whole, out = t.path("whole.h5"), t.path("out.h5")
    for label, arguments in (
        ("knn", ["--metric=l2"]),
        ("components", ["--components", "--metric=l2", "--max-distance=6"]),
    ):
        t.succeeds("--force", *arguments, path, whole)
        names = []
        for number, extra in enumerate(
            (["--memory=40M", "--threads=1"], ["--filter=f32"], ["--isa=portable", "--threads=3"])
        ):
            run = t.run("--force", f"--shard={number + 1}/3", *arguments, *extra, path, out)
            t.check(run.code == 0, f"{label}: {run}")
            names.append(part(out, number + 1, 3))
        t.succeeds("merge", "--force", "--memory=100M", *names, out)
        t.check(content(out) == content(whole), f"{label}: other bytes")


def test_sum_of_pairs(t):
    path = t.h5("one.h5", {"x": np.zeros((2100, 2), "f4")[: 2 * GRAIN]})
    rows = 2 * GRAIN
    limit = rows * (rows - 1)
    out = t.path("out.h5")
    arguments = ["--metric=l2", "--max-distance=0", "--query-rows=:2000"]
    pairs = 2000 * (rows - 1)
    for most, code in ((pairs - 1, 65), (pairs, 0)):
        names = make_parts(t, [*arguments, f"--max-pairs={most}", path], 2, out)
        run = t.run("merge", *names, out)
        t.check(run.code == code and ("max-pairs" in run.err) == (code != 0), f"{most}: {run}")
    t.fails(65, "max-pairs", "merge", "--force", "--max-pairs=9", *names, out)
    t.check(limit > pairs, "the numbers of the test")


def test_refusals(t):
    base = t.gaussian(3000, 5)
    path = t.h5("one.h5", {"x": base})
    out, joined = t.path("out.h5"), t.path("joined.h5")
    names = make_parts(t, [path], 3, out)

    def merge(code, mentions, *arguments):
        t.fails(code, mentions, "merge", *arguments)

    merge(66, ["shard 2 of 3 is missing"], names[0], names[2], joined)
    merge(66, ["shards 1, 3 of 3 are missing"], names[1], joined)
    merge(66, ["nothing.h5"], names[0], t.path("nothing.h5"), joined)
    merge(64, ["both shard 2 of 3"], *names, names[1], joined)
    copy = t.path("copy.h5")
    shutil.copy(names[1], copy)
    merge(64, ["both shard 2 of 3", "copy.h5"], *names, copy, joined)
    merge(64, ["one of the parts"], *names, names[1])
    merge(64, ["is a part itself", "OUTPUT"], *names)
    merge(64, ["OUTPUT.h5 is missing"], names[0])
    merge(64, ["PART.h5"])
    whole = t.path("whole.h5")
    t.succeeds(path, whole)
    merge(65, ["whole.h5", "no part"], whole, *names, joined)
    merge(65, ["one.h5", "not a result"], path, *names, joined)
    text = t.path("text.h5")
    with open(text, "w", encoding="ascii") as f:
        f.write("no HDF5\n" * 100)
    merge(65, ["text.h5"], names[0], text, names[2], joined)

    other = t.path("other.h5")
    for label, arguments, mentions in (
        ("k", ["-k", "3", path], ['"k 3" and "k 10"', "different jobs"]),
        ("metric", ["--metric=ip", path], ['"metric ip"']),
        ("compress", ["--compress=1", path], ['"compress 1"']),
        ("rows", ["--base-rows=1:", path], ["rows 1:3000"]),
    ):
        foreign = make_parts(t, arguments, 3, other)
        merge(65, mentions, names[0], foreign[1], names[2], joined)
    changed = base.copy()
    changed[2500, 1] += 1
    foreign = make_parts(t, [t.h5("changed.h5", {"x": changed})], 3, other)
    merge(65, ["different input", "rows of the base"], names[0], foreign[1], names[2], joined)
    foreign = make_parts(t, [path], 4, other)
    merge(65, ["4 and of 3 shards"], names[0], foreign[1], names[2], joined)

    for output in (path, whole):
        before = content(output)
        t.check(content(output) == before, "changed")
    merge(73, ["exists", "--force"], *names, text)
    t.succeeds("merge", "--force", *names, text)
    t.check(content(text) == content(whole), "merged over a file: other bytes")
    merge((73, 66), ["nowhere"], *names, t.path("nowhere/out.h5"))
    merge(71, ["--memory"], "--memory=1M", *names, joined)


def test_other_row_data(t):
    base = t.gaussian(2100, 5)
    path = t.h5("one.h5", {"x": base, "a": np.arange(2100) % 3, "b": np.arange(2100) % 4})
    out = t.path("out.h5")
    first = make_parts(t, ["--exclude-same=a", path], 2, out)[0]
    keep = t.path("keep.h5")
    shutil.copy(first, keep)
    second = make_parts(t, ["--exclude-same=b", path], 2, out)[1]
    t.fails(65, ["different input", "groups"], "merge", keep, second, t.path("joined.h5"))


def test_damage(t):
    """Truncated parts are refused; so is what a part cannot hold."""
    path = t.h5("one.h5", {"x": t.gaussian(2100, 5)})
    out = t.path("out.h5")
    joined = t.path("joined.h5")
    for arguments in (["-k", "4"], ["--metric=l2", "--max-distance=0.5"]):
        names = make_parts(t, [*arguments, path], 2, out)
        good = content(names[0])
        for keep in (0, 100, len(good) // 2, len(good) - 1):
            with open(names[0], "wb") as f:
                f.write(good[:keep])
            t.fails(65, "out.shard-1-of-2.h5", "merge", *names, joined)
        with open(names[0], "wb") as f:
            f.write(good)

        def spoil(change, mentions):
            with h5py.File(names[0], "r+") as f:
                change(f)
            t.fails(65, ["out.shard-1-of-2.h5", mentions], "merge", *names, joined)
            with open(names[0], "wb") as f:
                f.write(good)

        def set_value(name, index, value):
            def change(f):
                f[name][index] = value

            return change

        def set_attribute(name, value):
            def change(f):
                f.attrs[name] = value

            return change

        spoil(set_value("content/base", 0, 7), "damaged")
        spoil(set_value("content/queries", 0, 7), "damaged")
        spoil(set_attribute("query_rows", [0, 1000]), "")
        spoil(set_attribute("shard", [2, 2]), "")
        spoil(set_attribute("ids_content", [1, 0]), "")
        if "pairs/indices" in h5py.File(names[0], "r"):
            spoil(set_value("pairs/indptr", 3, 1 << 40), "indptr")
            spoil(set_value("pairs/indices", 0, 2100), "not searched")
        else:
            spoil(set_value("neighbors", (3, 1), 2100), "not searched")
            spoil(set_value("counts", 3, 5), "count")


def test_any_byte(t):
    """A byte of a part that changed is found, or nobody looks at it."""
    base = rows_of(t, 2100)
    one = t.h5("one.h5", {"x": base, "ids": words(2100), "own": t.random.integers(-1, 9, 2100)})
    out, joined = t.path("out.h5"), t.path("joined.h5")
    for label, arguments in (
        ("knn", ["-k", "3", "--exclude-same=own"]),
        ("pairs", ["--metric=l2", "--max-distance=0.3", "--compress=1"]),
        ("dense", ["--all", "--base-rows=:40", "--metric=l2"]),
        ("components", ["--components", "--metric=l2", "--max-distance=0.3"]),
    ):
        names = make_parts(t, [*arguments, one], 2, out)
        t.succeeds("merge", "--force", *names, joined)
        whole = content(joined)
        for name in names:
            good = content(name)
            tries = 60 if os.environ.get("ENGRAM_TEST_LONG") else 6
            places = [*t.random.integers(0, len(good), tries), *t.random.integers(0, 4096, tries)]
            for place in places:
                bad = bytearray(good)
                bad[place] ^= 1 << int(t.random.integers(8))
                with open(name, "wb") as f:
                    f.write(bad)
                run = t.run("merge", "--force", *names, joined, env=LEAKS_OF_HDF5)
                same = run.code == 0 and content(joined) == whole
                t.check(same or run.code in (64, 65, 66, 71), f"{label}: byte {place}: {run}")
                t.check(run.code != 0 or same, f"{label}: byte {place} of {name}: other bytes")
            with open(name, "wb") as f:
                f.write(good)

        def spoil(f, name, message):
            value = np.ravel(f[name][()])
            if value.dtype.kind != "S" and len(value):
                f[name][...] = np.concatenate([value[1:], value[:1]]).reshape(f[name].shape)
                return message
            return None

        with h5py.File(names[1], "r") as f:
            datasets = []
            f.visititems(lambda n, o: datasets.append(n) if isinstance(o, h5py.Dataset) else None)
        good = content(names[1])
        for name in datasets:
            with h5py.File(names[1], "r+") as f:
                changed = spoil(f, name, name)
            if changed and content(names[1]) != good and name != "keep":
                t.fails(65, "out.shard-2-of-2.h5", "merge", "--force", *names, joined)
            with open(names[1], "wb") as f:
                f.write(good)


def test_full_disk(t):
    path = t.h5("one.h5", {"x": t.gaussian(2100, 5)})
    names = make_parts(t, ["-k", "200", path], 3, t.path("out.h5"))
    before = sorted(os.listdir(t.folder))
    command = f"ulimit -f 1000; exec {binary()} merge {' '.join(names)} {t.path('joined.h5')}"
    done = subprocess.run(["bash", "-c", command], capture_output=True, text=True, check=False)
    t.check(done.returncode == 74 and done.stderr.count("\n") == 1, f"ulimit -f: {done}")
    t.check(sorted(os.listdir(t.folder)) == before, f"left over: {os.listdir(t.folder)}")


def test_interrupted_merge(t):
    """SIGTERM: exit code 75, nothing left; the same command again: the same bytes."""
    base, queries = t.gaussian(4000, 3), t.gaussian(2500, 3)
    path = t.two_sets(base, queries)
    whole, joined = t.path("whole.h5"), t.path("joined.h5")
    arguments = ["--all", "--metric=l2", "--compress=1", path]
    t.succeeds(*arguments, whole)
    names = make_parts(t, arguments, 3, t.path("out.h5"))
    before = sorted(os.listdir(t.folder))
    process = subprocess.Popen(
        [binary(), "merge", "--threads=1", *names, joined], stderr=subprocess.PIPE, text=True
    )
    while process.poll() is None and sorted(os.listdir(t.folder)) == before:
        time.sleep(0.001)
    process.terminate()
    err = process.communicate()[1]
    t.check(process.returncode == 75 and "SIGTERM" in err, f"{process.returncode}: {err}")
    t.check(sorted(os.listdir(t.folder)) == before, f"left over: {os.listdir(t.folder)}")
    t.succeeds("merge", *names, joined)
    t.check(content(joined) == content(whole), "merged after an interruption: other bytes")


def test_memory_of_merge(t):
    base, queries = t.gaussian(9000, 3), t.gaussian(2500, 3)
    path = t.two_sets(base, queries)
    for label, arguments in (
        ("dense", ["--all", "--metric=l2"]),
        ("compressed", ["--metric=l2", "-k", "2500", "--compress=1"]),
    ):
        names = make_parts(t, [*arguments, path], 3, t.path("out.h5"))
        run = t.run("merge", "--memory=1M", *names, t.path("joined.h5"))
        found = re.search(r"--memory (\d+)M", run.err)
        t.require(run.code == 71 and found, f"{label}: {run}")
        command = [binary(), "-q", "merge", "--force", f"--memory={found.group(1)}M", *names]
        done = subprocess.run(
            [sys.executable, "-c", MEASURE, *command, t.path("joined.h5")],
            capture_output=True, text=True, check=False,
        )  # fmt: skip
        peak = int(done.stdout or 0) / 1024
        t.check(done.returncode == 0, f"{label}: {done}")
        t.check(is_sanitized() or peak <= int(found.group(1)), f"{label}: {peak} MiB, {found.group(1)}")
        os.remove(t.path("joined.h5"))


def test_names(t):
    path = t.h5("one.h5", {"x": t.gaussian(20, 3)})
    for out, name in (
        ("out.h5", "out.shard-2-of-3.h5"),
        ("out", "out.shard-2-of-3"),
        ("a.b.hdf5", "a.b.shard-2-of-3.hdf5"),
        ("./x.y/out", "x.y/out.shard-2-of-3"),
        (".h5", ".h5.shard-2-of-3"),
    ):
        (t.folder / "x.y").mkdir(exist_ok=True)
        run = t.run("--shard=2/3", path, out, cwd=t.folder)
        t.check(run.code == 0 and (t.folder / name).exists(), f"{out}: {run}")
        t.check(not (t.folder / out).exists() or os.path.isdir(t.folder / out), f"{out} exists")
    for wrong in ("0/3", "4/3", "1/0", "2", "/", "1/", "/3", "-1/3", "1/3/3", "1 /3", "1/9999999",
                  "a/b", ""):
        t.fails(64, "--shard", f"--shard={wrong}", path, t.path("z.h5"))
