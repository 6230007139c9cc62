"""Makes single calls of the command fail, one after the other (tests/fault/fault.c), and checks
what becomes of it: a documented exit code, one line that says what is wrong, no OUTPUT that is not
whole, nothing left behind that the next run does not take up."""

import concurrent.futures
import errno
import os
import re
import shutil
import subprocess
from pathlib import Path

from support import ROOT, SANITIZER_MARKS, Skip, binary, is_sanitized

DOCUMENTED = {0, 1, 64, 65, 66, 69, 70, 71, 73, 74, 75, 77}
WORK_KEPT = {74, 75}
KEPT = ("out.h5.checkpoint", "out.h5.checkpoint.h5", "out.h5.checkpoint.cells")
LONG = os.environ.get("ENGRAM_TEST_LONG") == "1"
# Of a long run: so many at once, and only commands with this in their name.
JOBS = int(os.environ.get("ENGRAM_FAULT_JOBS", "3"))
ONLY = os.environ.get("ENGRAM_FAULT_ONLY", "")
# Of a short run: so many points of each walk, instead of few.
MOST = int(os.environ.get("ENGRAM_FAULT_MOST", "0"))

# HDF5 functions that say with 0, not with something negative, that they failed; and those that are
# left alone: the error stack, versions, and what looks into a type that is in memory already, which
# neither reads nor allocates and only fails for what is no type.
ZERO = {"H5Tget_member_name", "H5Tget_tag", "H5Tfind", "H5Dget_storage_size"}
LEFT_ALONE = re.compile(
    r"H5E|H5FD_|H5_|H5get_|H5open|H5is_|H5free|H5allocate|H5Iget_type|H5Tis_variable_str|H5Tequal|"
    r"H5Tget_(class|size|order|offset|norm|fields|precision|sign|ebias|strpad|nmembers|member_index|"
    r"array_ndims|array_dims)")


def h5_functions():
    """What the command calls of HDF5; empty where nm is not there."""
    try:
        done = subprocess.run(["nm", "-D", "--undefined-only", binary()], capture_output=True,
                              text=True, check=False)
    except OSError:
        return []
    names = {line.split()[-1].split("@")[0] for line in done.stdout.splitlines()
             if " U " in line}
    return sorted(n for n in names if re.match(r"H5[A-Z]", n) and not LEFT_ALONE.match(n)
                  and not n.endswith("_g"))


class Shim:
    """The library to be loaded before the command."""

    def __init__(self, t):
        compiler = shutil.which(os.environ.get("CC", "cc").split()[0]) or shutil.which("gcc")
        if compiler is None:
            raise Skip("no C compiler for the library that makes calls fail")
        self.path = t.path("fault.so")
        source = ROOT / "tests" / "fault" / "fault.c"
        flags = ["-std=gnu11", "-O1", "-fPIC", "-shared"]
        functions = h5_functions()
        if functions:
            names = t.path("h5-calls.h")
            Path(names).write_text("".join(
                f"X({i}, {name}, {0 if name in ZERO else -1})\n"
                for i, name in enumerate(functions)), encoding="utf-8")
            flags.append(f'-DFAULT_H5="{names}"')
        self.preload = self.path
        self.environment = {}
        if is_sanitized():
            flags.append("-DFAULT_WITHOUT_MEMORY")
            self.preload = sanitizer_first(self.path)
            # What HDF5 cannot close after a failure it never frees.
            Path(t.path("leaks")).write_text("leak:libhdf5\n", encoding="utf-8")
            self.environment = {"LSAN_OPTIONS": f"suppressions={t.path('leaks')}:"
                                                "print_suppressions=0"}
        done = subprocess.run([compiler, *flags, "-o", self.path, str(source), "-ldl"],
                              capture_output=True, text=True, check=False)
        t.require(done.returncode == 0, f"{source}: {done.stderr[:500]}")


def sanitizer_first(path):
    """A sanitizer's own library has to come before any other."""
    done = subprocess.run(["ldd", binary()], capture_output=True, text=True, check=False)
    found = re.findall(r"=> (\S*lib[at]san\S*)", done.stdout)
    if not found:
        raise Skip("the sanitizer is linked statically: nothing can be loaded before it")
    return f"{found[0]}:{path}"


