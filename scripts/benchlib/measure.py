"""Measuring things against each other on a machine that is rarely quiet.

All contenders of a row run in turns, A B C, C B A, A B C, ..., with the multiply-add peak measured
before and after each. Ratios are taken within a round, and what is reported is their median."""

import mmap
import statistics
import time

# What a contender may ask the system for, and what a huge page is.
AT_HAND = 512 << 20
HUGE_PAGE = 2 << 20


def fetch_memory(size=AT_HAND):
    """A virtual machine hands back to its host what has been free for seconds, and the first to
    touch it again waits for the host: 1.2 s for 512 MiB where 0.025 s is usual have been seen.
    That is the machine's time, so every contender finds that much memory really there."""
    try:
        pages = mmap.mmap(-1, size, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    except OSError:
        return  # too little of it for this
    with pages:
        step = mmap.PAGESIZE
        try:
            pages.madvise(mmap.MADV_HUGEPAGE)
            step = HUGE_PAGE
        except (AttributeError, OSError):
            pass  # a system without huge pages
        for at in range(0, size, step):
            pages[at] = 1


def settle(limit=0.3):
    """Waits until the thread pools of the last contender stop spinning."""
    end = time.monotonic() + limit
    while time.monotonic() < end:
        used = time.process_time()
        time.sleep(0.004)
        if time.process_time() - used < 0.0008:
            return


class Contender:
    """`run` measures itself and returns seconds. `share` is the part of the row's work that it
    does: its seconds are divided by it. `rate` and `of_peak`: whether these say anything."""

    def __init__(self, name, run, label=None, share=1.0, rate=True, of_peak=True):
        self.name = name
        self.run = run
        self.label = label or name
        self.share = share
        self.rate = rate
        self.of_peak = rate and of_peak
        self.seconds = []
        self.peaks = []

    def median(self):
        return statistics.median(self.seconds)

    def spread(self):
        """(largest - smallest) / median."""
        return (max(self.seconds) - min(self.seconds)) / self.median()

    def peak_share(self, gflop):
        """Median over the rounds of the rate over the peak measured beside it."""
        return statistics.median(gflop / s / p for s, p in zip(self.seconds, self.peaks))

    def times_of(self, other):
        """Median over the rounds of the other's seconds over ours: how many times faster."""
        return statistics.median(b / a for a, b in zip(self.seconds, other.seconds))


class Pace:
    """How many rounds: as many as fit in the budget, within limits."""

    def __init__(self, budget, fewest, most, rounds=None):
        self.budget = budget
        self.fewest = rounds or fewest
        self.most = rounds or most

    def rounds(self, seconds):
        return max(self.fewest, min(self.most, int(self.budget / max(seconds, 1e-9))))


def run_rounds(contenders, pace, peak, progress=lambda text: None):
    """`peak(seconds)` measures the peak for about that long. Returns all peaks seen."""
    alone = 0.0
    for c in contenders:
        settle()
        start = time.monotonic()
        c.run()  # warms up caches and pages; its answers are the ones compared
        alone += time.monotonic() - start + 0.05
    rounds = pace.rounds(alone)
    seen = []
    for r in range(rounds):
        progress(f"round {r + 1} of {rounds}")
        order = contenders if r % 2 == 0 else contenders[::-1]
        settle()
        before = peak(0.015)
        for c in order:
            fetch_memory()
            settle()
            seconds = c.run() / c.share
            settle()
            after = peak(min(0.2, max(0.015, seconds * c.share / 20)))
            c.seconds.append(seconds)
            c.peaks.append((before + after) / 2)
            seen.append(after)
            before = after
    return seen
