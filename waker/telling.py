"""Warnings about foreign code as lines of the command line, and how many of them mean that something failed.

Entered by :func:`waker.cli.main`; in a notebook the same warnings are shown as Python shows warnings.
"""

from __future__ import annotations

import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from waker.names import printable


@dataclass
class ToldCount:
    """What has been told: ``failures`` counts what failed and was left out."""

    failures: int = 0


@contextmanager
def told_warnings() -> Iterator[ToldCount]:
    """Print each :class:`~waker_envs.foreign.Told` of the block as one line, at once, however often it was told."""
    told, before = ToldCount(), set[str]()
    with warnings.catch_warnings():
        others = warnings.showwarning

        def show(
            message: Warning | str, category: type[Warning], filename: str, lineno: int, *more: Any, **named: Any
        ) -> None:
            from waker_envs.foreign import Failed, Told  # not before it is needed: it loads plug-ins, which may warn

            if not issubclass(category, Told):
                others(message, category, filename, lineno, *more, **named)
                return
            told.failures += issubclass(category, Failed)
            line = printable(" ".join(str(message).split()))
            if line not in before:
                before.add(line)
                print(f"waker: {line}", file=sys.stderr, flush=True)

        warnings.showwarning = show
        warnings.filterwarnings("always", category=_told())
        yield told


def _told() -> type[Warning]:
    from waker_envs.foreign import Told

    return Told