class Walk:
    """One command, whose folder is made anew for every run. `output`: what it writes, or None;
    `more`: of the environment."""

    def __init__(self, t, shim, name, arguments, files, output="out.h5", more=None):
        self.t = t
        self.shim = shim
        self.name = name
        self.arguments = [str(a) for a in arguments]
        self.files = files
        self.output = output
        self.more = more or {}
        self.points = 0
        self.want = None
        self.want_text = None

    def folder(self, label):
        path = Path(self.t.path(f"{self.name.replace(' ', '-')}-{label}"))
        shutil.rmtree(path, ignore_errors=True)
        path.mkdir()
        for file in self.files:
            shutil.copy(file, path / Path(file).name)
        return path

    def run(self, folder, calls=None, at=0, error=0, sticky=False, count=None):
        environment = dict(os.environ, OMP_NUM_THREADS="2", OMP_WAIT_POLICY="passive",
                           **self.shim.environment, **self.more)
        if calls is not None:
            environment.update(LD_PRELOAD=self.shim.preload, FAULT_CALLS=calls, FAULT_AT=str(at),
                               FAULT_ERRNO=str(error), FAULT_UNDER=str(folder),
                               FAULT_STICKY="1" if sticky else "0")
        if count is not None:
            environment["FAULT_COUNT"] = str(count)
        return subprocess.run([binary(), *self.arguments], cwd=folder, env=environment,
                              capture_output=True, text=True, errors="replace", timeout=120,
                              check=False, stdin=subprocess.DEVNULL)

    def content(self, folder):
        path = folder / self.output if self.output else None
        return path.read_bytes() if path is not None and path.exists() else None

    def undisturbed(self):
        folder = self.folder("undisturbed")
        done = self.run(folder)
        self.t.require(done.returncode == 0, f"{self.name}: {done.stderr}")
        self.want = self.content(folder)
        self.want_text = done.stdout
        shutil.rmtree(folder)

    def count(self, calls):
        folder = self.folder("count")
        count = Path(self.t.path(f"{self.name.replace(' ', '-')}-{calls}.count"))
        count.unlink(missing_ok=True)
        done = self.run(folder, calls, count=count)
        self.t.require(done.returncode == 0, f"{self.name}, {calls} counted: {done.stderr}")
        shutil.rmtree(folder)
        return max((int(n) for n in count.read_text(encoding="utf-8").split()), default=0)

    def point(self, calls, at, error, sticky):
        """One failure; reasons to complain."""
        label = f"{self.name}: {calls} {at} with {errno.errorcode[error]}{' on' if sticky else ''}"
        folder = self.folder(f"{calls.replace(',', '-')}-{error}-{sticky:d}-{at}")
        before = {p.name for p in folder.iterdir()}
        done = self.run(folder, calls, at, error, sticky)
        after = {p.name for p in folder.iterdir()}
        new = after - before - {self.output}
        lines = [line for line in done.stderr.splitlines() if line.strip()]
        reasons = []
        if done.returncode not in DOCUMENTED:
            reasons.append(f"exit {done.returncode}")
        if any(mark in done.stderr for mark in SANITIZER_MARKS):
            reasons.append("sanitizer report")
        if done.returncode == 0:
            if self.content(folder) != self.want or done.stdout != self.want_text:
                reasons.append("exit 0 and another result")
        else:
            if self.content(folder) is not None:
                reasons.append(f"exit {done.returncode} and there is an OUTPUT")
            # OpenMP says a line of its own before it gives up.
            # Nor can HDF5 be told to be quiet before it is there.
            ours = [line for line in lines if line.startswith("engram-batch: ")
                    and not line.startswith("engram-batch: warning: ")]
            starting = "the HDF5 library cannot start" in done.stderr
            if len(ours) != 1 or (len(lines) > 2 and not starting):
                reasons.append(f"exit {done.returncode} and {len(lines)} lines")
        allowed = set(KEPT) if done.returncode in WORK_KEPT and self.output else set()
        if new - allowed:
            reasons.append(f"exit {done.returncode} left {sorted(new - allowed)}")
        if not reasons and self.output and done.returncode != 0 and (new or at % 5 == 0):
            again = self.run(folder)
            left = {p.name for p in folder.iterdir()} - before - {self.output}
            if again.returncode != 0 or self.content(folder) != self.want or left:
                reasons.append(f"run again: exit {again.returncode}, left {sorted(left)}, "
                               f"{again.stderr[-200:]!r}")
        shutil.rmtree(folder, ignore_errors=True)
        return [f"{label}: {r}: {done.stderr[-300:]!r}" for r in reasons]

    def walk(self, calls, errors, sticky=(False,), most=12):
        """Every call in turn, or, in short runs, `most` of them."""
        if ONLY not in self.name:
            return None
        total = self.count(calls)
        most = max(most, MOST)
        chosen = list(range(1, total + 1))
        if not LONG and total > most:
            chosen = sorted(self.t.random.choice(chosen, size=most, replace=False).tolist())
        points = [(calls, at, error, more) for error in errors for more in sticky for at in chosen]
        self.points += len(points)
        wrong = 0
        with concurrent.futures.ThreadPoolExecutor(JOBS) as pool:
            for reasons in pool.map(lambda p: self.point(*p), points):
                wrong += bool(reasons)
                for reason in reasons:
                    self.t.check(False, reason)
        if LONG:
            print(f"{self.name}: {total} calls of {calls}, {len(points)} made to fail, {wrong} wrongly "
                  "taken", flush=True)
        return total
