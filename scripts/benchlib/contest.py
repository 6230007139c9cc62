"""What all rows do: telling what is compared, measuring it, and what is said of it."""

from . import measure


def sample(bench, rows, queries, dim):
    """How many of the queries a slow peer gets: its time is linear in them."""
    guess = 2e-9 * rows * queries * dim / (40.0 * bench.threads)
    if guess <= 2 * bench.peer_limit:
        return queries
    return min(queries, max(200, int(queries * bench.peer_limit / guess)))


def label_of(name, taken, queries):
    return name if taken == queries else f"{name}, {taken:,} queries"


def title_of(data, metric, k, what="queries"):
    return (f"{len(data.queries):,} {what} x {len(data.base):,} x {data.base.shape[1]}, {metric}"
            + (f", k = {k}" if k else ""))


def survivors(bench, name, search, queries):
    report = search.report
    per_query = report.rescored / max(1, queries)
    bench.report.value(f"{name}/survivors", per_query, "pairs a query")
    bench.report.value(f"{name}/filter", report.filter_name(), "text")
    bench.report.value(f"{name}/isa", report.isa_name(), "text")
    text = (f"{report.isa_name()}, {report.filter_name()} filter, {report.threads} threads, "
            f"{per_query:,.1f} pairs a query rescored")
    if report.prepare_seconds > 0 and search.prepared is None:
        part = report.prepare_seconds / report.seconds
        bench.report.value(f"{name}/prepare_share", part, "ratio")
        text += f", preparing {100 * part:.0f} % of the time"
    bench.report.note(text)


def verdict(bench, name, peer, result):
    bench.report.value(f"{name}/{peer}/answers", result.total, "answers")
    bench.report.value(f"{name}/{peer}/missed", result.missed, "answers")
    bench.report.value(f"{name}/{peer}/ties", result.ties, "answers")
    bench.report.value(f"{name}/{peer}/ours_wrong", result.ours_wrong, "answers")
    bench.report.note(f"{peer} against ours: {result.text()}")
    bench.wrong += result.ours_wrong


def finish(bench, name, contenders, mine, gflop, ratios=True):
    """Measures and prints; `gflop` None where a rate says nothing."""
    seen = measure.run_rounds(contenders, bench.pace, bench.peak,
                              lambda text: bench.report.progress(f"{name}: {text}"))
    bench.report.clear()
    bench.peaks += seen
    bench.report.row_head()
    for c in contenders:
        bench.report.contender(name, c, gflop, mine if ratios else None)
    bench.report.value(f"{name}/rounds", len(mine.seconds), "rounds")
    bench.report.record(name, mine, contenders, gflop)
    if gflop is not None and bench.isa != bench.widest and mine.of_peak:
        share = gflop / mine.median() / bench.widest_peak
        bench.report.value(f"{name}/ours/of_widest_peak", share, "ratio")
        bench.report.note(f"ours against the peak of {bench.widest}: {share:.3f}")
