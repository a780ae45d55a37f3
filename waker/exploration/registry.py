"""Names of explorers: how an agent gets one, and how a new one is added.

An explorer is a subclass of :class:`waker.exploration.api.Explorer` under a name: a file in
``waker/exploration/named/``, :func:`register_explorer`, or an entry point in the group ``waker.explorers``; see
:mod:`waker.plug_ins`.
"""

from __future__ import annotations

from waker.config.schema import ExplorerConfig
from waker.errors import UserError
from waker.exploration.api import Explorer
from waker.model.world_model import WorldModel
from waker.plug_ins import Registry, is_ours
from waker.settings import from_plain
from waker_envs.foreign import foreign, reason_of

EXPLORERS: Registry[type[Explorer]] = Registry("explorer", "waker.exploration.named", "waker.explorers")
register_explorer = EXPLORERS.register
"""Decorator that puts a class under a name."""
explorer_names = EXPLORERS.names
"""Every known explorer, sorted: built in, registered, and of installed packages."""


def explorer_class(name: str) -> type[Explorer]:
    """The class called ``name``.

    Raises:
        UserError: there is none, or what an installed package has under this name is no explorer.
    """
    found = EXPLORERS.find(name)
    if not (isinstance(found, type) and issubclass(found, Explorer)):
        raise UserError(f"explorer {name!r} is no subclass of waker.exploration.api.Explorer")
    return found


def make_explorer(model: WorldModel, action_dim: int, config: ExplorerConfig) -> Explorer:
    """The explorer ``config.name`` with its networks, drawn from torch's generator.

    Raises:
        UserError: unknown name or setting, or a third party's constructor that raises.
    """
    kind = explorer_class(config.name)
    settings = from_plain(kind.Own, config.settings, "explorer.settings.")
    if is_ours(kind):
        return kind(model, action_dim, config, settings)

    def failed(error: BaseException) -> UserError:
        return UserError(f"explorer {config.name!r} cannot be made: {reason_of(error)}")

    with foreign(f"the constructor of explorer {config.name!r}", failed):
        return kind(model, action_dim, config, settings)
