"""What a GPU does with WAKER, in at most eight minutes: ``python -m experiments.gpu [--device cuda] [--minutes 8]``.

Parts: ``card`` (the device's own rates), ``checks`` (the published step, eager against compiled and recorded updates,
bf16, waits for the device, resuming), ``speed`` (milliseconds, launches, kernel time, memory and rates of updates, by
size, way and precision), ``run`` (a minute of ``waker train`` on the device beside the processor), ``loop`` (updates a
second of the whole loop) and ``render`` (pictures drawn by the card). Each task is a process; its rows are in
``results/gpu/<card>/rows.jsonl`` as soon as it is known, and what was not reached in time is a row that says so. At the
end: ``table.md`` (also printed), ``profile.txt``, ``losses.csv``, ``machine.json`` and ``log.txt`` (of failed tasks).
``--only`` replaces the rows of the parts it names and keeps the others.

``--device cpu --quick`` runs all of it in the smallest sizes on a processor, to try the script out.
"""

from __future__ import annotations

import argparse
import datetime as dt
import json
import os
import re
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import torch

from experiments.bench.measure import machine_of
from experiments.gpu import table
from experiments.gpu.pool import Pool
from experiments.gpu.tasks import all_tasks
from waker.storage.run_folder import git_commit

PARTS = ("card", "checks", "work", "speed", "run", "loop", "render")
RESULTS = Path(__file__).parents[2] / "results" / "gpu"


def arguments() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m experiments.gpu", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--device", default="cuda", help="torch device (default: %(default)s)")
    parser.add_argument("--minutes", type=float, default=8.0, help="all must be over by then (default: %(default)g)")
    parser.add_argument("--only", nargs="+", choices=PARTS, default=list(PARTS), help="parts to run")
    parser.add_argument("--quick", action="store_true", help="the smallest sizes, under a minute")
    parser.add_argument("--out", type=Path, default=RESULTS, help="folder of results (default: results/gpu)")
    return parser.parse_args()


def folder_name(card: str) -> str:
    """``NVIDIA H100 80GB HBM3`` → ``nvidia-h100-80gb-hbm3``."""
    return re.sub(r"[^a-z0-9]+", "-", card.lower()).strip("-")


def machine(device: str) -> dict[str, Any]:
    """What the figures depend on."""
    found = machine_of(device) | {"git": git_commit(), "cpus": os.cpu_count()}
    found["date"] = dt.datetime.now(dt.UTC).date().isoformat()
    if torch.device(device).type == "cuda":
        free, total = torch.cuda.mem_get_info(device)
        capability = ".".join(map(str, torch.cuda.get_device_capability(device)))
        found |= {"memory_gb": total / 1e9, "free_gb": free / 1e9, "cuda": torch.version.cuda, "capability": capability}
    return found


def main() -> int:
    """Run it; 1 if a check does not hold or an uncompiled task failed, 3 without the device."""
    args, started = arguments(), time.monotonic()
    if torch.device(args.device).type == "cuda" and not torch.cuda.is_available():
        print("make gpu: torch sees no CUDA device here; `--device cpu --quick` tries the script out without one")
        return 3
    about = machine(args.device)
    out = args.out / ("quick" if args.quick else folder_name(about["device"]))
    out.mkdir(parents=True, exist_ok=True)
    (out / "machine.json").write_text(json.dumps(about, indent=1) + "\n", encoding="utf-8")
    tasks = all_tasks(tuple(args.only), args.quick)
    rows = kept_rows(out / "rows.jsonl", {task.part for task in tasks})
    with open(out / "rows.jsonl", "a", encoding="utf-8", buffering=1) as file, tempfile.TemporaryDirectory() as scratch:

        def found(row: dict[str, Any]) -> None:
            file.write(json.dumps(row) + "\n")
            rows.append(row)
            print(f"[{time.monotonic() - started:5.0f} s] {told(row)}", flush=True)

        log = out / "log.txt"
        log.write_text("", encoding="utf-8")
        cpus, deadline = os.cpu_count() or 1, started + 60 * args.minutes - 5
        held = 0.85 * about["free_gb"] if "free_gb" in about else 16.0
        beside = max(1, 3 * cpus // 4)  # a compiling task has processes of its own
        pool = Pool(args.device, args.quick, Path(scratch), log, found, beside, held, deadline)
        pool.run(tasks)
    (out / "table.md").write_text(table.page(rows, about), encoding="utf-8")
    (out / "profile.txt").write_text(table.profile_text(rows), encoding="utf-8")
    (out / "losses.csv").write_text(table.losses_csv(rows), encoding="utf-8")
    print(table.page(rows, about))
    print(f"{time.monotonic() - started:.0f} s; rows, table, profile and losses are in {out}")
    return int(any(row.get("holds") is False or crashed(row) for row in rows))


def kept_rows(path: Path, parts: set[str]) -> list[dict[str, Any]]:
    """Rows of earlier runs whose parts are not run again; the file is left with them alone."""
    lines = path.read_text(encoding="utf-8").splitlines() if path.is_file() else []
    rows = [row for row in map(json.loads, lines) if row["part"] not in parts]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return rows


def crashed(row: dict[str, Any]) -> bool:
    """Whether a task failed by itself; that an update could not be compiled is told in the table alone."""
    return "after_s" in row and {"reduce-overhead", "compile"}.isdisjoint(row.get("ways", ()))


def told(row: dict[str, Any]) -> str:
    """A row as a line for people who watch."""
    left_out = ("longest", "part", "name", "shares")
    values = {k: round(v, 4) if isinstance(v, float) else v for k, v in row.items() if k not in left_out}
    return f"{row['part']} {row['name']}: " + ", ".join(f"{k} {v}" for k, v in values.items())


if __name__ == "__main__":
    sys.exit(main())
