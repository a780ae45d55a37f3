"""Names of curricula: how the training loop gets one, and how a new one is added.

A sampler is a factory ``(space, config, rng, samples_per_update) -> Curriculum`` under a name: a file in
``waker/curriculum/named/``, :func:`register_curriculum`, an entry point in the group ``waker.curricula``, or
``file.py:factory``; see :mod:`waker.plug_ins`. One with settings of its own is registered with a dataclass
of them, and is called with ``settings=`` an instance of it.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, TypeVar

import numpy as np

from waker.curriculum.api import Curriculum
from waker.curriculum.config import CurriculumConfig
from waker.curriculum.foreign import ForeignCurriculum
from waker.errors import UserError
from waker.plug_ins import Registry, is_ours
from waker.settings import from_plain
from waker_envs.api import FiniteThetaSpace, ThetaSpace
from waker_envs.file_source import source_name

F = TypeVar("F", bound=Callable[..., Curriculum])

CURRICULA: Registry[Callable[..., Curriculum]] = Registry("sampler", "waker.curriculum.named", "waker.curricula")
register_curriculum = CURRICULA.register
"""Decorator that puts a factory under a name; see :meth:`waker.plug_ins.Registry.register`."""
curriculum_names = CURRICULA.names
"""Every known sampler, sorted: built in, registered, and of installed packages."""
curriculum_settings = CURRICULA.settings
"""The dataclass of a sampler's own settings by its name; None = it has none."""


def takes_boxes(factory: F) -> F:
    """Decorator of a factory that makes its sampler on a continuous θ space (a box), too."""
    factory.takes_boxes = True  # type: ignore[attr-defined]
    return factory


def privileged(factory: F) -> F:
    """Decorator of a factory whose sampler knows what no reward-free run does: an expert's hard θ, the truth that
    others estimate, or a task's rewards."""
    factory.privileged = True  # type: ignore[attr-defined]
    return factory


def is_privileged(name: str) -> bool:
    """Whether a sampler's factory is :func:`privileged`; of what is not installed here nothing is known: False."""
    curriculum_names()
    return bool(getattr(CURRICULA.registered.get(name), "privileged", False))


def box_samplers() -> tuple[str, ...]:
    """Every known sampler that runs on a box, sorted; of installed packages those that have been imported."""
    names = (name for name in curriculum_names() if name in CURRICULA.registered)
    return tuple(name for name in names if getattr(CURRICULA.registered[name], "takes_boxes", False))


def make_curriculum(
    name: str,
    space: ThetaSpace,
    config: CurriculumConfig,
    rng: np.random.Generator,
    samples_per_update: int = 800,
    settings: Any = None,
) -> Curriculum:
    """Build a sampler.

    Args:
        name: one of :func:`curriculum_names`, or ``file.py:factory``; ``config.sampler`` is not read here.
        space: the θ space of the environment.
        config: the numbers that samplers share, and in ``config.settings`` the sampler's own.
        rng: a generator of the curriculum's own (its state is saved with the curriculum's).
        samples_per_update: N = B·T, the credits of one update (default: the paper's 16 × 50), for
            ``config.memory_updates``.
        settings: the sampler's own numbers, of the class :func:`curriculum_settings` gives; None = those of
            ``config.settings``, and their defaults.

    Raises:
        UserError: unknown name; a space or expert set the sampler needs is missing; settings that it does not have; a
            broken third-party package; a third party's sampler that raises, now or when it is called
            (:class:`ForeignCurriculum`).
    """
    factory, kind = CURRICULA.find(name), CURRICULA.settings(name)
    if kind is None and (config.settings or settings is not None):
        given = ", ".join(config.settings) or type(settings).__name__
        raise UserError(f"sampler {name!r} has no settings of its own, and was given {given}")
    if kind is not None:
        if settings is None:
            settings = from_plain(kind, config.settings, f"curriculum.{source_name(name)}.")
        if not isinstance(settings, kind):
            raise UserError(f"sampler {name!r} was given settings {type(settings).__name__}; it takes {kind.__name__}")
        factory = functools.partial(factory, settings=settings)
    if is_ours(CURRICULA.find(name)):
        return factory(space, config, rng, samples_per_update)
    return ForeignCurriculum.made(name, space, lambda: factory(space, config, rng, samples_per_update))


def finite(space: ThetaSpace, name: str) -> FiniteThetaSpace:
    """The space, if it is finite.

    Raises:
        UserError: it is continuous, so the sampler ``name`` cannot keep its table; the message names those that can.
    """
    if not isinstance(space, FiniteThetaSpace):
        *most, last = map(repr, box_samplers())
        choice = f"{', '.join(most)} or {last}"
        raise UserError(f"sampler {name!r} needs a finite θ space; for a continuous one choose {choice}")
    return space
