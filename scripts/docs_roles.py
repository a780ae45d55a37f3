"""For mkdocstrings: references in docstrings (:class:`~waker.x.Y`) become links where the site has their target."""

from __future__ import annotations

import re
from typing import Any

import griffe

_ROLE = re.compile(r":(?:class|func|meth|mod|data|attr|exc|obj):`(~?)([^`]+)`")


def plain(text: str) -> str:
    """Roles as the code that they name."""
    return _ROLE.sub(lambda m: f"`{_short(m)}`", text)


def linked(text: str) -> str:
    """Roles as links, which become plain code where the site has no such object."""
    return _ROLE.sub(lambda m: f'<autoref optional identifier="{m[2]}">`{_short(m)}`</autoref>', text)


def _short(match: re.Match[str]) -> str:
    return match[2].rpartition(".")[2] if match[1] else match[2]


class Roles(griffe.Extension):
    """Rewrites the docstring of every object."""

    def on_object(self, *, obj: griffe.Object, **kwargs: Any) -> None:
        """Called once for each object."""
        if obj.docstring is not None:
            obj.docstring.value = linked(obj.docstring.value)
