"""One job that is stopped at random moments and run again, with other threads, memory, filters,
kernels, shards and processes, until it ends. What kills.py and differential.py share."""

import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

sys.dont_write_bytecode = True
sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "blackbox"))

import numpy as np  # noqa: E402
from support import SANITIZER_MARKS, binary, children, outcome  # noqa: E402

FILTERS = ("auto", "canonical", "f32", "int", "prefix")
TIMEOUT = 600  # seconds on the clock, of a machine that does other things too
STOPS = (signal.SIGKILL,) * 4 + (signal.SIGTERM,)
INTERVALS = ("0", "0", "0", "0.05", None)  # ENGRAM_CHECKPOINT_SECONDS; None: as it is
MPI = {"OMPI_ALLOW_RUN_AS_ROOT": "1", "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM": "1",
       "OMPI_MCA_rmaps_base_oversubscribe": "1"}  # fmt: skip


class Wrong(Exception):
    """What the command should not have done, and the command."""


def one_of(random, values):
    return values[random.integers(len(values))]


def mpi_command(ranks):
    """The words before the options of a job of several processes; None: not on this machine."""
    program = binary() + "-mpi"
    mpirun = shutil.which("mpirun")
    return [mpirun, "-n", str(ranks), program] if mpirun and os.path.exists(program) else None


def listing(folder):
    return sorted(os.listdir(folder))


class Tally:
    """What a soak has done."""

    def __init__(self):
        self.jobs = self.runs = self.kills = self.stops = self.continued = 0
        self.parts = self.merges = self.cut = self.ranked = 0

    def __str__(self):
        return (f"{self.jobs} jobs, {self.runs} runs, {self.kills} of them killed and {self.stops} "
                f"stopped by a signal, {self.continued} went on with earlier work; {self.parts} "
                f"shards, {self.merges} merges (killed {self.cut} times), {self.ranked} runs of "
                "several processes")


