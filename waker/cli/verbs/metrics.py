"""``waker metrics``: what a logged metric, a column of the rows or a quantity of ``waker compare`` means."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated

import tyro

from waker.cli.arguments import parse
from waker.errors import UserError, unknown


@dataclass(frozen=True)
class MetricsArgs:
    """What metrics, columns and quantities mean: those of the names given, or all of them, by where they are found."""

    names: Annotated[tuple[str, ...], tyro.conf.Positional] = ()
    """As they are written: credit, actor_loss/green, planned_worst_regret; or a section: metrics, evaluation …"""


def command(argv: list[str]) -> int:
    """Run ``waker metrics``."""
    args = parse(MetricsArgs, argv, verb="metrics")
    told, unknown_name = explained(args.names)
    if told:
        print("\n\n".join(told))
    if unknown_name is not None:
        raise unknown_name
    return 0


def explained(names: Sequence[str]) -> tuple[list[str], UserError | None]:
    """A paragraph for each name, or for each section without any; and of the first name that nothing explains an error
    with the nearest that something does."""
    from waker.analysis.glossary import SECTIONS, Entry, entries, find, section

    def line(entry: Entry, where: str = "") -> str:
        unit = f" [{entry.unit}]" if entry.unit else ""
        shown = f" (in tables: {entry.shown})" if entry.shown not in ("", entry.name) else ""
        return f"{where}{entry.name}{unit}{shown}: {entry.meaning}"

    paragraphs, missing = list[str](), None
    for name in names or SECTIONS:
        if name in SECTIONS:
            paragraphs.append("\n".join([f"{name}:", *(f"  {line(entry)}" for entry in section(name))]))
        elif found := find(name):
            paragraphs.append("\n".join(line(entry, f"{entry.section} · ") for entry in found))
        else:
            missing = missing or unknown(
                "metric",
                name,
                [*SECTIONS, *dict.fromkeys(n for entry in entries() for n in (entry.name, entry.shown) if n)],
            )
    return paragraphs, missing
