"""Kinds of observations, one file and one class each: how a key is recognised, checked, encoded, decoded and shown.

A new kind is a subclass of :class:`~waker.model.observations.api.ObservationKind` in a file here, which is found by
itself. Importing it needs no torch: processes that only step environments check observations, too.
"""

from __future__ import annotations

import importlib
import pkgutil
from typing import Any

import gymnasium as gym

from waker.errors import UserError
from waker.model.observations.api import KINDS, ObservationKind
from waker.names import printable
from waker.specs import ObservationKey

for _module in pkgutil.iter_modules(__path__):
    importlib.import_module(f"{__name__}.{_module.name}")


def kind_of(key: ObservationKey, symlog: bool = False) -> ObservationKind:
    """The kind of a key.

    Args:
        symlog: vectors are modelled as symlog of their values.
    """
    return KINDS[key.kind](key, symlog)


def key_of_space(label: str, name: str, space: gym.Space[Any], weight: float) -> ObservationKey:
    """The key for one space of an environment's observation.

    Args:
        label: what the environment calls it, for the message.
        name: what it is called here.

    Raises:
        UserError: no kind has such a space.
    """
    for kind in KINDS.values():
        if (key := kind.of_space(name, space, weight)) is not None:
            return key
    takes = ", ".join(kind.takes for kind in KINDS.values())
    raise UserError(
        f"observation {printable(label)!r} is a {' '.join(str(space).split())}; the learner takes {takes}, and a flat "
        "Dict of these"
    )


__all__ = ["KINDS", "ObservationKind", "key_of_space", "kind_of"]
