"""For mkdocstrings, which reads Markdown: what docstrings write otherwise.

References (:class:`~waker.x.Y`) become links where the site has their target, simple tables become Markdown's, and an
entry of ``Attributes:`` may name several (``low, high: …``), as one of ``Args:`` may.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import griffe

_BORDER = re.compile(r"=+(?: +=+)+")
_SEVERAL = re.compile(r"^(    )(\w+(?:(?:, | … )\w+)+)(?=: )", re.M)
_ROLE = re.compile(r":(?:class|func|meth|mod|data|attr|exc|obj):`(~?)([^`]+)`")


def plain(text: str) -> str:
    """Roles as the code that they name."""
    return _ROLE.sub(lambda m: f"`{_short(m)}`", text)


def linked(text: str) -> str:
    """Roles as links, which become plain code where the site has no such object."""
    return _ROLE.sub(lambda m: f'<autoref optional identifier="{m[2]}">`{_short(m)}`</autoref>', text)


def tables(text: str) -> str:
    """reStructuredText's simple tables, with a head, as Markdown's."""
    lines = text.split("\n")
    found: list[str] = []
    while lines:
        line = lines.pop(0)
        if not _BORDER.fullmatch(line):
            found.append(line)
            continue
        starts = [column.start() for column in re.finditer("=+", line)]
        head = _row(lines.pop(0), starts)
        lines.pop(0)  # the border below the head
        found += [head, "| --- " * len(starts) + "|"]
        while not _BORDER.fullmatch(lines[0]):
            found.append(_row(lines.pop(0), starts))
        lines.pop(0)
    return "\n".join(found)


def _row(line: str, starts: list[int]) -> str:
    cells = [line[start:end].strip() for start, end in zip(starts, [*starts[1:], None], strict=True)]
    return f"| {' | '.join(cells)} |"


def together(text: str, types: Mapping[str, str]) -> str:
    """Entries that name several attributes, joined by spaces that do not end a name, with the first one's type."""
    before, section, after = text.partition("\nAttributes:\n")

    def joined(entry: re.Match[str]) -> str:
        first = re.split(r"\W", entry[2])[0]
        return entry[1] + entry[2].replace(" ", "\u00a0") + f" ({types[first]})" if first in types else entry[0]

    return before + section + _SEVERAL.sub(joined, after)


def _short(match: re.Match[str]) -> str:
    return match[2].rpartition(".")[2] if match[1] else match[2]


class Roles(griffe.Extension):
    """Rewrites the docstring of every object."""

    def on_object(self, *, obj: griffe.Object, **kwargs: Any) -> None:
        """Called once for each object."""
        if obj.docstring is not None:
            obj.docstring.value = linked(tables(obj.docstring.value))

    def on_class_members(self, *, cls: griffe.Class, **kwargs: Any) -> None:
        """Called once the members of a class are known."""
        if cls.docstring is not None:
            types = {name: str(attribute.annotation) for name, attribute in cls.attributes.items()}
            cls.docstring.value = together(cls.docstring.value, types)