class Job:
    """`arguments`: options that are part of the job, and INPUT at the end. OUTPUT lies in a folder
    of its own, so that whatever is left behind is seen."""

    def __init__(self, folder, arguments, random, tally, sets):
        self.random = random
        self.tally = tally
        self.sets = sets
        self.arguments = [str(a) for a in arguments]
        self.work = Path(folder) / "work"
        self.whole = Path(folder) / "whole"
        for path in (self.work, self.whole):
            shutil.rmtree(path, ignore_errors=True)
            path.mkdir()
        self.out = self.work / "out.h5"
        self.seconds = 0.2
        self.least = None  # MiB; known once it was asked for
        self.refused = set()  # filters that are not for this job
        self.said = []  # commands, for the report

    # Commands

    def any_options(self):
        """What may change from run to run."""
        random = self.random
        options = ["--threads", str(random.integers(1, 4))]
        wanted = [f for f in FILTERS if f not in self.refused]
        if random.integers(2) == 0:
            options += ["--filter", str(random.choice(wanted))]
        if random.integers(2) == 0:
            options += ["--isa", str(random.choice(self.sets))]
        if random.integers(2) == 0 and self.least is not None:
            options += ["--memory", f"{self.least + int(random.choice([0, 1, 5, 400]))}M"]
        return options

    def environment(self):
        environment = dict(os.environ, OMP_WAIT_POLICY="passive", **MPI)
        environment.pop("ENGRAM_CHECKPOINT_SECONDS", None)
        interval = one_of(self.random, INTERVALS)
        if interval is not None:
            environment["ENGRAM_CHECKPOINT_SECONDS"] = interval
        return environment

    def start(self, words, out):
        """words: the program, or mpirun and its words; then options."""
        command = [*words, "-v", *self.arguments, str(out)]
        self.said.append(" ".join(command))
        self.tally.runs += 1
        return subprocess.Popen(command, env=self.environment(), stdin=subprocess.DEVNULL,
                                stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
                                errors="replace")

    def ended(self, process):
        try:
            out, err = outcome(process, TIMEOUT)
        except subprocess.TimeoutExpired:
            process.kill()
            process.communicate()
            raise Wrong(f"ran longer than {TIMEOUT} s: {self.said[-1]}") from None
        code = process.returncode
        self.tally.continued += "goes on where an earlier run ended" in err
        if any(mark in err for mark in SANITIZER_MARKS):
            raise Wrong(f"sanitizer report: {err[-2000:]}: {self.said[-1]}")
        if out and not any("mpirun" in word for word in process.args[:1]):
            raise Wrong(f"on stdout: {out[:200]!r}: {self.said[-1]}")
        return code, err

    def refuses_filter(self, code, err):
        """Not every filter is for every metric; which, is the command's to say."""
        named = re.search(r"filter (\w+) is not for", err)
        if code == 64 and named:
            self.refused.add(named[1])
        return code == 64 and named

    def wrong(self, what, code=None, err=""):
        raise Wrong(f"{what}: exit {code}: {err.strip()[-400:]!r}; last: {self.said[-1]}")

    def to_the_end(self, words):
        """Runs what nobody stops. A filter that is not for this job, or too little memory for it
        (another filter needs more), is said by the command, with what to do about it."""
        options = self.any_options()
        for _ in range(4):
            code, err = self.ended(self.start([*words, *options], self.out))
            named = re.search(r"--memory (\d+)M", err)
            if self.refuses_filter(code, err):
                at = options.index("--filter")
                del options[at : at + 2]
            elif code == 71 and named and "--memory" in options:
                options[options.index("--memory") + 1] = named[1] + "M"
            elif words[0] != binary() and code == -signal.SIGKILL:
                pass  # by `outcome`; again
            else:
                break
        if code != 0:
            self.wrong("did not come to its end", code, err)
        return err

    # Undisturbed

    def undisturbed(self, shards=0):
        """The bytes that there have to be, under the names of OUTPUT or the parts."""
        want = {}
        for number in range(1, shards + 1) or (0,):
            out = self.whole / "out.h5"
            words = [binary(), *(["--shard", f"{number}/{shards}"] if shards else [])]
            began = time.monotonic()
            code, err = self.ended(self.start(words, out))
            if code != 0:
                self.wrong("undisturbed", code, err)
            self.seconds = time.monotonic() - began
        for name in listing(self.whole):
            want[name] = (self.whole / name).read_bytes()
            (self.whole / name).unlink()
        return want

    def ask_memory(self):
        """The least that works, from the message that says so."""
        words = [binary(), "--memory=1M", "--threads=3"]
        code, err = self.ended(self.start(words, self.whole / "none.h5"))
        named = re.search(r"--memory (\d+)M", err)
        if code == 71 and named:
            self.least = int(named[1])
        elif code not in (0, 71):
            self.wrong("with 1M of memory", code, err)
        shutil.rmtree(self.whole)
        self.whole.mkdir()

    def verify(self, result):
        """By the command's own scan, which has to be told again which files the job looked at."""
        words = [binary(), "verify", "--full"]
        for name, value in zip(self.arguments, self.arguments[1:]):
            if name in ("--base", "--subset", "--exclude-same", "--labels"):
                words += [name, value]
        words += [self.arguments[-1], str(result)]
        self.said.append(" ".join(words))
        self.tally.runs += 1
        done = subprocess.run(words, capture_output=True, text=True, timeout=TIMEOUT, check=False)
        if done.returncode != 0:
            self.wrong(f"verify: {done.stdout.strip()[-300:]}", done.returncode, done.stderr)

    # Disturbed

    def wait(self, process, path):
        """Until some time has gone by, or the checkpoint has grown, or files came or went."""
        random = self.random
        end = time.monotonic() + 1.2 * random.random() * self.seconds
        kind = one_of(random, ("growth", "growth", "names", "time", "time"))
        checkpoint = Path(str(path) + ".checkpoint")
        size = checkpoint.stat().st_size if checkpoint.exists() else 4096
        size += 0 if random.integers(2) == 0 else int(np.exp(random.uniform(0, 11)))
        changes = int(random.integers(1, 6))
        names = listing(self.work)
        while process.poll() is None:
            if kind == "time" and time.monotonic() > end:
                return
            if kind == "names":
                now = listing(self.work)
                changes -= now != names
                names = now
                if changes == 0:
                    return
            if kind == "growth":
                try:
                    if checkpoint.stat().st_size > size:
                        return
                except FileNotFoundError:
                    pass
            time.sleep(0.001)

    def stop(self, words, path, want):
        """One run that is stopped, if it does not end before; whether it ended. path: of OUTPUT, or
        of the part that it is about."""
        ranked = words[0] != binary()
        process = self.start([*words, *self.any_options()], self.out)
        self.wait(process, path)
        number = one_of(self.random, STOPS)
        sent = process.poll() is None
        if sent:
            self.send(process, number, ranked)
        code, err = self.ended(process)
        finished = path.exists()
        if finished and path.read_bytes() != want:
            self.wrong("an OUTPUT before the end, or another one", code, err)
        refused = self.refuses_filter(code, err) or (code == 71 and "--memory" in err)
        if not refused and not ranked and code not in (0, 75, -number):
            self.wrong(f"stopped by {number.name}", code, err)
        if code == 0 and not finished:
            self.wrong("ended well without OUTPUT", code, err)
        if sent and code != 0 and not refused:
            self.tally.kills += number == signal.SIGKILL
            self.tally.stops += number != signal.SIGKILL
        return code == 0

    def send(self, process, number, ranked):
        """Of several processes a rank is killed: mpirun is not ours, but has to end the others."""
        try:
            ranks = children(process.pid) if ranked and number == signal.SIGKILL else []
            if not ranked or number != signal.SIGKILL:
                process.send_signal(number)
            elif ranks:
                os.kill(one_of(self.random, ranks), number)
            else:
                process.send_signal(signal.SIGTERM)
        except ProcessLookupError:
            pass

    def words(self, shard=()):
        """One process most times, or several."""
        random = self.random
        several = mpi_command(int(random.integers(1, 4))) if random.integers(5) == 0 else None
        self.tally.ranked += several is not None
        return [*(several or [binary()]), *shard]

    def survive(self, path, want, stops, shard=()):
        """Stopped up to so many times, then run to its end: the same bytes."""
        for _ in range(stops):
            if self.stop(self.words(shard), path, want):
                break
        err = self.to_the_end(self.words(shard))
        if not path.exists() or path.read_bytes() != want:
            self.wrong("other bytes than undisturbed", 0, err)

    def only(self, *names):
        if listing(self.work) != sorted(names):
            self.wrong(f"left {listing(self.work)}, expected {sorted(names)}")

    def as_a_whole(self, want, stops):
        self.survive(self.out, want, stops)
        self.only("out.h5")

    def in_shards(self, want, parts, stops):
        """Every part stopped, then the merge of them."""
        for number in self.random.permutation(len(parts)) + 1:
            shard = ("--shard", f"{number}/{len(parts)}")
            name = f"out.shard-{number}-of-{len(parts)}.h5"
            some = int(self.random.integers(0, stops + 1))
            self.survive(self.work / name, parts[name], some, shard)
            self.tally.parts += 1
        self.only(*parts)
        self.tally.merges += 1
        command = [binary(), "merge", *(str(self.work / n) for n in parts), str(self.out)]
        for attempt in range(3):
            self.said.append(" ".join(command))
            self.tally.runs += 1
            process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                                       text=True, stdin=subprocess.DEVNULL)
            if attempt < 2:
                time.sleep(0.05 * self.random.random())
                process.kill()
            code, err = self.ended(process)
            self.tally.cut += code == -signal.SIGKILL
            if self.out.exists() and self.out.read_bytes() != want:
                self.wrong("merged to other bytes", code, err)
        if code != 0 or not self.out.exists():
            self.wrong("merge", code, err)
        self.only("out.h5", *parts)
