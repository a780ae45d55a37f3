"""Which environment families exist: ours, and those other packages bring through the entry-point group ``waker.envs``.

``import waker_envs`` registers ours with gymnasium and loads the others. The command line and the training loop
ask here for ids and environments.
"""

from __future__ import annotations

import difflib
import importlib.metadata
import re
import sys
from collections.abc import Callable, Iterable
from typing import Any, cast

import gymnasium as gym

from waker_envs.api import ParametricEnv
from waker_envs.file_source import SourceError, full_source, is_source, load_source, module_name
from waker_envs.foreign import Told, leniently
from waker_envs.wrapped import as_family

ENTRY_POINT_GROUP = "waker.envs"

BUILT_IN = {
    "waker/GridHazards-v0": "waker_envs.grids.hazards:GridHazards",
    "waker/GridHazardsWide-v0": "waker_envs.grids.hazards:GridHazards",
    "waker/GridCleanUp-v0": "waker_envs.grids.cleanup:GridCleanUp",
    "waker/GridCleanUpSmall-v0": "waker_envs.grids.cleanup_small:GridCleanUpSmall",
    "waker/GridKeys-v0": "waker_envs.grids.keys:GridKeys",
    "waker/MultiRoom-v0": "waker_envs.grids.minigrids:MultiRoom",
    "waker/LavaCrossing-v0": "waker_envs.grids.minigrids:LavaCrossing",
    "waker/DoorKey-v0": "waker_envs.grids.minigrids:DoorKey",
    "waker/CleanUp-v0": "waker_envs.cleanup.point:CleanUp",
    "waker/CarCleanUp-v0": "waker_envs.cleanup.car:CarCleanUp",
    "waker/TerrainWalker-v0": "waker_envs.terrain.walker:TerrainWalker",
    "waker/TerrainHopper-v0": "waker_envs.terrain.hopper:TerrainHopper",
    "waker/Combined-v0": "waker_envs.combined:Combined",
}

_ARGUMENTS: dict[str, dict[str, Any]] = {
    "waker/GridHazardsWide-v0": {"slips": (0.0, 0.3), "n_layouts": ((1, 1, 1), (1, 1, 2), (1, 2, 8))},
}
"""Constructor arguments of those that differ from their class in these alone."""

_ID = re.compile(r"[\w:.-]+/[\w:.-]+-v\d+")
_registered: dict[str, None] = {}  # an ordered set of ids
_waiting: list[importlib.metadata.EntryPoint] = []
"""Entry points whose modules were still being imported when they were to be loaded."""


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
    if known is not None and (_named(known.entry_point), known.kwargs) != (_named(entry_point), kwargs):
        raise ValueError(f"environment id {env_id!r} is taken by {known.entry_point}; choose another name")
    if known is None:
        gym.register(env_id, entry_point=entry_point, kwargs=kwargs)
    _registered[env_id] = None


def _named(entry_point: Any) -> Any:
    """A class as ``"package.module:Class"``, which means the same; anything else as it is."""
    return f"{entry_point.__module__}:{entry_point.__qualname__}" if isinstance(entry_point, type) else entry_point


def registered_ids() -> tuple[str, ...]:
    """All ids of parametric families, ours first, then other packages'."""
    _load_waiting()
    return tuple(_registered)


def foreign_packages() -> set[str]:
    """The top-level packages of families and entry points that are not ours."""
    entries = [gym.registry[env_id].entry_point for env_id in _registered if env_id not in BUILT_IN]
    modules = [str(entry) if isinstance(entry, str) else getattr(entry, "__module__", "") for entry in entries]
    modules += [point.value for point in importlib.metadata.entry_points(group=ENTRY_POINT_GROUP)]
    return {module.partition(":")[0].partition(".")[0] for module in modules} - {"", "waker_envs"}


def resolve_id(name: str) -> str:
    """The id ``name`` means: itself, also if only gymnasium knows it, or for a short name the family that has it.

    ``GridHazards`` and ``GridHazards-v0`` are short for ``waker/GridHazards-v0``, and so are those of other packages'
    families. Ours go before theirs, and a newer version before an older one. ``file.py:Class`` is a class in a file;
    its id has the file's full path.

    Raises:
        UnknownEnvError: naming the nearest valid id, or all that a short name may mean.
    """
    if is_source(name):
        try:
            return full_source(name)
        except SourceError as error:
            raise UnknownEnvError(str(error)) from error
    if name.endswith(".py"):
        raise UnknownEnvError(f"environment {name!r} names a file and nothing in it: write {name}:CLASS")
    _load_waiting()
    for candidate in (name, f"waker/{name}-v0", f"waker/{name}"):
        if candidate in _registered:
            return candidate
    if name in gym.registry:
        return name
    if (found := _by_short_name(name)) is not None:
        return found
    short = {env_id.split("/")[-1].rsplit("-v", 1)[0].lower(): env_id for env_id in _registered}
    bare = name.split("/")[-1].rsplit("-v", 1)[0].lower()  # what all of them begin and end with makes none near
    close = difflib.get_close_matches(bare, list(short), n=1)
    hint = f"did you mean {short[close[0]]!r}?" if close else f"there are {', '.join(_registered)}"
    raise UnknownEnvError(f"unknown environment {name!r}; {hint}")


