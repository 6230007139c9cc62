"""Every snippet of README is run as it stands there; its recipes by test_recipes.py."""

import os
import re
import shlex
import shutil
import subprocess
import sys

import numpy as np

from support import ROOT, Skip, binary, sanitizers

README = ROOT / "README.md"


def blocks():
    """(language, text) of the fenced blocks, in order."""
    text = README.read_text(encoding="utf-8")
    text = re.sub(r"^## Recipes\n.*?(?=^## )", "", text, flags=re.MULTILINE | re.DOTALL)
    return re.findall(r"^```(\w*)\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)


def prepare(t):
    """A folder that looks like the project's, and the command on PATH."""
    (t.folder / "bin").mkdir()
    os.symlink(binary(), t.path("bin/engram-batch"))
    os.symlink(ROOT / "include", t.path("include"))
    os.symlink(os.path.dirname(binary()), t.path("build"))
    return dict(os.environ, PATH=t.path("bin") + os.pathsep + os.environ["PATH"])


def run(t, command, env):
    done = subprocess.run(
        command, cwd=t.folder, env=env, capture_output=True, text=True, check=False, timeout=100
    )
    shown = " ".join(command)[:200]
    t.require(done.returncode == 0, f"{shown}: exit {done.returncode}: {done.stderr[-500:]}")
    return done


def test_python_snippets_and_jobs(t):
    env = prepare(t)
    np.save(t.path("embeddings.npy"), t.gaussian(60, 8))
    counted = {"python": 0, "sh": 0}
    for language, text in blocks():
        if language == "python":
            run(t, [sys.executable, "-c", text], env)
            counted["python"] += 1
        elif language == "sh" and text.startswith("engram-batch"):
            for line in text.splitlines():
                run(t, ["sh", "-c", line], env)
                counted["sh"] += 1
    t.check(counted["python"] >= 3 and counted["sh"] >= 6, f"snippets found: {counted}")


def sanitizer_flags(library):
    """What it takes to link with a library of a sanitizer's configuration."""
    found = sanitizers(library)
    return ["-fsanitize=" + ",".join(found)] if found else []


def test_c_program(t):
    env = prepare(t)
    found = blocks()
    source = [text for language, text in found if language == "c"]
    compile_lines = [text for language, text in found if text.startswith("cc ")]
    printed = [text for language, text in found if language == "text"]
    t.require(len(source) == 1 and len(compile_lines) == 1 and printed, "README has changed")
    (t.folder / "example.c").write_text(source[0], encoding="utf-8")
    command = shlex.split(os.environ.get("CC") or "cc") + shlex.split(compile_lines[0])[1:]
    command += ["-Wall", "-Wextra", "-Werror", *sanitizer_flags(t.path("build/libengram.a"))]
    if not shutil.which(command[0]):
        raise Skip(f"no {command[0]}")
    run(t, command, env)
    done = run(t, [t.path("example")], env)
    t.check(done.stdout == printed[0], f"prints {done.stdout!r}, README says {printed[0]!r}")


def test_demo_output(t):
    shown = [text for _, text in blocks() if text.startswith("$ build/engram-batch show")]
    t.require(len(shown) == 1, "README has changed")
    command, expected = shown[0].split("\n", 1)
    t.succeeds(str(ROOT / "data" / "glove-20k.h5"), t.path("out.h5"))
    run_ = t.run("show", t.path("out.h5"), *shlex.split(command)[4:])
    t.check(run_.code == 0 and run_.out == expected, f"prints {run_.out!r}")


def test_no_python_hides_elsewhere(t):
    """Python in documents that nothing runs would rot."""
    for name in ("data/README.md", "tests/README.md", "src/README.md"):
        path = ROOT / name
        if path.exists():
            t.check("```python" not in path.read_text(encoding="utf-8"), f"{name}: untested Python")
