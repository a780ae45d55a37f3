"""Settings that a sampler has no use for: found by watching which ones its factory reads.

Shared numbers (:class:`~waker.curriculum.config.CurriculumConfig`) are many, and each sampler reads a few: ``dr`` no
temperature, ``waker-m`` with a rank priority none either. What is read depends on the settings themselves and on the θ
space, so no list of names is kept: the factory is called once with a configuration that notes what is asked of it.
A sampler's own settings may be inherited from another's; those with no use say so in a method ``unused``.

Asked by :mod:`waker.config.unused`.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Collection
from typing import Any, Protocol, cast, runtime_checkable

import numpy as np

from waker.curriculum.config import CurriculumConfig
from waker.curriculum.kit.world import PARAMETERS, small_box
from waker.curriculum.registry import CURRICULA, make_curriculum
from waker.errors import UserError
from waker.plug_ins import is_ours
from waker.settings import from_plain
from waker_envs.api import FiniteThetaSpace, ThetaSpace
from waker_envs.file_source import source_name

_CHOICE = frozenset({"sampler", "settings"})


@runtime_checkable
class Sparing(Protocol):
    """A sampler's own settings, some of which may be of no use."""

    def unused(self, finite: bool) -> Collection[str]:
        """Names of those that change nothing, as the others are, on a finite θ space or on a continuous one."""


class _Watched:
    """A configuration that notes the names it is asked for."""

    def __init__(self, config: CurriculumConfig) -> None:
        self._config, self.read = config, set[str]()

    def __getattr__(self, name: str) -> Any:
        self.read.add(name)
        return getattr(self._config, name)


def unused_settings(config: CurriculumConfig, space: ThetaSpace | None = None) -> frozenset[str]:
    """Settings that change nothing under the chosen sampler: fields of the section, and ``<sampler>.<name>``.

    Args:
        config: the sampler, and all settings, whatever their values.
        space: where it is to choose; None = what has a use neither on a finite space nor on a box.

    Returns:
        Empty for a sampler that is not this package's own: it may read a setting at any time.

    Raises:
        UserError: there is no such sampler, or it does not go with the space, or one of its own settings is wrong.
    """
    if not is_ours(CURRICULA.find(config.sampler)):
        return frozenset()
    if space is not None:
        return _unused_on(config, space)
    found: list[frozenset[str]] = []
    refused: UserError | None = None
    for one in (_expert_space(), small_box()):
        try:
            found.append(_unused_on(config, one))
        except UserError as error:  # it is for the other kind of space alone
            refused = refused or error
    if refused is not None and not found:
        raise refused
    return frozenset.intersection(*found)


def _unused_on(config: CurriculumConfig, space: ThetaSpace) -> frozenset[str]:
    watched = _Watched(config)
    make_curriculum(config.sampler, space, cast(CurriculumConfig, watched), np.random.default_rng(0))
    shared = {f.name for f in dataclasses.fields(config)} - _CHOICE - watched.read
    kind, name = CURRICULA.settings(config.sampler), source_name(config.sampler)
    own = from_plain(kind, config.settings, f"curriculum.{name}.") if kind is not None else None
    idle = own.unused(space.size is not None) if isinstance(own, Sparing) else ()
    return frozenset(shared | {f"{name}.{field}" for field in idle})


def _expert_space() -> FiniteThetaSpace:
    """Three θ, of which an expert calls one hard."""
    points = [(float(i), 0.0) for i in range(3)]
    return FiniteThetaSpace(PARAMETERS, points, hard=[points[2]], hardest=points[2])
