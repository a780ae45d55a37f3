"""What happens to a run when everything around it goes wrong? Five parts, and a table of what came of them.

    python -m experiments.faults [--part fuzz envs damage kills sweeps] [--count N] [--seed 0] [--jobs 2]

- ``fuzz``: 500 command lines with hostile values for every option of every verb (:mod:`.command_lines`);
- ``envs``: environments that misbehave, in the learner's process and in workers (:mod:`.misbehaving`);
- ``damage``: 400 flipped bits and 200 cut files of runs, and then each verb (:mod:`.damaged_runs`);
- ``kills``: 200 SIGKILLs of whole runs of six configurations (:mod:`.killed_runs`);
- ``sweeps``: 60 SIGKILLs of sweeps of four runs (:mod:`.killed_sweeps`).

Every case is fixed by the seed and its number. Rows are written to ``results/faults/<part>.csv`` as they come, and the
table to ``results/faults/README.md``; the same command goes on where it was stopped, on the same commit. It ends with
exit code 1 if there is a fault. Half an hour of two cores. ``--case`` runs single cases.
"""

from __future__ import annotations

import os

os.environ["OMP_NUM_THREADS"] = "1"  # before torch: children share the machine

import argparse
import functools
import multiprocessing
import re
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from pathlib import Path
from typing import Any

from experiments.faults import (
    bad_envs,
    command_lines,
    damaged_runs,
    finished,
    killed_runs,
    killed_sweeps,
    misbehaving,
    warm,
)
from experiments.faults.rows import Rows, summary
from waker.storage.run_folder import git_commit

ROOT = Path(__file__).parents[2]
RESULTS = ROOT / "results" / "faults"
RunCase = Callable[[int, int, Path, Path], dict[str, Any]]
PARTS: dict[str, tuple[RunCase, int]] = {
    "fuzz": (command_lines.run_case, 500),
    "envs": (misbehaving.run_case, 2 * len(misbehaving.BEHAVIOURS)),
    "damage": (damaged_runs.run_case, 600),
    "kills": (killed_runs.run_case, 200 // killed_runs.KILLS),
    "sweeps": (killed_sweeps.run_case, 60 // killed_sweeps.KILLS),
}
"""Name → what runs a case, and how many there are."""


def prepare(part: str, cases: Sequence[int], base: Path) -> None:
    """Make the runs that these cases begin with, and what is compared with."""
    if not (base / "finished").is_dir():
        finished.make_finished(base / "finished")
    if part == "damage":
        damaged_runs.make_baselines(base, dict.fromkeys(map(damaged_runs.verb_of, cases)))
    if part == "envs":
        misbehaving.make_baseline(base)
    if part == "kills":
        for name in dict.fromkeys(map(killed_runs.configuration_of, cases)):
            killed_runs.make_baseline(name, base)
    if part == "sweeps":
        killed_sweeps.make_baseline(base)


def results(
    run_case: RunCase, cases: Sequence[int], seed: int, base: Path, work: Path, jobs: int
) -> Iterator[tuple[int, dict[str, Any]]]:
    """Case and row of each, in the order in which they come."""
    one = functools.partial(_numbered, run_case, seed, base, work)
    if jobs <= 1:
        yield from map(one, cases)
        return
    # Forked before anything else than imports has happened here: see :mod:`.warm`. Not a multiprocessing.Pool: its
    # workers are daemons, which may have no children, as the environments' processes are.
    context = multiprocessing.get_context("fork")
    with ProcessPoolExecutor(jobs, context, _stop_as_usual) as pool:
        for done in as_completed([pool.submit(one, case) for case in cases]):
            yield done.result()


def _stop_as_usual() -> None:
    """Signals end this process as any other: the command's own handlers are for its children."""
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(128 + number))


def _numbered(run_case: RunCase, seed: int, base: Path, work: Path, case: int) -> tuple[int, dict[str, Any]]:
    return case, run_case(case, seed, base, work)


def without_places(text: str, folder: Path) -> str:
    """Text without the places that differ from machine to machine: of the cases, all in ``folder``, and of the code."""
    here = re.sub(rf"{re.escape(str(folder))}/(work/[a-z]+-\d+(/up)?/here|base)/?", "", text)
    return here.replace(f"{ROOT}/", "")


def code_commit() -> str:
    """The commit of the code; results that were written meanwhile are no change of it."""
    command = ["git", "status", "--porcelain", "--", ".", ":(exclude)results"]
    commit = git_commit() or "unknown"
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    return commit.removesuffix("+changes") if done.returncode == 0 and not done.stdout.strip() else commit


def main(argv: Sequence[str] | None = None) -> int:
    """Run the parts asked for; 1 if there is a fault."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--part", nargs="+", choices=list(PARTS), default=list(PARTS))
    parser.add_argument("--count", type=int, help="cases of each part, from the first on; default: all")
    parser.add_argument("--case", nargs="+", default=[], metavar="PART:N", help="these cases alone: fuzz:3 kills:0")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--out", type=Path, default=RESULTS)
    args = parser.parse_args(argv)
    commit = code_commit()
    warm.warm_up()
    _stop_as_usual()
    with tempfile.TemporaryDirectory(prefix="faults-") as folder:
        base, work = Path(folder, "base"), Path(folder, "work")
        base.mkdir()
        work.mkdir()
        sys.path.insert(0, str(bad_envs.install(base / "plugin")))
        bad_envs.register()
        for part in args.part:
            run_case, whole = PARTS[part]
            rows = Rows(args.out / f"{part}.csv", commit, args.seed)
            if rows.dropped:
                print(f"{part}: {rows.dropped} rows of another commit or seed are made anew", flush=True)
            wanted: Sequence[int] = range(whole if args.count is None else min(args.count, whole))
            if args.case:
                wanted = [int(n) for name, _, n in (case.partition(":") for case in args.case) if name == part]
            left = [case for case in wanted if case not in rows.cases]
            if not left:
                continue
            prepare(part, left, base)
            began = time.monotonic()
            for done, (case, row) in enumerate(results(run_case, left, args.seed, base, work, args.jobs), 1):
                row["told"] = without_places(row["told"], Path(folder))
                rows.add({"case": case, **row})
                mark = "FAULT" if row["fault"] else "ok"
                print(f"{part} {done}/{len(left)} case {case} {mark}: {row['kind']}: {row['verdict']}", flush=True)
                if row["fault"]:
                    print(f"    {row['command']}\n    {row['told']}", flush=True)
            print(f"{part}: {len(rows.rows)} cases, {len(rows.faults)} faults, {time.monotonic() - began:.0f} s")
    every = {name: Rows.newest(args.out / f"{name}.csv") for name in PARTS}
    args.out.mkdir(parents=True, exist_ok=True)
    (args.out / "README.md").write_text(summary({n: r for n, r in every.items() if r.rows}), encoding="utf-8")
    return int(any(every[name].faults for name in args.part))


if __name__ == "__main__":
    sys.exit(main())
