"""``waker report``: one self-contained HTML page of one or more runs, from their saved rows."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from waker.cli.arguments import parse
from waker.names import printable
from waker.storage.files import check_writable


@dataclass(frozen=True)
class ReportArgs:
    """Learning curves, what the curriculum sampled, estimated and true model error, returns and regret, film strips."""

    runs: Annotated[tuple[Path, ...], tyro.conf.Positional] = (Path("runs"),)
    """Run folders, or folders that hold some: several are shown side by side."""
    out: Path | None = None
    """The page; default: report.html in the first folder."""
    by: tuple[str, ...] = ()
    """Settings whose values tell variants of a sampler apart: curriculum.plr.beta, train.batch …"""


def command(argv: list[str]) -> int:
    """Run ``waker report``."""
    args = parse(ReportArgs, argv, verb="report")
    out = args.out if args.out is not None else args.runs[0] / "report.html"
    if args.out is not None or args.runs[0].is_dir():  # else the folder is what is wrong
        check_writable("the page", out)
    from waker.report.page import write_report

    page = write_report(args.runs, out, args.by)
    print(printable(f"Report: {page}"))
    return 0
