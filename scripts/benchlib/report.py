"""The table and the JSON lines."""

import json
import sys


class Report:
    """Table on stdout; with `as_json` JSON lines on stdout and the table on stderr."""

    def __init__(self, as_json):
        self.as_json = as_json
        self.stream = sys.stderr if as_json else sys.stdout
        self.bar = sys.stderr.isatty()

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

    def note(self, text):
        self.line(f"  {text}")


def seconds(value):
    if value < 1e-3:
        return f"{value * 1e6:.0f} us"
    if value < 1:
        return f"{value * 1e3:.2f} ms"
    return f"{value:.3f} s"
