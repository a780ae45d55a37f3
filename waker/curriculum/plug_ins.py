"""Parts that a user may add under a name: samplers (:mod:`waker.curriculum`), explorers (:mod:`waker.exploration`).

There are three ways: a file in the room's ``named/`` folder (found by itself), the registry's decorator in a module
that has been imported, or an entry point of an installed package (its name is the part's, its object the part).
"""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Callable
from importlib.metadata import EntryPoint, entry_points
from typing import Generic, TypeVar

from waker.errors import UserError, unknown
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

    def register(self, name: str) -> Callable[[P], P]:
        """Decorator that puts a part under a name.

        Raises:
            ValueError: another part has that name.
        """

        def put(part: P) -> P:
            if name in self.registered:
                raise ValueError(f"{self.kind} {name!r} is already registered")
            self.registered[name] = part  # type: ignore[assignment]
            return part

        return put

    def names(self) -> tuple[str, ...]:
        """Every known part: built in, registered, and of installed packages (which are not imported for this)."""
        self._import_named()
        return tuple(sorted({*self.registered, *self._installed()}))

    def find(self, name: str) -> T:
        """The part called ``name``.

        Raises:
            UserError: there is none (the message names the nearest), or its package cannot be imported.
        """
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

    def _import_named(self) -> None:
        package = importlib.import_module(self.package)
        for module in pkgutil.iter_modules(package.__path__):
            importlib.import_module(f"{package.__name__}.{module.name}")

    def _installed(self) -> dict[str, EntryPoint]:
        return {point.name: point for point in entry_points(group=self.group)}


def is_ours(part: object) -> bool:
    """Whether a part is built in: what others wrote is called under guard."""
    return getattr(part, "__module__", "").startswith("waker.")
