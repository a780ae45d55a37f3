"""What every logged metric, every column of the rows and every quantity of ``waker compare`` means.

Metrics and columns stand in ``glossary.yaml``, quantities beside their table (:mod:`waker.analysis.quantities`): for
the documentation's page of metrics and for whoever asks by name. Names of rows that depend on the environment have
parts in angle brackets: ``return_<task>``, ``actor_loss/<policy>``.
"""

from __future__ import annotations

import re
from functools import cache
from importlib import resources
from typing import NamedTuple

import yaml

from waker.analysis.quantities import MEANINGS, shown_as
from waker.errors import unknown

SECTIONS = ("metrics", "run", "episodes", "curriculum", "evaluation", "model_error", "quantities", "tables", "audit")
"""Metrics of training (``metrics.jsonl``); columns that all tables share; columns of the four tables of a run; the
quantities of ``waker compare``, and the columns of its files; those of the files of ``waker audit``."""


_OF_AN_EVALUATION = "evaluation/<quantity>/<task>"


class Entry(NamedTuple):
    """One name and what it means.

    Attributes:
        section: one of :data:`SECTIONS`.
        name: as it is written, with parts in angle brackets.
        unit: empty where there is none.
        meaning: a sentence or two, in Markdown.
        shown: how tables and figures call it; empty where that is its name.
    """

    section: str
    name: str
    unit: str
    meaning: str
    shown: str = ""

    def fits(self, name: str) -> bool:
        """Whether a written name is this one, with something in place of the parts in brackets."""
        return any(_fits(pattern, name) for pattern in (self.name, self.shown) if pattern)


def _fits(pattern: str, name: str) -> bool:
    return re.fullmatch("(.+)".join(map(re.escape, re.split(r"<\w+>", pattern))), name, re.S) is not None


@cache
def entries() -> tuple[Entry, ...]:
    """All of them, section by section."""
    text = resources.files("waker.analysis").joinpath("glossary.yaml").read_text(encoding="utf-8")
    found = [
        Entry(section, name, entry.get("unit", ""), " ".join(entry["meaning"].split()))
        for section, names in yaml.safe_load(text).items()
        for name, entry in names.items()
    ]
    found += [Entry("quantities", name, *told, shown_as(name)) for name, told in MEANINGS.items()]
    return tuple(sorted(found, key=lambda entry: SECTIONS.index(entry.section)))


def section(name: str) -> tuple[Entry, ...]:
    """The entries of one of :data:`SECTIONS`.

    Raises:
        UserError: there is no such section.
    """
    if name not in SECTIONS:
        raise unknown("section of the glossary", name, SECTIONS)
    return tuple(entry for entry in entries() if entry.section == name)


def find(name: str, within: str | None = None) -> tuple[Entry, ...]:
    """The entries that explain a written name: exact ones if there are any, else those whose pattern fits.

    Args:
        name: such as ``credit``, ``worst-θ regret`` (as a table has it), ``actor_loss/green``, ``return_fresh`` or
            ``evaluation/mean_return/green``, which is explained with its quantity.
        within: a section; None = all.
    """
    known = entries() if within is None else section(within)
    exact = tuple(entry for entry in known if name in (entry.name, entry.shown))
    # `actor_loss` of `actor_loss/<policy>`: a family without its member, which a pattern such as `<key>_loss` fits too.
    exact = exact or tuple(entry for entry in known if re.fullmatch(rf"{re.escape(name)}/<\w+>", entry.name))
    found = exact or tuple(entry for entry in known if entry.fits(name))
    if within is None and any(entry.name == _OF_AN_EVALUATION for entry in found):
        found += find(name.split("/")[1], "quantities")
    return found
