"""Files made in folders that others may write to: nothing is followed, taken over or given away."""

import os
import stat
import subprocess

from support import Skip, binary

NOBODY = 65533
BESIDE = (".checkpoint", ".checkpoint.h5")


def shared_folder(t):
    """As /tmp is: everybody makes files, and removes only their own."""
    path = t.path("shared")
    os.mkdir(path)
    os.chmod(path, 0o1777)
    return path


def test_links_in_the_way_are_not_followed(t):
    source = t.two_sets(t.gaussian(300, 8), t.gaussian(40, 8), metric="euclidean")
    folder = shared_folder(t)
    victim = t.path("victim")
    for content in ("", "precious\n"):
        for beside in BESIDE:
            with open(victim, "w", encoding="utf-8") as f:
                f.write(content)
            output = os.path.join(folder, "out.h5")
            os.symlink(victim, output + beside)
            run = t.run("-q", "--all", source, output)
            t.check(run.code in (73, 74) and "out.h5" + beside in run.err, f"{beside}: {run}")
            with open(victim, encoding="utf-8") as f:
                t.check(f.read() == content, f"{beside}: what the link names was written to")
            t.check(not os.path.lexists(output), f"{beside}: there is an OUTPUT")
            os.unlink(output + beside)
            t.check(os.listdir(folder) == [], f"left {os.listdir(folder)}")


def test_files_of_others_are_not_taken_over(t):
    if os.geteuid() != 0:
        raise Skip("only root can give files to others")
    source = t.two_sets(t.gaussian(300, 8), t.gaussian(40, 8), metric="euclidean")
    folder = shared_folder(t)
    output = os.path.join(folder, "out.h5")
    for beside in BESIDE:
        with open(output + beside, "wb"):
            pass
        os.chmod(output + beside, 0o666)
        os.chown(output + beside, NOBODY, NOBODY)
        for more in ([], ["--from-scratch"]):
            t.fails(73, [beside, "remove it"], "-q", "--all", *more, source, output)
        os.unlink(output + beside)
    t.succeeds("-q", "--all", source, output)


def test_nobody_reads_what_is_not_finished(t):
    """Checkpoints are the owner's alone; so is, until it does, a result that will replace another."""
    rows = t.gaussian(3000, 400)
    source = t.two_sets(rows, rows, metric="angular")
    output = t.path("out.h5")
    t.succeeds("-q", "-k", "1", source, output)
    os.chmod(output, 0o644)
    command = [binary(), "-q", "--force", "--all", "--metric=l1", "--threads=1", source, output]
    environment = dict(os.environ, ENGRAM_CHECKPOINT_SECONDS="0")
    with subprocess.Popen(command, env=environment, stderr=subprocess.DEVNULL) as job:
        while job.poll() is None and not os.path.exists(output + ".checkpoint.h5"):
            pass
        job.kill()
    left = [output + beside for beside in BESIDE if os.path.exists(output + beside)]
    if not left:
        raise Skip("the job was faster than we looked")
    for path in left:
        mode = stat.S_IMODE(os.stat(path).st_mode)
        t.check(mode == 0o600, f"{path}: {mode:o}")
    run = t.run(*command[1:])
    t.check(run.code == 0, run)
    t.check(stat.S_IMODE(os.stat(output).st_mode) == 0o644, "the permissions changed")
