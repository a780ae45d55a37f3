"""The pages that readers have, and the code blocks in them."""

from __future__ import annotations

import re
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parents[2]
PAGES = [
    ROOT / "README.md",
    ROOT / "CONTRIBUTING.md",
    *sorted((ROOT / "docs").rglob("*.md")),
    ROOT / "results" / "README.md",
]
FENCE = re.compile(r"^```(\w*)[^\n]*\n(.*?)^```$", re.M | re.S)


class Block(NamedTuple):
    """A code block: where it is, its language and its text."""

    page: str
    number: int
    language: str
    text: str

    def __str__(self) -> str:
        return f"{self.page} {self.language} {self.number}"


def blocks(language: str | None = None) -> list[Block]:
    """The code blocks of all pages, or those of one language."""
    found = [
        Block(str(page.relative_to(ROOT)), number, kind, text)
        for page in PAGES
        for number, (kind, text) in enumerate(FENCE.findall(page.read_text(encoding="utf-8")), 1)
    ]
    return [block for block in found if language in (None, block.language)]