def gym_id(env_id: str) -> str:
    """What gymnasium knows an environment by: its id, or for ``file.py:Class`` one made from the class and its file.

    This runs the file.

    Raises:
        UnknownEnvError: there is no such environment, or the file has no such class.
    """
    env_id = resolve_id(env_id)
    if not is_source(env_id):
        return env_id
    try:
        family = load_source(env_id)
    except SourceError as error:
        raise UnknownEnvError(str(error)) from error
    if not (isinstance(family, type) and issubclass(family, ParametricEnv)):
        raise UnknownEnvError(f"{env_id} is no ParametricEnv class")
    known = f"{module_name(env_id)}/{family.__name__}-v0"
    if known not in gym.registry:
        gym.register(known, entry_point=cast(Callable[..., ParametricEnv], family))
    return known


def _by_short_name(name: str) -> str | None:
    """The newest version of the one family whose id without its namespace, or without its version too, is ``name``."""
    matches: dict[str, list[tuple[int, str]]] = {}
    for env_id in _registered:
        space, _, short = env_id.rpartition("/")
        base, _, version = short.rpartition("-v")
        if name in (short, base):
            matches.setdefault(space, []).append((int(version) if version.isdecimal() else -1, env_id))
    if len(matches) > 1:
        ids = ", ".join(max(versions)[1] for versions in matches.values())
        raise UnknownEnvError(f"{name!r} is short for several environments; name one of {ids}")
    return next((max(versions)[1] for versions in matches.values()), None)


def make(name: str, **kwargs: Any) -> ParametricEnv:
    """An environment as ``gymnasium.make`` makes it, with the time limit and the wrappers that it was registered with.

    Args:
        name: a registered id, a short name (``GridHazards``) or ``file.py:Class``; see :func:`resolve_id`.
        kwargs: for its constructor, or for ``gymnasium.make`` (``max_episode_steps``).

    Returns:
        The bare environment where nothing is wrapped around it but what changes nothing, else a
        :class:`~waker_envs.wrapped.WrappedFamily`.

    Raises:
        UnknownEnvError: naming the nearest valid id; or the environment is not a :class:`ParametricEnv`.
    """
    made = gym.make(gym_id(name), disable_env_checker=True, **kwargs)
    family = as_family(made)
    if family is None:
        kind = type(made.unwrapped).__name__
        raise UnknownEnvError(f"environment {name!r} is a {kind}, which is no ParametricEnv: it has no θ")
    return family


def register_built_in() -> None:
    """Register our families. Their modules are imported when the first environment is made."""
    for env_id, entry_point in BUILT_IN.items():
        register_family(env_id, entry_point, **_ARGUMENTS.get(env_id, {}))


def load_entry_points(found: Iterable[importlib.metadata.EntryPoint] | None = None) -> None:
    """Register other packages' families.

    Each entry point names either a :class:`ParametricEnv` class, registered under the entry point's name, or a
    function without arguments that calls :func:`register_family`. One that fails gives a warning and is left
    out, whatever it raises: a broken plug-in must not take the others down with it.

    Where a family's own module is imported first, and imports this package, its entry point cannot be loaded yet, as
    the module is not complete. It is loaded when the registry is first asked for something; under an id for its name,
    gymnasium knows it at once.

    Args:
        found: the entry points; None = those installed in the group ``waker.envs``.
    """
    for point in importlib.metadata.entry_points(group=ENTRY_POINT_GROUP) if found is None else found:
        with leniently(_left_out(point), Told):
            try:
                _load(point)
            except Exception:
                if not _imports_under_way():
                    raise
                _put_off(point)


def _load(point: importlib.metadata.EntryPoint) -> None:
    target = point.load()
    if isinstance(target, type) and issubclass(target, ParametricEnv):
        register_family(point.name, target)
    elif callable(target) and not isinstance(target, type):
        target()
    else:
        raise TypeError(f"{point.value} is neither a ParametricEnv class nor a function that registers")


def _left_out(point: importlib.metadata.EntryPoint) -> str:
    return f"environments of entry point {point.name!r} ({point.value}) are left out"


def _imports_under_way() -> bool:
    """Whether this package is being imported by a module that is itself not yet complete."""
    own = __name__.partition(".")[0]
    modules = [module for name, module in list(sys.modules.items()) if name.partition(".")[0] != own]
    return any(getattr(getattr(module, "__spec__", None), "_initializing", False) for module in modules)


def _put_off(point: importlib.metadata.EntryPoint) -> None:
    _waiting.append(point)
    if _ID.fullmatch(point.name) and point.name not in gym.registry:
        # By its name alone, so that gymnasium can make it; if it should be a function that registers, see below.
        gym.register(point.name, entry_point=point.value)


def _load_waiting() -> None:
    """Load what could not be loaded before, once the modules that were in the way are complete."""
    if not _waiting or _imports_under_way():
        return
    points = list(_waiting)
    _waiting.clear()
    for point in points:
        known = gym.registry.get(point.name)
        if known is not None and known.entry_point == point.value and point.name not in _registered:
            del gym.registry[point.name]
        with leniently(_left_out(point), Told):
            _load(point)
