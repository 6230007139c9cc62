"""The table and the JSON lines."""

import json
import sys


class Report:
    """Table on stdout; with `as_json` JSON lines on stdout and the table on stderr."""

    def __init__(self, as_json):
        self.as_json = as_json
        self.stream = sys.stderr if as_json else sys.stdout
        self.bar = sys.stderr.isatty()
        self.sampled = False
        self.records = []  # (row, seconds, share of the peak, {peer: times faster})

    def line(self, text=""):
        print(text, file=self.stream, flush=True)

    def value(self, name, value, unit):
        if self.as_json:
            if isinstance(value, float):
                value = float(f"{value:.6g}")
            print(json.dumps({"name": name, "value": value, "unit": unit}), flush=True)

    def progress(self, text):
        """One line that is overwritten; nothing unless someone looks."""
        if self.bar:
            print(f"\r\033[K{text[:100]}", end="", file=sys.stderr, flush=True)

    def clear(self):
        if self.bar:
            print("\r\033[K", end="", file=sys.stderr, flush=True)

    # ---- rows

    def row(self, name, title):
        self.line()
        self.line(f"{name}: {title}")

    def row_head(self):
        self.line(f"  {'':<34} {'time':>10} {'GF/s':>9} {'of peak':>8} {'ours is':>9} {'spread':>7}")

    def contender(self, row, c, gflop, ours):
        """`gflop` None: a contender without a rate (a file job has one, a stream read has not)."""
        rate = share = ratio = ""
        if gflop is not None and c.rate:
            rate = f"{gflop / c.median():.1f}"
            self.value(f"{row}/{c.name}/gflops", gflop / c.median(), "GFLOP/s")
        if gflop is not None and c.of_peak:
            share = f"{c.peak_share(gflop):.3f}"
            self.value(f"{row}/{c.name}/of_peak", c.peak_share(gflop), "ratio")
        if ours is not None and c is not ours:
            ratio = f"{ours.times_of(c):.2f}x"
            self.value(f"{row}/{c.name}/ours_times_faster", ours.times_of(c), "ratio")
        self.value(f"{row}/{c.name}/seconds", c.median(), "s")
        self.value(f"{row}/{c.name}/spread", c.spread(), "ratio")
        self.line(f"  {c.label:<34} {seconds(c.median()):>10} {rate:>9} {share:>8} {ratio:>9} "
                  f"{100 * c.spread():>5.0f} %")

    def record(self, row, ours, contenders, gflop):
        """Keeps what the summary shows of a row."""
        share = ours.peak_share(gflop) if gflop is not None and ours.of_peak else None
        times = {c.name: ours.times_of(c) for c in contenders if c is not ours}
        self.sampled = self.sampled or any(c.share != 1 for c in contenders)
        self.records.append((row, ours.median(), share, times))

    def summary(self):
        if len(self.records) > 1:
            self.line()
            self.line(f"{'summary':<26} {'ours':>10} {'of peak':>8}   times faster than")
            self.line(f"{'':<47}" + "".join(f"{p:>9}" for p in ("sgemm", "faiss", "sklearn")))
            for row, median, share, times in self.records:
                cells = "".join(f"{times[p]:8.2f}x" if p in times else f"{'':>9}"
                                for p in ("sgemm", "faiss", "sklearn"))
                part = f"{share:8.3f}" if share is not None else f"{'':>8}"
                self.line(f"{row:<26} {seconds(median):>10} {part} {cells}".rstrip())
        if self.sampled:
            self.line()
            self.line("Peers with a number of queries beside their name got only these; their "
                      "times are scaled to all.")

    def note(self, text):
        self.line(f"  {text}")


def seconds(value):
    if value < 1e-3:
        return f"{value * 1e6:.0f} us"
    if value < 1:
        return f"{value * 1e3:.2f} ms"
    return f"{value:.3f} s"
