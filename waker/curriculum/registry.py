"""Names of curricula: how the training loop gets one, and how a new one is added.

A sampler is a factory ``(space, config, rng, samples_per_update) -> Curriculum`` under a name; one with settings of its
own is registered with a dataclass of them, and is called with ``settings=`` an instance of it. Three ways to add one:
a file in ``waker/curriculum/named/`` (found by itself), :func:`register_curriculum` in any module that has been
imported, or the entry-point group ``waker.curricula`` of an installed package (entry point's name = sampler's name,
its object = the factory).
"""

from __future__ import annotations

import dataclasses
import functools
import importlib
import pkgutil
from collections.abc import Callable
from importlib.metadata import EntryPoint, entry_points
from typing import Any, Protocol, TypeVar

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


Factory = TypeVar("Factory", bound=Callable[..., Curriculum])
_FACTORIES: dict[str, Callable[..., Curriculum]] = {}
_SETTINGS: dict[str, type[Any]] = {}


def register_curriculum(name: str, settings: type[Any] | None = None) -> Callable[[Factory], Factory]:
    """Decorator that puts a factory under a name.

    Args:
        name: the sampler's.
        settings: a dataclass of the sampler's own numbers, every field with a default; one that derives from
            :class:`waker.settings.Settings` checks types and ranges itself. The factory then takes a fifth argument
            ``settings``.

    Raises:
        ValueError: another factory has that name, or ``settings`` is no dataclass whose fields all have defaults.
    """
    if settings is not None:
        _check_settings(name, settings)

    def put(factory: Factory) -> Factory:
        if name in _FACTORIES:
            raise ValueError(f"a curriculum named {name!r} is already registered")
        _FACTORIES[name] = factory
        if settings is not None:
            _SETTINGS[name] = settings
        return factory

    return put


def _check_settings(name: str, settings: type[Any]) -> None:
    if not isinstance(settings, type) or not dataclasses.is_dataclass(settings):
        raise ValueError(f"settings of curriculum {name!r} must be a dataclass, not {settings!r}")
    missing = dataclasses.MISSING
    bare = [f.name for f in dataclasses.fields(settings) if f.default is missing and f.default_factory is missing]
    if bare:
        raise ValueError(f"setting {bare[0]!r} of curriculum {name!r} has no default; give it one")


def curriculum_settings(name: str) -> type[Any] | None:
    """The dataclass of a sampler's own settings; None = it has none.

    Raises:
        UserError: unknown name, or a third-party package that cannot be loaded.
    """
    _factory(name)
    return _SETTINGS.get(name)


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
    settings: Any = None,
) -> Curriculum:
    """Build a sampler.

    Args:
        name: one of :func:`curriculum_names`; ``config.sampler`` is not read here.
        space: the θ space of the environment.
        config: the numbers that samplers share.
        rng: a generator of the curriculum's own (its state is saved with the curriculum's).
        samples_per_update: N = B·T, the credits of one update (default: the paper's 16 × 50), for
            ``config.memory_updates``.
        settings: the sampler's own numbers, of the class :func:`curriculum_settings` gives; None = their defaults.

    Raises:
        UserError: unknown name; a space or expert set the sampler needs is missing; settings of another class; a broken
            third-party package; a third party's sampler that raises, now or when it is called
            (:class:`ForeignCurriculum`).
    """
    factory, kind = _factory(name), _SETTINGS.get(name)
    if settings is not None and (kind is None or not isinstance(settings, kind)):
        wanted = f"{kind.__name__}" if kind is not None else "none: it has no settings of its own"
        raise UserError(f"sampler {name!r} was given settings {type(settings).__name__}; it takes {wanted}")
    build = factory if kind is None else functools.partial(factory, settings=kind() if settings is None else settings)
    if getattr(factory, "__module__", "").startswith("waker."):
        return build(space, config, rng, samples_per_update)
    return ForeignCurriculum.made(name, space, lambda: build(space, config, rng, samples_per_update))


def _factory(name: str) -> Callable[..., Curriculum]:
    """The factory of a name; an installed package's is imported.

    Raises:
        UserError: there is none, or its package cannot be loaded.
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
    return _FACTORIES[name]


def finite(space: ThetaSpace, name: str) -> FiniteThetaSpace:
    """The space, if it is finite.

    Raises:
        UserError: it is continuous, so the sampler ``name`` cannot keep its table.
    """
    if not isinstance(space, FiniteThetaSpace):
        raise UserError(f"sampler {name!r} needs a finite θ space; for a continuous one choose 'dr'")
    return space
