#!/usr/bin/env python3
"""Measures engram against the machine's peak and against its peers.

scripts/bench.sh (`make bench`) finds or makes an interpreter that has the peers and calls this."""

import argparse
import ctypes
import fnmatch
import json
import os
import platform
import shlex
import shutil
import statistics
import subprocess
import sys
import tempfile
import time

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))

# Rows and queries of made data, by dimension; and of the GloVe file.
SIZES = {
    "quick": {768: (10000, 500), 1536: (5000, 500), 128: (40000, 1000)},
    "full": {768: (100000, 2000), 1536: (50000, 2000), 128: (200000, 2000)},
}
PROGRAMS = ("arena", "kernels")  # parts of engram-bench that stand first in the record


def positive(text):
    value = int(text)
    if value < 1:
        raise ValueError
    return value


def parse(arguments):
    parser = argparse.ArgumentParser(
        prog="scripts/bench.sh",
        description="Measures engram against the machine's peak and against its peers. "
                    "ENGRAM_ISA chooses the kernel set.")
    how = parser.add_mutually_exclusive_group()
    how.add_argument("--quick", action="store_true",
                     help="small sizes and fewer rows, a few minutes [the default]")
    how.add_argument("--full", action="store_true", help="all rows at full size, half an hour")
    parser.add_argument("--only", action="append", default=[], metavar="NAME",
                        help="rows whose name matches (* and ? allowed); may be repeated")
    parser.add_argument("--list", action="store_true", help="names of the rows")
    parser.add_argument("--json", action="store_true",
                        help="JSON lines on stdout, the table on stderr")
    parser.add_argument("--glove", metavar="FILE", default=os.path.join(ROOT, "data/glove-20k.h5"),
                        help="HDF5 file with GloVe vectors in `embeddings` [data/glove-20k.h5]")
    parser.add_argument("--threads", type=positive, default=len(os.sched_getaffinity(0)),
                        metavar="N", help="for ours and for every peer [all]")
    parser.add_argument("--filter", default="auto", metavar="NAME",
                        choices=("auto", "canonical", "f32", "int", "prefix"),
                        help="force a filter of ours")
    parser.add_argument("--blas", metavar="NAME",
                        help="OPENBLAS_CORETYPE of the peers [what suits our kernel set]")
    parser.add_argument("--rounds", type=positive, metavar="N", help="instead of what time allows")
    parser.add_argument("--folder", metavar="DIR",
                        help="where files of the file rows go [/dev/shm where there is one]")
    return parser.parse_args(arguments)


OPTIONS = parse(sys.argv[1:])
# Before any library that has a thread pool is loaded.
for variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ[variable] = str(OPTIONS.threads)


def tune_peers(blas):
    """OpenBLAS takes a CPU that it does not know for an old one (the one inside FAISS 1.15 uses
    SSE3 on Zen 5, four times slower), and some systems name a set in the environment. So that the
    comparison is fair wherever it runs, peers get the instruction set that ours uses."""
    library = ctypes.CDLL(os.path.join(ROOT, os.environ.get("BUILD", "build"),
                                       "libengram-bench.so"))
    library.engram_bench_set_chosen.restype = ctypes.c_char_p
    chosen_set = library.engram_bench_set_chosen()
    if chosen_set is None:  # and it has said why
        sys.exit(64)
    core, simd = {b"avx512": ("SkylakeX", "AVX512"), b"avx2": ("Haswell", "AVX2")}.get(
        chosen_set, (None, None))
    if blas is not None or core is not None:
        os.environ["OPENBLAS_CORETYPE"] = blas or core
    if simd is not None:
        os.environ["FAISS_SIMD_LEVEL"] = simd
        os.environ["FAISS_OPT_LEVEL"] = simd.lower()


if not OPTIONS.list:
    tune_peers(OPTIONS.blas)

import numpy as np  # noqa: E402

sys.path.insert(0, os.path.join(ROOT, "scripts"))
from benchlib import data, measure, ours, peers, report, rows  # noqa: E402


