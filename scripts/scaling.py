#!/usr/bin/env python3
"""Measures how the cost of a search grows, one thing at a time: the table "Scaling" of src/README.md.

Made rows (gaussian) in a temporary folder, whole jobs of engram-batch, what its --stats say. Needs
numpy and h5py. Ranks are measured where build/engram-batch-mpi is there (make MPI=1)."""

import argparse
import json
import os
import re
import shutil
import statistics
import subprocess
import sys
import tempfile

import h5py
import numpy as np

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))

# One thing is varied, all others are these.
USUAL = {"rows": 100000, "queries": 10000, "dim": 128, "k": 10}
VARIED = {
    "rows": (25000, 50000, 100000, 200000, 400000),
    "queries": (10, 100, 1000, 10000, 40000),
    "dim": (32, 128, 384, 768, 1536),
    "k": (1, 10, 100, 1000),
}
TINY = 50  # --tiny: rows and queries by so much fewer


def parse(arguments):
    parser = argparse.ArgumentParser(prog="scripts/scaling.py", description=__doc__)
    parser.add_argument("--build", default=os.path.join(ROOT, "build"), metavar="FOLDER",
                        help="where the commands are [build]")
    parser.add_argument("--rounds", type=int, default=3, metavar="N",
                        help="jobs of each kind; the median counts [3]")
    parser.add_argument("--threads", type=int, default=1, metavar="N",
                        help="of all jobs but those that vary them [1]")
    parser.add_argument("--most", type=int, default=len(os.sched_getaffinity(0)), metavar="N",
                        help="threads, and ranks, to go up to [the CPUs there are]")
    parser.add_argument("--only", metavar="NAME",
                        choices=(*VARIED, "threads", "ranks"), help="vary this only")
    parser.add_argument("--tiny", action="store_true", help="to try the script itself")
    return parser.parse_args(arguments)


def powers(most):
    """1, 2, 4, ..., most."""
    counts = []
    count = 1
    while count < most:
        counts.append(count)
        count *= 2
    return [*counts, most]


def make_data(folder, shape):
    """A file for the shape, made once."""
    path = os.path.join(folder, "{rows}-{queries}-{dim}.h5".format(**shape))
    if not os.path.exists(path):
        made = np.random.default_rng(1)
        with h5py.File(path, "w") as file:
            for name in ("rows", "queries"):
                size = (shape[name], shape["dim"])
                file[name] = made.standard_normal(size, dtype=np.float32)
    return path


def job_words(folder, shape, threads):
    return ["--base", "rows", "--queries", "queries", "-k", str(shape["k"]),
            "--threads", str(threads), make_data(folder, shape)]


def foretold(options, folder, shape, threads):
    """What inspect says that the job will take."""
    command = [os.path.join(options.build, "engram-batch"), "inspect",
               *job_words(folder, shape, threads)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    found = re.search(r"^time +(?:about|at least) ([0-9.e+-]+) (s|min) ", done.stdout, re.M)
    if not found:
        return "under 1"
    return f"{float(found[1]) * (60 if found[2] == 'min' else 1):.2g}"


def run_job(options, folder, shape, threads, ranks):
    """What --stats says of one job. `ranks`: None for the command without MPI."""
    stats = os.path.join(folder, "stats.json")
    output = os.path.join(folder, "out.h5")
    if os.path.exists(output):
        os.remove(output)
    name = "engram-batch" if ranks is None else "engram-batch-mpi"
    command = [] if ranks is None else ["mpirun", "--oversubscribe", "-n", str(ranks)]
    command += [os.path.join(options.build, name), "-q", "--stats", stats,
                *job_words(folder, shape, threads), output]
    environment = dict(os.environ, OMP_WAIT_POLICY="passive", OMPI_ALLOW_RUN_AS_ROOT="1",
                       OMPI_ALLOW_RUN_AS_ROOT_CONFIRM="1")
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        sys.exit(f"{' '.join(command)}: exit code {done.returncode}\n{done.stderr}")
    with open(stats, encoding="utf-8") as file:
        return json.load(file)


def line(options, folder, what, value, shape, threads, ranks=None):
    """One row of the table: medians of the rounds."""
    jobs = [run_job(options, folder, shape, threads, ranks) for _ in range(options.rounds)]

    def median(key):
        return statistics.median(job[key] for job in jobs)

    pairs = shape["rows"] * shape["queries"]
    seconds = median("search_seconds")
    if ranks is not None:  # rank 0 reports its own search, and also waits for the others
        seconds = median("total_seconds") - median("read_seconds") - median("write_seconds")
    nanoseconds = 1e9 * seconds / pairs
    at_work = threads * (ranks or 1)
    cells = (what, f"{value:,}", f"{median('total_seconds'):.2f}",
             f"{seconds:.3f}", f"{nanoseconds:.3f}",
             f"{1000 * nanoseconds * at_work / shape['dim']:.2f}",
             f"{100 * median('rescored_share'):.3f}", jobs[0]["filter"]["name"],
             foretold(options, folder, shape, threads) if ranks is None else "")
    print("| " + " | ".join(cells) + " |", flush=True)
    return jobs[0]


def measure(options, folder):
    usual = dict(USUAL)
    divisor = TINY if options.tiny else 1
    for name in ("rows", "queries"):
        usual[name] //= divisor
    print("| varied | to | job, s | search, s | ns a pair | ps a pair, dimension and thread "
          "| rescored, % | filter | inspect said, s |")
    print("| --- | ---: | ---: | ---: | ---: | ---: | ---: | --- | ---: |")
    job = None
    for name, values in VARIED.items():
        for value in values if options.only in (None, name) else ():
            value = max(1, value // divisor) if name in ("rows", "queries") else value
            job = line(options, folder, name, value, {**usual, name: value}, options.threads)
    if options.only in (None, "threads"):
        for threads in powers(options.most):
            job = line(options, folder, "threads", threads, usual, threads)
    mpi = os.path.exists(os.path.join(options.build, "engram-batch-mpi"))
    if options.only in (None, "ranks") and mpi and shutil.which("mpirun"):
        for ranks in powers(options.most):
            job = line(options, folder, "ranks of one thread", ranks, usual, 1, ranks)
    elif options.only in (None, "ranks"):
        print("(no ranks: there is no engram-batch-mpi in the build folder, or no mpirun)",
              file=sys.stderr)
    if job is not None:
        print("\nOtherwise {rows:,} rows, {queries:,} queries, {dim} dimensions, k = {k},"
              " ".format(**usual) + f"{options.threads} thread(s), float32, {job['metric']}; "
              f"{job['isa']} kernels; medians of {options.rounds}.")


def main():
    options = parse(sys.argv[1:])
    with tempfile.TemporaryDirectory(prefix="engram-scaling.") as folder:
        measure(options, folder)


if __name__ == "__main__":
    main()
