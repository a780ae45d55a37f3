"""``waker quickstart``: several samplers side by side, then one table and one report of them all."""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from rich.text import Text

from waker.cli.settings import parse_settings
from waker.errors import BLEMISHED, UserError, unknown
from waker.names import printable
from waker.terminal.console import Console

SAMPLERS = ("waker-m", "dr")
PRESET = "laptop"
ABOUT = f"""usage: waker quickstart [--samplers NAME …] [OPTIONS OF waker train]

Train {" and ".join(SAMPLERS)} side by side, one core each, evaluate both, print one table and write one HTML report.
The same command goes on where it was stopped. Every option of `waker train` is passed on to all runs.

options:
  -h, --help           show this help message and exit
  --samplers NAME …    curricula to compare (default: {" ".join(SAMPLERS)})
  --preset NAME        settings to start from (default: {PRESET})
  --runs PATH          folder of all runs (default: runs)
  --seed INT           seed of every run (default: 0)
  --env STR            environment (default: that of the preset)"""


@dataclass(frozen=True)
class Plan:
    """What to run: sampler → arguments of ``waker train``, and where the runs will lie."""

    trainings: dict[str, list[str]]
    folders: list[Path]
    report: Path


def _samplers(argv: Sequence[str]) -> tuple[list[str], list[str]]:
    """The names behind ``--samplers``, and the other arguments."""
    names: list[str] = []
    rest: list[str] = []
    inside = False
    for word in argv:
        if word.startswith("--"):
            inside = word == "--samplers"
            if inside:
                continue
        (names if inside else rest).append(word)
    if "--samplers" in argv and not names:
        raise UserError("--samplers needs at least one name")
    return names or list(SAMPLERS), rest


def plan(argv: Sequence[str]) -> Plan:
    """Check every run's settings before any of them starts.

    Raises:
        UserError: see :func:`waker.cli.settings.parse_settings`; also when a sampler is named twice.
    """
    from waker.cli.part_options import without_others
    from waker.config.unused import refuse_unused
    from waker.curriculum.registry import curriculum_names
    from waker.storage.run_folder import run_folder

    samplers, rest = _samplers(argv)
    for word in rest:
        if word.split("=")[0] in ("--sampler", "--curriculum.sampler"):
            raise UserError(f"quickstart compares samplers: name them with --samplers instead of {word.split('=')[0]}")
    if not any(word.split("=")[0] in ("--preset", "--config") for word in rest):
        rest = ["--preset", PRESET, *rest]
    trainings: dict[str, list[str]] = {}
    folders: list[Path] = []
    configs = []
    for sampler in samplers:
        if sampler not in curriculum_names():
            raise unknown("sampler", sampler, curriculum_names())
        if sampler in trainings:
            raise UserError(f"sampler {sampler!r} is named twice")
        shared = without_others(rest, "curriculum", sampler, samplers)
        trainings[sampler] = [*shared, "--curriculum.sampler", sampler]
        args = parse_settings(trainings[sampler], "quickstart")
        folders.append(run_folder(args.runs, args.config))
        configs.append(args.config)
    refuse_unused(configs)
    return Plan(trainings, folders, folders[0].parents[2] / "report.html")


def command(argv: list[str]) -> int:
    """Run ``waker quickstart``."""
    if "-h" in argv or "--help" in argv:
        print(ABOUT)
        return 0
    todo = plan(argv)
    from waker.cli.processes import side_by_side

    console = Console()
    began = time.monotonic()
    both = printable(" and ".join(todo.trainings))
    console.print(Text(f"Training {both} side by side; Ctrl-C saves, the same command goes on."))
    codes = side_by_side(
        {name: [sys.executable, "-m", "waker", "train", *args] for name, args in todo.trainings.items()}, console
    )
    bad = {name: code for name, code in codes.items() if code not in (0, BLEMISHED)}
    if bad:
        name, code = next(iter(bad.items()))
        print(
            f"waker: {printable(name)} ended with exit code {code}; the same command goes on from there",
            file=sys.stderr,
        )
        return code if code > 0 else 128 - code
    from waker.analysis.quantities import named
    from waker.cli.verbs.compare import show
    from waker.report.page import write_report

    try:  # before the table, whose reader may go (`| head`)
        page = write_report(todo.folders, todo.report)
    finally:
        show(todo.folders, console, csv=todo.report.with_name("comparison.csv"), only=named("headline"))
    console.print(Text(printable(f"Report: {page} ({(time.monotonic() - began) / 60:.1f} minutes in all)")))
    return max(codes.values())