class Bench:
    """What the rows share."""

    def __init__(self, options, folder):
        quick = not options.full
        self.build = os.path.join(ROOT, os.environ.get("BUILD", "build"))
        self.options = options
        self.threads = options.threads
        self.filter = options.filter
        self.sizes = SIZES["quick" if quick else "full"]
        self.self_rows = 20000 if quick else 200000
        self.peer_limit = 1.5 if quick else 10.0
        self.pace = measure.Pace(3.0 if quick else 30.0, 3, 5 if quick else 9, options.rounds)
        self.report = report.Report(options.json)
        self.library = ours.Library(self.build)
        self.isa = self.library.chosen_set()
        self.widest = self.library.sets()[-1]
        self.widest_peak = 0.0
        self.peers = peers.Peers(options.threads)
        self.source = data.Source(options.glove)
        self.folder = folder
        self.folder_kind = "memory (tmpfs)" if folder.startswith("/dev/shm/") else folder
        self.peaks = []
        self.wrong = 0

    def peak(self, seconds):
        return self.library.rate(self.isa, self.threads, seconds)

    def glove(self, queries=2000):
        return self.source.get("glove", queries=queries)

    def glove_self(self):
        return self.source.get("glove-self", self.self_rows)

    def made(self, kind, dim):
        count, queries = self.sizes[dim]
        return self.source.get(kind, count, queries, dim)

    @staticmethod
    def json_file(path):
        with open(path, encoding="utf-8") as file:
            return json.load(file)

    def head(self):
        def fact(name, text):
            self.report.line(f"{name:<10} {text}")
            self.report.value(name, text, "text")

        fact("machine", f"{cpu_name()}, {os.cpu_count()} cores, {memory()} memory")
        fact("system", f"{platform.system()} {platform.release()}, {compiler(self.build)}")
        fact("commit", commit())
        fact("command", shlex.join(["scripts/bench.sh", *sys.argv[1:]])
             + (f" (ENGRAM_ISA={os.environ['ENGRAM_ISA']})" if "ENGRAM_ISA" in os.environ else ""))
        fact("peers", ", ".join(f"{name} {text}" for name, text in self.peers.versions.items()))
        for name, why in self.peers.missing.items():
            fact("missing", f"{name}: {why}")
        for name, text in self.peers.pools.items():
            fact("BLAS", f"{name}: {text}")
        if self.peers.slow:
            fact("SLOW BLAS", "the peers run on the reference BLAS (install libopenblas0, or let "
                              "scripts/bench.sh install faiss-cpu): do not quote their ratios")
        fact("GloVe", self.options.glove)
        fact("kernels", f"{self.isa}, {self.threads} threads")
        for name in self.library.sets():
            one, team, integer = [], [], []
            for _ in range(5):
                one.append(self.library.rate(name, 1, 0.02))
                team.append(self.library.rate(name, self.threads, 0.02))
                integer.append(self.library.rate(name, self.threads, 0.02, integer=True))
            one, team, integer = map(statistics.median, (one, team, integer))
            self.widest_peak = team  # the last one stays
            self.report.line(f"{'peak':<10} {name:<9} {one:8.1f} GFLOP/s one thread, {team:8.1f} "
                             f"all" + (f", integer {integer:8.1f} GOP/s" if integer else ""))
            self.report.value(f"peak/{name}/one_thread", one, "GFLOP/s")
            self.report.value(f"peak/{name}/all_threads", team, "GFLOP/s")
            if integer:
                self.report.value(f"peak/{name}/integer", integer, "GOP/s")
        block = np.ones(32 << 20, dtype=np.float32)
        rate = statistics.median(
            1e-9 * block.nbytes / self.library.read_seconds(block, self.threads) for _ in range(7))
        self.report.line(f"{'memory':<10} {rate:.1f} GB/s read by all threads")
        self.report.value("peak/memory", rate, "GB/s")

    def tail(self):
        if not self.peaks:
            return
        low, high = min(self.peaks), max(self.peaks)
        middle = statistics.median(self.peaks)
        off = sum(abs(p - middle) > 0.05 * middle for p in self.peaks) / len(self.peaks)
        self.report.line()
        self.report.line(f"The peak beside the measurements: median {middle:.1f} GFLOP/s, "
                         f"{low:.1f} to {high:.1f}, {100 * off:.0f} % of them off by over 5 %.")
        if off > 0.1:
            self.report.line("NOISY: something else was running; do not quote these numbers.")
        self.report.value("peak/beside/median", middle, "GFLOP/s")
        self.report.value("peak/beside/off", off, "ratio")
        if self.peers.slow:
            self.report.line("SLOW BLAS: the peers are handicapped; do not quote their ratios.")
        if self.wrong:
            self.report.line(f"OURS WAS WRONG in {self.wrong} answers.")

    def program_lines(self, row, part, *arguments):
        """engram-bench PART: its table, and its JSON lines under the row's name."""
        command = [os.path.join(self.build, "engram-bench"), part, *arguments, "--threads",
                   str(self.threads)]
        if not self.options.json:
            self.report.line(self.output_of(command).rstrip())
            return
        for line in self.output_of([*command, "--json"]).splitlines():
            entry = json.loads(line)
            name = entry["name"]
            name = name if name.startswith(row + "/") else f"{row}/{name}"
            self.report.value(name, entry["value"], entry["unit"])
            self.report.line(f"{name:<50} {entry['value']:12g} {entry['unit']}")

    @staticmethod
    def output_of(command):
        return subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout

    def program(self, part):
        self.report.row(part, "engram-bench " + part)
        self.program_lines(part, part)


