"""What is told and left out, counted, as a command's exit code says so: warnings about foreign code, and losses.

Entered by :func:`waker.cli.main`; in a notebook the same warnings are shown as Python shows warnings.
"""

from __future__ import annotations

import sys
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, ClassVar

from waker.names import printable


class Losses:
    """What this process told of that was damaged, missing or broken, and went on without.

    Attributes:
        told: how many there have been.
    """

    told: ClassVar[int] = 0


def tell_loss(note: Callable[[str], None], text: str) -> None:
    """Tell in one line what is lost, or was; the command's exit code says that there was something."""
    Losses.told += 1
    note(text)


@dataclass
class ToldCount:
    """What has been told: ``failures`` counts what failed and was left out, ``losses_before`` is for the rest."""

    failures: int = 0
    losses_before: int = 0

    @property
    def blemishes(self) -> int:
        """What failed, was left out or is lost, since the block was entered."""
        return self.failures + Losses.told - self.losses_before


@contextmanager
def told_warnings() -> Iterator[ToldCount]:
    """Print each :class:`~waker_envs.foreign.Told` of the block as one line, at once, however often it was told."""
    told, before = ToldCount(losses_before=Losses.told), set[str]()
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
