"""``waker metrics``: what a logged metric, a column of the rows or a quantity of ``waker compare`` means."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated

import tyro

from waker.cli.arguments import parse
from waker.errors import unknown


@dataclass(frozen=True)
class MetricsArgs:
    """What metrics, columns and quantities mean: those of the names given, or all of them, by where they are found."""

    names: Annotated[tuple[str, ...], tyro.conf.Positional] = ()
    """As they are written: credit, actor_loss/green, planned_worst_regret; or a section: metrics, evaluation …"""


def command(argv: list[str]) -> int:
    """Run ``waker metrics``."""
    args = parse(MetricsArgs, argv, verb="metrics")
    print("\n\n".join(explained(args.names)))
    return 0


def explained(names: Sequence[str]) -> list[str]:
    """A paragraph for each name, or for each section without any.

    Raises:
        UserError: a name that nothing explains, with the nearest that something does.
    """
    from waker.analysis.glossary import SECTIONS, Entry, entries, find, section

    def line(entry: Entry, where: str = "") -> str:
        unit = f" [{entry.unit}]" if entry.unit else ""
        return f"{where}{entry.name}{unit}: {entry.meaning}"

    paragraphs = []
    for name in names or SECTIONS:
        if name in SECTIONS:
            paragraphs.append("\n".join([f"{name}:", *(f"  {line(entry)}" for entry in section(name))]))
        elif found := find(name):
            paragraphs.append("\n".join(line(entry, f"{entry.section} · ") for entry in found))
        else:
            raise unknown("metric", name, [*SECTIONS, *dict.fromkeys(entry.name for entry in entries())])
    return paragraphs
