"""Dense jobs that go on after bytes of what they left were changed: the bytes of OUTPUT are those of
an undisturbed run, or the job says no; damaged values are computed again."""

from test_dense_restart import KINDS, SLOW, Job


def units_done(journal):
    """Records of units that are done: kind 7, in a header of 64 bytes before its payload."""
    at, count = 4096, 0
    while at + 64 <= len(journal):
        size = int.from_bytes(journal[at + 40 : at + 48], "little")
        if journal[at + 7] == 0 or size > len(journal):
            break
        count += journal[at + 7] == 7
        at += 64 + (size + 63) // 64 * 64
    return count


def left_over(t, arguments):
    """A job that was killed in its middle, and the files it left."""
    job = Job(t, arguments)
    put(job, {})  # an earlier one may have refused to go on
    for _ in range(10):
        process = job.start(*SLOW)
        saved = job.until_saved(process)
        process.kill()
        process.communicate()
        files = {p.name: p.read_bytes() for p in job.folder.iterdir()}
        if saved and not job.out.exists() and units_done(files["out.h5.checkpoint"]) > 0:
            return job, files
        job.out.unlink(missing_ok=True)
    t.require(False, f"{arguments}: nothing was killed")
    return None


def put(job, files):
    for path in job.folder.iterdir():
        path.unlink()
    for name, data in files.items():
        (job.folder / name).write_bytes(data)


def flipped(data, places):
    data = bytearray(data)
    for place in places:
        data[place] ^= 0x10
    return bytes(data)


def goes_on(t, job, label):
    """Continues: what it warned of; None when it refused."""
    process = job.start("--threads", "1")
    err = process.communicate(timeout=300)[1]
    if process.returncode == 73:
        t.check("--from-scratch" in err and not job.out.exists(), f"{label}: {err}")
        return None
    t.check(process.returncode == 0, f"{label}: exit {process.returncode}: {err}")
    t.check(job.out.exists() and job.out.read_bytes() == job.want, f"{label}: other bytes")
    return err


def test_any_byte(t):
    for kind, arguments in KINDS.items():
        job, files = left_over(t, arguments)
        for name, data in files.items():
            # Most of the file is values; the rest of it is tried by itself.
            places = list(t.random.integers(0, len(data), 3)) + [int(t.random.integers(0, 2048))]
            for place in places:
                put(job, dict(files, **{name: flipped(data, [int(place) % len(data)])}))
                goes_on(t, job, f"{kind}: byte {place} of {name}")


def test_finished_values(t):
    """Values of the first unit: one warning, which names it."""
    for kind, arguments in KINDS.items():
        job, files = left_over(t, arguments)
        name = next(n for n in files if n.endswith((".h5", ".cells")))
        data = files[name]
        row = 2500 * (8 if kind == "float64" else 4)
        # Somewhere in the first 256 queries, whatever lies before them.
        place = len(data) - 3000 * row + 20 * row if kind == "compressed" else 100 * row
        put(job, dict(files, **{name: flipped(data, [place, place + row])}))
        job.arguments.remove("-q")
        process = job.start("--threads", "1")
        err = process.communicate(timeout=300)[1]
        t.check(process.returncode == 0 and job.out.read_bytes() == job.want,
                f"{kind}: exit {process.returncode}: {err}")
        t.check(err.count("computed again") == 1 and "queries 0 to" in err, f"{kind}: {err}")


def test_nothing_is_damaged(t):
    for kind, arguments in KINDS.items():
        job, files = left_over(t, arguments)
        put(job, files)
        process = job.start("--threads", "1")
        err = process.communicate(timeout=300)[1]
        t.check(process.returncode == 0 and err == "", f"{kind}: {err}")
        t.check(job.out.read_bytes() == job.want, f"{kind}: other bytes")
