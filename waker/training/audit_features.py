"""The file of named features that an audit looks at rewards by: read, called, and what it must not do told.

One file serves ``waker adapt --features`` and ``waker audit --features``. It has a function of the observation (arrays
by key with leading batch and time → name → numbers), and may have ``TARGETS``, the names that the task is about (others
are spoilers), and ``of_theta``, a function of θ's parameters (name → (n,)) to further features of θ, name → (n,).
"""

from __future__ import annotations

import functools
import importlib.util
import types
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from waker.errors import UserError, unknown
from waker.names import printable
from waker.preferences.linear import columns
from waker.torch_globals import torch_unchanged
from waker_envs.foreign import foreign, reason_of

Floats = NDArray[np.float64]
_DEFAULT = "features"
"""The function that is taken where none is named."""
TARGET, SPOILER = "target", "spoiler"


@dataclass(frozen=True)
class AuditFeatures:
    """What a file says.

    Attributes:
        source: ``file.py:function``, as messages call it.
        function: of observations.
        targets: names of target features; None = the file does not say.
        theta: of parameters; None = there is none.
        without: names that are left out.
    """

    source: str
    function: Callable[..., Any]
    targets: tuple[str, ...] | None = None
    theta: Callable[..., Any] | None = None
    without: tuple[str, ...] = ()

    def of_states(self, observation: Mapping[str, NDArray[Any]]) -> dict[str, Floats]:
        """The features of observations (B, T, …), each (B, T).

        Raises:
            UserError: the function fails, or returns something else.
        """
        what = f"features {self.source}"
        named = functools.partial(_called, self.function, what)
        return columns(named, observation, what)

    def chosen(self, found: Mapping[str, Floats]) -> dict[str, Floats]:
        """Those that are not left out."""
        return {name: column for name, column in found.items() if name not in self.without}

    def check_names(self, of_states: Iterable[str], of_theta: Iterable[str]) -> None:
        """Refuse names that are to be left out, or to be targets, and are none.

        Raises:
            UserError: naming the nearest.
        """
        states = list(of_states)
        for name in self.without:
            if name not in (known := [*states, *of_theta]):
                raise unknown("feature", name, known)
        for name in self.targets or ():
            if name not in states:
                raise unknown(f"feature in TARGETS of {self.source}", name, states)

    def of_theta(self, parameters: Mapping[str, Floats]) -> dict[str, Floats]:
        """The parameters of n θ, and the file's own features of them, each (n,).

        Raises:
            UserError: the function fails, or returns something else.
        """
        if self.theta is None:
            return dict(parameters)
        what = f"of_theta of {self.source}"
        given = _called(self.theta, what, {name: column.copy() for name, column in parameters.items()})
        n = len(next(iter(parameters.values())))
        if not isinstance(given, Mapping):
            raise UserError(f"{what} must return a dict of named features, each an array ({n},)")
        found = dict(parameters)
        for name, values in given.items():
            array = _numbers(values)
            if array is None or array.shape != (n,) or not np.isfinite(array).all():
                raise UserError(f"{what}: feature {name!r} must be finite numbers of shape ({n},), one for each θ")
            found[str(name)] = array
        return found

    def tag(self, name: str) -> str:
        """``target``, ``spoiler``, or nothing where the file does not say."""
        if self.targets is None:
            return ""
        return TARGET if name in self.targets else SPOILER


def _numbers(values: Any) -> Floats | None:
    try:
        return np.asarray(values, np.float64)
    except (TypeError, ValueError):
        return None


def _called(function: Callable[..., Any], what: str, given: Mapping[str, NDArray[Any]]) -> Any:
    def failed(error: BaseException) -> UserError:
        keys = f"; there are {', '.join(map(printable, given))}" if isinstance(error, KeyError) else ""
        return UserError(f"{what} failed: {reason_of(error)}{keys}")

    with torch_unchanged(what), foreign(what, failed):
        return function(given)


def read_features(source: str, without: tuple[str, ...] = ()) -> AuditFeatures:
    """The features of ``file.py`` or ``file.py:function``. This runs the file, which the user named for that purpose.

    Without a function's name it is the one called ``features``, or the only one there is.

    Raises:
        UserError: no such file or function, the file cannot be imported, or has no feature at all.
    """
    file, separator, name = source.rpartition(":")
    if not separator or not name.isidentifier():
        file, name = source, ""
    path = Path(file).resolve()
    if not path.is_file():
        raise UserError(f"no file of features {file!r}; write one with a function that names them (docs/audit.md)")
    module = _imported(path, file)
    own = {
        key: value
        for key, value in vars(module).items()
        if callable(value) and not key.startswith("_") and getattr(value, "__module__", "") == module.__name__
    }
    theta = own.pop("of_theta", None)
    if name and name not in own:
        raise unknown(f"function of {file}", name, own)
    if not own:
        raise UserError(f"{file} has no function of the observation that names features (docs/audit.md)")
    if not name:
        name = _DEFAULT if _DEFAULT in own else next(iter(own))
        if len(own) > 1 and name != _DEFAULT:
            raise UserError(f"{file} has several functions; say which names the features: {file}:{name}, say")
    return AuditFeatures(f"{file}:{name}", own[name], _targets(module, file), theta, without)


def _imported(path: Path, file: str) -> types.ModuleType:
    spec = importlib.util.spec_from_file_location(f"waker_features_{path.stem}", path)
    if spec is None or spec.loader is None:
        raise UserError(f"{file!r} is not a Python file")
    module = importlib.util.module_from_spec(spec)
    call = f"the import of {file}"
    with torch_unchanged(call), foreign(call, lambda e: UserError(f"{file} cannot be imported: {reason_of(e)}")):
        spec.loader.exec_module(module)
    return module


def _targets(module: types.ModuleType, file: str) -> tuple[str, ...] | None:
    given = getattr(module, "TARGETS", None)
    if given is None:
        return None
    if isinstance(given, str) or not all(isinstance(name, str) for name in given):
        raise UserError(f'TARGETS of {file} must be a tuple of names of features, as ("green",)')
    return tuple(given)