def cpu_name():
    try:
        with open("/proc/cpuinfo", encoding="utf-8", errors="replace") as file:
            for line in file:
                if line.startswith("model name"):
                    return " ".join(line.split(":", 1)[1].split())
    except OSError:
        pass
    return platform.processor() or platform.machine()


def memory():
    return f"{os.sysconf('SC_PAGE_SIZE') * os.sysconf('SC_PHYS_PAGES') / 2**30:.0f} GiB"


def compiler(build):
    """What the Makefile recorded."""
    try:
        with open(os.path.join(build, "obj/flags"), encoding="utf-8", errors="replace") as file:
            return file.read(400).split(" -")[0].strip()
    except OSError:
        return "unknown compiler"


def commit():
    def git(*arguments):
        done = subprocess.run(["git", "-C", ROOT, *arguments], capture_output=True, text=True,
                              check=False)
        return done.stdout.strip() if done.returncode == 0 else None
    try:
        name = git("rev-parse", "--short=12", "HEAD")
        changed = git("status", "--porcelain", "--untracked-files=no")
    except OSError:
        name = changed = None
    if name is None:
        return "unknown (no git)"
    return name + (" with changes" if changed else "")


def chosen(options):
    """Names of the programs and rows to run."""
    if options.only:
        names = [*PROGRAMS, *(name for name, _, _ in rows.ROWS)]
        picked = [n for n in names if any(fnmatch.fnmatch(n, p) for p in options.only)]
        if not picked:
            print(f"bench: --only {' '.join(options.only)}: no such row; --list shows them",
                  file=sys.stderr)
            sys.exit(64)
        return picked
    return [*PROGRAMS, *(name for name, quick, _ in rows.ROWS if options.full or quick)]


def work_folder(options):
    parent = options.folder
    if parent is None:
        shared = "/dev/shm"
        fits = os.path.isdir(shared) and shutil.disk_usage(shared).free > 2 << 30
        parent = shared if fits and os.access(shared, os.W_OK) else None
    return tempfile.TemporaryDirectory(prefix="engram-bench-", dir=parent)


def main():
    if OPTIONS.list:
        for name in PROGRAMS:
            print(f"{name:<24} quick, full")
        for name, quick, _ in rows.ROWS:
            print(f"{name:<24} {'quick, full' if quick else 'full'}")
        return 0
    names = chosen(OPTIONS)
    start = time.monotonic()
    failed = False
    with work_folder(OPTIONS) as folder:
        bench = Bench(OPTIONS, folder)
        bench.head()
        for name in names:
            try:
                if name in PROGRAMS:
                    bench.program(name)
                else:
                    next(f for n, _, f in rows.ROWS if n == name)(bench, name)
            except (ours.Failed, subprocess.CalledProcessError, OSError) as error:
                bench.report.clear()
                print(f"bench: {name}: {error}", file=sys.stderr)
                failed = True
        bench.report.summary()
        bench.tail()
        bench.report.line(f"{time.monotonic() - start:.0f} s in all")
        return 70 if failed or bench.wrong else 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except ours.Failed as error:
        print(f"bench: {error}", file=sys.stderr)
        sys.exit(64)
    except KeyboardInterrupt:
        sys.exit(130)
