"""A disk that is full: exit 74, a line that names the file and says what to do, what was found so
far kept; and once there is room the same command gives the bytes of an undisturbed run. On a small
file system in memory, in a mount namespace of its own."""

import json
import os
import resource
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np

from support import Skip, binary

KINDS = {
    "knn": ["-k", "30"],
    "knn compressed": ["-k", "30", "--compress", "1"],
    "dense": ["--all"],
    "dense compressed": ["--all", "--compress", "1"],
    "pairs": ["--min-similarity", "0.2"],
    "pairwise": ["--pairwise", "--base", "train", "--queries", "train"],
    "components": ["--self", "--base", "train", "--components", "--min-similarity", "0.9"],
    "labels": ["--labels", "labels"],
}

# Runs in the namespace: jobs on file systems of so many KiB, each then once more with room.
INSIDE = """
import json, os, subprocess, sys
mount, command, sizes, output = json.loads(sys.argv[1])
results = []
for size in sizes:
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size}k", "none", mount], check=True)
    first = subprocess.run(command, capture_output=True, text=True)
    left = sorted(os.listdir(mount))
    subprocess.run(["mount", "-o", "remount,size=200m", mount], check=True)
    second = subprocess.run(command, capture_output=True, text=True)
    subprocess.run(["cp", os.path.join(mount, "out.h5"), output], check=False)
    results.append([size, first.returncode, first.stderr, left, second.returncode, second.stderr,
                    sorted(os.listdir(mount))])
    subprocess.run(["umount", mount], check=True)
print(json.dumps(results))
"""


def namespace():
    """The words before a command that let it mount; Skip where nothing does."""
    for words in (["unshare", "-m"], ["unshare", "-rm"]):
        if shutil.which(words[0]) is None:
            break
        tried = subprocess.run([*words, "mount", "-t", "tmpfs", "-o", "size=64k", "none", "/mnt"],
                               capture_output=True, check=False)
        if tried.returncode == 0:
            return words
    raise Skip("no permission to mount a small file system")


def source(t):
    base = t.gaussian(3000, 16)
    labels = np.array([b"label %d" % (i % 7) for i in range(3000)])
    return t.h5("in.h5", {"train": base, "test": t.gaussian(300, 16), "labels": labels},
                {"distance": "angular"})


def test_full_disk(t):
    words = namespace()
    given = source(t)
    mount = t.path("small")
    os.mkdir(mount)
    for name, arguments in KINDS.items():
        want = t.path("want.h5")
        t.succeeds("-q", "--force", *arguments, given, want)
        need = os.path.getsize(want) // 1024
        sizes = sorted({4, 16, need // 4, need // 2, need - 8} - {0})
        again = t.path("again.h5")
        command = [binary(), "-q", *arguments, given, os.path.join(mount, "out.h5")]
        done = subprocess.run(
            [*words, sys.executable, "-c", INSIDE, json.dumps([mount, command, sizes, again])],
            capture_output=True, text=True, check=False)
        t.require(done.returncode == 0, f"{name}: {done.stderr[-500:]}")
        for size, code, err, left, second, second_err, rest in json.loads(done.stdout):
            label = f"{name}, {size} of {need} KiB"
            lines = [line for line in err.splitlines() if line.strip()]
            t.check(code == 74, f"{label}: exit {code}: {err}")
            t.check(len(lines) == 1 and "out.h5" in err and ("space" in err or "room" in err),
                    f"{label}: says {err!r}")
            t.check(all(n.startswith("out.h5.checkpoint") for n in left), f"{label}: left {left}")
            t.check(second == 0 and rest == ["out.h5"],
                    f"{label}: then exit {second}, {rest}: {second_err}")
        t.check(Path(again).read_bytes() == Path(want).read_bytes(), f"{name}: other bytes")


def limited(size):
    def set_limit():
        resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))
    return set_limit


def test_file_size_limit(t):
    """As ulimit -f makes it: no permission needed to try."""
    given = source(t)
    for name, arguments in KINDS.items():
        want = t.path("want.h5")
        t.succeeds("-q", "--force", *arguments, given, want)
        size = os.path.getsize(want) // 2
        folder = Path(t.path("limited"))
        folder.mkdir(exist_ok=True)
        command = [binary(), "-q", *arguments, given, str(folder / "out.h5")]
        done = subprocess.run(command, capture_output=True, text=True, check=False,
                              preexec_fn=limited(size))
        t.check(done.returncode == 74 and "out.h5" in done.stderr,
                f"{name}: exit {done.returncode}: {done.stderr}")
        left = sorted(p.name for p in folder.iterdir())
        t.check(all(n.startswith("out.h5.checkpoint") for n in left), f"{name}: left {left}")
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        left = sorted(p.name for p in folder.iterdir())
        t.check(done.returncode == 0 and left == ["out.h5"],
                f"{name}: then {done.returncode}, {left}: {done.stderr}")
        t.check((folder / "out.h5").read_bytes() == Path(want).read_bytes(),
                f"{name}: other bytes")
        shutil.rmtree(folder)
