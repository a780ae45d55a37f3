"""Rows of a part, appended to a file as they come; a part goes on where it was stopped."""

from __future__ import annotations

import csv
import shlex
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

COLUMNS = ("commit", "seed", "case", "kind", "command", "verdict", "fault", "told", "seconds")
"""``kind`` says what was done, ``command`` how to do it again, ``fault`` is 1 where the verdict is one."""


class Rows:
    """The rows of one part, of one commit and one seed; rows of others in the same file are left out of it.

    A number measured on other code says nothing about this one: such rows go when the first new one is written.
    """

    def __init__(self, path: Path, commit: str, seed: int) -> None:
        self.path, self._key = path, {"commit": commit, "seed": str(seed)}
        self.rows: list[dict[str, str]] = []
        self.dropped = 0
        if path.is_file():
            text = path.read_text(encoding="utf-8")
            self.dropped += not text.endswith("\n")  # torn by a kill
            with path.open(newline="", encoding="utf-8") as file:
                for row in csv.DictReader(file):
                    if all(row.get(k) == v for k, v in self._key.items()) and row.get("seconds"):
                        self.rows.append(row)
                    else:
                        self.dropped += 1
        self._clean = self.dropped == 0

    @classmethod
    def newest(cls, path: Path) -> Rows:
        """The rows of the commit and seed of the last one written."""
        commit, seed = "", 0
        if path.is_file():
            with path.open(newline="", encoding="utf-8") as file:
                for row in csv.DictReader(file):
                    commit, seed = row["commit"], int(row["seed"])
        return cls(path, commit, seed)

    @property
    def cases(self) -> set[int]:
        """The cases that have a row."""
        return {int(row["case"]) for row in self.rows}

    def add(self, row: Mapping[str, Any]) -> None:
        """Add one row and write it."""
        self.rows.append({name: str({**self._key, **row}.get(name, "")) for name in COLUMNS})
        self.path.parent.mkdir(parents=True, exist_ok=True)
        if self._clean and self.path.is_file():
            with self.path.open("a", newline="", encoding="utf-8", errors="backslashreplace") as file:
                csv.DictWriter(file, COLUMNS).writerow(self.rows[-1])
            return
        with self.path.open("w", newline="", encoding="utf-8", errors="backslashreplace") as file:
            writer = csv.DictWriter(file, COLUMNS)
            writer.writeheader()
            writer.writerows(self.rows)
        self._clean = True

    @property
    def faults(self) -> list[dict[str, str]]:
        """The rows that are faults, by verdict."""
        return sorted((row for row in self.rows if row["fault"] == "1"), key=lambda row: (row["verdict"], row["kind"]))


def command_line(argv: Sequence[str]) -> str:
    """How a shell would be told, with nothing in it that a table cannot show."""
    line = shlex.join(["waker", *(word if len(word) < 80 else word[:60] + f"…({len(word)})" for word in argv)])
    return line.encode("utf-8", "backslashreplace").decode().replace("\n", "\\n")


def summary(parts: Mapping[str, Rows]) -> str:
    """The page that says what was tried and what came of it, as Markdown.

    Args:
        parts: name → rows.
    """
    lines = [
        "# Faults",
        "",
        "Made by `python -m experiments.faults`, which says what each part does. Rows are in `<part>.csv`.",
        "",
        "| part | commit | cases | faults | verdicts |",
        "| --- | --- | --- | --- | --- |",
    ]
    for name, rows in parts.items():
        counts = Counter(row["verdict"] for row in rows.rows)
        told = ", ".join(f"{verdict} {count}" for verdict, count in counts.most_common())
        commit = rows.rows[0]["commit"].partition("+")
        lines.append(
            f"| {name} | {commit[0][:7]}{''.join(commit[1:])} | {len(rows.rows)} | {len(rows.faults)} | {told} |"
        )
    for name, rows in parts.items():
        if rows.faults:
            lines += [
                "",
                f"## {name}",
                "",
                "| case | kind | verdict | told | command |",
                "| --- | --- | --- | --- | --- |",
            ]
            lines += [
                "| " + " | ".join(_cell(row[key]) for key in ("case", "kind", "verdict", "told", "command")) + " |"
                for row in rows.faults
            ]
    return "\n".join(lines) + "\n"


def _cell(text: str) -> str:
    shown = text if len(text) <= 200 else text[:197] + "…"
    return shown.replace("|", "\\|").replace("\n", " ").replace("<", "&lt;")
