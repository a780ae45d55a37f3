"""Parts that a user may add under a name: samplers (:mod:`waker.curriculum`), explorers (:mod:`waker.exploration`).

There are four ways: a file in the room's ``named/`` folder (found by itself), the registry's decorator in a module
that has been imported, an entry point of an installed package (its name is the part's, its object the part), or the
name ``file.py:object``, which runs that file. A part may be registered with a dataclass of settings of its own.
"""

from __future__ import annotations

import dataclasses
import importlib
import pkgutil
from collections.abc import Callable
from importlib.metadata import EntryPoint, entry_points
from typing import Any, Generic, TypeVar

from waker.errors import UserError, unknown
from waker_envs.file_source import is_source, load_source
from waker_envs.foreign import foreign, reason_of

T = TypeVar("T")
P = TypeVar("P")


class Registry(Generic[T]):
    """Parts of one kind by name.

    Args:
        kind: what the parts are called in messages.
        package: its modules register what is built in.
        group: of entry points.
    """

    def __init__(self, kind: str, package: str, group: str) -> None:
        self.kind, self.package, self.group = kind, package, group
        self.registered: dict[str, T] = {}
        self._settings: dict[str, type[Any]] = {}

    def register(self, name: str, settings: type[Any] | None = None) -> Callable[[P], P]:
        """Decorator that puts a part under a name.

        Args:
            name: the part's.
            settings: a dataclass of the part's own numbers, every field with a default; one that derives from
                :class:`waker.settings.Settings` checks types and ranges itself.

        Raises:
            ValueError: another part has that name, or ``settings`` is no dataclass whose fields all have defaults.
        """
        if settings is not None:
            _check_settings(f"{self.kind} {name!r}", settings)

        def put(part: P) -> P:
            if name in self.registered:
                raise ValueError(f"{self.kind} {name!r} is already registered")
            self.registered[name] = part  # type: ignore[assignment]
            if settings is not None:
                self._settings[name] = settings
            return part

        return put

    def settings(self, name: str) -> type[Any] | None:
        """The dataclass of a part's own settings; None = it has none.

        Raises:
            UserError: see :meth:`find`.
        """
        part = self.find(name)
        known = name if name in self.registered else next((n for n, p in self.registered.items() if p is part), name)
        return self._settings.get(known)

    def names(self) -> tuple[str, ...]:
        """Every known part: built in, registered, and of installed packages (which are not imported for this)."""
        self._import_named()
        return tuple(sorted({*self.registered, *self._installed()}))

    def find(self, name: str) -> T:
        """The part called ``name``.

        Raises:
            UserError: there is none (the message names the nearest), or its package or file cannot be imported.
        """
        if is_source(name):
            return self._of_file(name)
        if name.endswith(".py"):
            raise UserError(f"{self.kind} {name!r} names a file and nothing in it: write {name}:NAME")
        self._import_named()
        if name not in self.registered:
            installed = self._installed()
            if name not in installed:
                raise unknown(self.kind, name, self.names())
            point = installed[name]

            def failed(error: BaseException) -> UserError:
                return UserError(f"{self.kind} {name!r} of {point.value} cannot be loaded: {reason_of(error)}")

            with foreign(f"the import of {point.value}", failed):
                part = point.load()
            # A module that also uses the decorator has registered its part while it was loaded.
            self.registered.setdefault(name, part)
        return self.registered[name]

    def _of_file(self, name: str) -> T:
        def failed(error: BaseException) -> UserError:
            return UserError(f"{self.kind} {name!r} cannot be loaded: {reason_of(error)}")

        with foreign(f"the import of {name}", failed):
            part: T = load_source(name)
        return part

    def _import_named(self) -> None:
        package = importlib.import_module(self.package)
        for module in pkgutil.iter_modules(package.__path__):
            importlib.import_module(f"{package.__name__}.{module.name}")

    def _installed(self) -> dict[str, EntryPoint]:
        return {point.name: point for point in entry_points(group=self.group)}


def _check_settings(what: str, settings: type[Any]) -> None:
    if not isinstance(settings, type) or not dataclasses.is_dataclass(settings):
        raise ValueError(f"settings of {what} must be a dataclass, not {settings!r}")
    missing = dataclasses.MISSING
    bare = [f.name for f in dataclasses.fields(settings) if f.default is missing and f.default_factory is missing]
    if bare:
        raise ValueError(f"setting {bare[0]!r} of {what} has no default; give it one")


def is_ours(part: object) -> bool:
    """Whether a part is built in: what others wrote is called under guard."""
    return getattr(part, "__module__", "").startswith("waker.")
