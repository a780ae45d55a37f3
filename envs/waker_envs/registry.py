"""Which environment families exist: ours, and those other packages bring through the entry-point group ``waker.envs``.

``import waker_envs`` registers ours with gymnasium and loads the others. The command line and the training loop
ask here for ids and environments.
"""

from __future__ import annotations

import difflib
import importlib.metadata
from collections.abc import Callable, Iterable
from typing import Any

import gymnasium as gym

from waker_envs.api import ParametricEnv
from waker_envs.foreign import Told, leniently

ENTRY_POINT_GROUP = "waker.envs"

BUILT_IN = {
    "waker/GridHazards-v0": "waker_envs.grids.hazards:GridHazards",
    "waker/GridCleanUp-v0": "waker_envs.grids.cleanup:GridCleanUp",
    "waker/MultiRoom-v0": "waker_envs.grids.minigrids:MultiRoom",
    "waker/LavaCrossing-v0": "waker_envs.grids.minigrids:LavaCrossing",
    "waker/DoorKey-v0": "waker_envs.grids.minigrids:DoorKey",
    "waker/CleanUp-v0": "waker_envs.cleanup.point:CleanUp",
    "waker/CarCleanUp-v0": "waker_envs.cleanup.car:CarCleanUp",
    "waker/TerrainWalker-v0": "waker_envs.terrain.walker:TerrainWalker",
    "waker/TerrainHopper-v0": "waker_envs.terrain.hopper:TerrainHopper",
    "waker/Combined-v0": "waker_envs.combined:Combined",
}

_registered: dict[str, None] = {}  # an ordered set of ids


class UnknownEnvError(ValueError):
    """No environment of that name; the message names the nearest one."""


def register_family(env_id: str, entry_point: str | Callable[..., ParametricEnv], **kwargs: Any) -> None:
    """Register a family with gymnasium under ``env_id`` and list it among ours.

    Registering the same id twice with the same entry point does nothing.

    Args:
        env_id: ``namespace/Name-v0``.
        entry_point: the class, or ``"package.module:Class"``, which is then imported only when it is made.
        kwargs: default constructor arguments.

    Raises:
        ValueError: another environment has this id.
    """
    known = gym.registry.get(env_id)
    if known is not None and (known.entry_point, known.kwargs) != (entry_point, kwargs):
        raise ValueError(f"environment id {env_id!r} is taken by {known.entry_point}; choose another name")
    if known is None:
        gym.register(env_id, entry_point=entry_point, kwargs=kwargs)
    _registered[env_id] = None


def registered_ids() -> tuple[str, ...]:
    """All ids of parametric families, ours first, then other packages'."""
    return tuple(_registered)


def resolve_id(name: str) -> str:
    """The id ``name`` means: itself, also if only gymnasium knows it, or ``waker/<name>-v0`` for a short name.

    Raises:
        UnknownEnvError: naming the nearest valid id.
    """
    for candidate in (name, f"waker/{name}-v0", f"waker/{name}"):
        if candidate in _registered:
            return candidate
    if name in gym.registry:
        return name
    short = {env_id.split("/")[-1].rsplit("-v", 1)[0].lower(): env_id for env_id in _registered}
    full = {env_id.lower(): env_id for env_id in _registered}
    close = difflib.get_close_matches(name.lower(), [*full, *short], n=1, cutoff=0.5)
    hint = f"did you mean {(full | short)[close[0]]!r}?" if close else f"there are {', '.join(_registered)}"
    raise UnknownEnvError(f"unknown environment {name!r}; {hint}")


def make(name: str, **kwargs: Any) -> ParametricEnv:
    """A bare environment (no gymnasium wrapper), made with ``kwargs`` for its constructor.

    Args:
        name: a registered id, or the short name of one of ours (``GridHazards``).

    Raises:
        UnknownEnvError: naming the nearest valid id; or the environment is not a :class:`ParametricEnv`.
    """
    env = gym.make(resolve_id(name), disable_env_checker=True, **kwargs).unwrapped
    if not isinstance(env, ParametricEnv):
        raise UnknownEnvError(f"environment {name!r} is a {type(env).__name__}, which is no ParametricEnv: it has no θ")
    return env


def register_built_in() -> None:
    """Register our families. Their modules are imported when the first environment is made."""
    for env_id, entry_point in BUILT_IN.items():
        register_family(env_id, entry_point)


def load_entry_points(found: Iterable[importlib.metadata.EntryPoint] | None = None) -> None:
    """Register other packages' families.

    Each entry point names either a :class:`ParametricEnv` class, registered under the entry point's name, or a
    function without arguments that calls :func:`register_family`. One that fails gives a warning and is left
    out, whatever it raises: a broken plug-in must not take the others down with it.

    Args:
        found: the entry points; None = those installed in the group ``waker.envs``.
    """
    for point in importlib.metadata.entry_points(group=ENTRY_POINT_GROUP) if found is None else found:
        with leniently(f"environments of entry point {point.name!r} ({point.value}) are left out", Told):
            target = point.load()
            if isinstance(target, type) and issubclass(target, ParametricEnv):
                register_family(point.name, target)
            elif callable(target) and not isinstance(target, type):
                target()
            else:
                raise TypeError(f"{point.value} is neither a ParametricEnv class nor a function that registers")
