"""Names of curricula: how the training loop gets one, and how a new one is added.

A sampler is a factory ``(space, config, rng, samples_per_update) -> Curriculum`` under a name. Three ways to add one:
a file in ``waker/curriculum/named/`` (found by itself), :func:`register_curriculum` in any module that has been
imported, or the entry-point group ``waker.curricula`` of an installed package (entry point's name = sampler's name,
its object = the factory).
"""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Callable
from importlib.metadata import EntryPoint, entry_points
from typing import Protocol

import numpy as np

from waker.curriculum.api import Curriculum
from waker.curriculum.config import CurriculumConfig
from waker.curriculum.foreign import ForeignCurriculum
from waker.errors import UserError, unknown
from waker_envs.api import FiniteThetaSpace, ThetaSpace
from waker_envs.foreign import foreign, reason_of

ENTRY_POINT_GROUP = "waker.curricula"


class CurriculumFactory(Protocol):
    """Builds a sampler for a space."""

    def __call__(
        self, space: ThetaSpace, config: CurriculumConfig, rng: np.random.Generator, samples_per_update: int
    ) -> Curriculum:
        """See :func:`make_curriculum`."""


_FACTORIES: dict[str, CurriculumFactory] = {}


def register_curriculum(name: str) -> Callable[[CurriculumFactory], CurriculumFactory]:
    """Decorator that puts a factory under a name.

    Raises:
        ValueError: another factory has that name.
    """

    def put(factory: CurriculumFactory) -> CurriculumFactory:
        if name in _FACTORIES:
            raise ValueError(f"a curriculum named {name!r} is already registered")
        _FACTORIES[name] = factory
        return factory

    return put


def _import_named() -> None:
    package = importlib.import_module("waker.curriculum.named")
    for module in pkgutil.iter_modules(package.__path__):
        importlib.import_module(f"{package.__name__}.{module.name}")


def _installed() -> dict[str, EntryPoint]:
    return {point.name: point for point in entry_points(group=ENTRY_POINT_GROUP)}


def curriculum_names() -> tuple[str, ...]:
    """Every known sampler: ours, registered ones, and those of installed packages (not imported for this)."""
    _import_named()
    return tuple(sorted({*_FACTORIES, *_installed()}))


def make_curriculum(
    name: str,
    space: ThetaSpace,
    config: CurriculumConfig,
    rng: np.random.Generator,
    samples_per_update: int = 800,
) -> Curriculum:
    """Build a sampler.

    Args:
        name: one of :func:`curriculum_names`; ``config.sampler`` is not read here.
        space: the θ space of the environment.
        config: the sampler's numbers.
        rng: a generator of the curriculum's own (its state is saved with the curriculum's).
        samples_per_update: N = B·T, the credits of one update (default: the paper's 16 × 50), for
            ``config.memory_updates``.

    Raises:
        UserError: unknown name; a space or expert set the sampler needs is missing; a broken third-party package; a
            third party's sampler that raises, now or when it is called (:class:`ForeignCurriculum`).
    """
    _import_named()
    if name not in _FACTORIES:
        installed = _installed()
        if name not in installed:
            raise unknown("sampler", name, curriculum_names())
        point = installed[name]

        def failed(error: BaseException) -> UserError:
            return UserError(f"sampler {name!r} of {point.value} cannot be loaded: {reason_of(error)}")

        with foreign(f"the import of {point.value}", failed):
            factory = point.load()
        # A module that also uses the decorator has registered itself while it was loaded.
        _FACTORIES.setdefault(name, factory)
    factory = _FACTORIES[name]
    if getattr(factory, "__module__", "").startswith("waker."):
        return factory(space, config, rng, samples_per_update)
    return ForeignCurriculum.made(name, space, lambda: factory(space, config, rng, samples_per_update))


def finite(space: ThetaSpace, name: str) -> FiniteThetaSpace:
    """The space, if it is finite.

    Raises:
        UserError: it is continuous, so the sampler ``name`` cannot keep its table.
    """
    if not isinstance(space, FiniteThetaSpace):
        raise UserError(f"sampler {name!r} needs a finite θ space; for a continuous one choose 'dr'")
    return space
