"""What a space of environment parameters θ is: names, units, the domain-randomisation distribution, hard sets, suites.

Read by curricula, evaluation and plots; the two kinds of it are :mod:`waker_envs.theta_finite` and
:mod:`waker_envs.theta_box`. Authors import the names from :mod:`waker_envs.api`.
"""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from waker_envs.checked import as_numbers, check_names, checked_numbers, raw_numbers, shown
from waker_envs.theta_numbers import Theta, ThetaError, alike, checked_points, digits

__all__ = ["Parameter", "Suite", "Theta", "ThetaError", "ThetaSpace"]


_SET_NAME = re.compile(r"[a-z0-9-]+")
_OUR_SETS = ("hard", "exact")
"""``hard_share`` and ``exact_share`` are quantities of tables."""


@dataclass(frozen=True)
class Parameter:
    """One coordinate of θ: its name, what it does, and its unit (empty when it has none)."""

    name: str
    description: str
    unit: str = ""


@dataclass(frozen=True)
class Suite:
    """An evaluation suite beyond DR: which θ to run, in an environment made how.

    Attributes:
        thetas: shape (n, D); may lie outside the space.
        env_kwargs: constructor arguments that differ from the training environment's
            (for example a fresh layout every episode); empty when only θ differs.
        group: the domain its θ belong to; to be given in a space of several, see ``groups`` of
            :class:`ThetaSpace`.
    """

    thetas: NDArray[np.float64]
    env_kwargs: Mapping[str, Any] = field(default_factory=dict)
    group: int | None = None

    def __len__(self) -> int:
        return len(self.thetas)


class ThetaSpace(ABC):
    """A space of environment parameters with a domain-randomisation (DR) distribution.

    Attributes:
        parameters: one :class:`Parameter` a coordinate; ``D = len(parameters)``.
        hard: the θ an expert calls hard, shape (n, D); may be empty. Read by the re-weighting oracle.
        hardest: the one θ an expert calls hardest, shape (D,), or None. Read by the hardest oracle.
        sets: name → other θ worth telling apart, such as ``noisy``, each (n, D). Tables tell which share of the data a
            sampler spends on each; no sampler of ours reads them. Of finite spaces only.
        suites: name → :class:`Suite`: the evaluation suites beyond DR (out-of-distribution cases).
            Suites may lie outside the space: they are never sampled for training. Constructors also take
            plain θ arrays (n, D) for suites that need no constructor arguments.
        groups: for a finite space that joins several domains under one world model, the domain of each point,
            shape (M,), numbers into ``group_names``; None = one domain. Curricula then normalise scores inside
            each domain and give each the same total weight; evaluations and reports keep domains apart.
        group_names: the domains' names; empty where ``groups`` is None.
    """

    parameters: tuple[Parameter, ...]
    hard: NDArray[np.float64]
    hardest: Theta | None
    sets: Mapping[str, NDArray[np.float64]] = MappingProxyType({})
    suites: Mapping[str, Suite]
    groups: NDArray[np.int64] | None = None
    group_names: tuple[str, ...] = ()

    @property
    def names(self) -> tuple[str, ...]:
        """The parameters' names, in order."""
        return tuple(p.name for p in self.parameters)

    @property
    def dim(self) -> int:
        """D, the number of parameters."""
        return len(self.parameters)

    @property
    @abstractmethod
    def size(self) -> int | None:
        """The number of points of a finite space; None for a continuous one."""

    @abstractmethod
    def sample(self, rng: np.random.Generator, n: int) -> NDArray[np.float64]:
        """Draw n θ from the DR distribution, shape (n, D)."""

    @abstractmethod
    def index(self, theta: ArrayLike) -> int:
        """The id of θ in a finite space; −1 for a θ outside it, and for every θ of a continuous space."""

    @abstractmethod
    def contains(self, theta: ArrayLike) -> bool:
        """Whether θ lies in the space."""

    @abstractmethod
    def neighbours(self, theta: ArrayLike) -> NDArray[np.float64]:
        """The θ one small edit away, shape (n, D); θ itself is not among them."""

    @abstractmethod
    def describe(self) -> str:
        """A few lines for people: every parameter with its range, unit and meaning; size; suites."""

    def nearest(self, theta: ArrayLike) -> Theta | None:
        """The θ of the space closest to ``theta``, for error messages; None where the space cannot tell."""
        return None

    def meant(self, theta: ArrayLike) -> Theta | None:
        """The θ of the space that these numbers stand for, shape (D,); None = they lie outside.

        It is not the numbers themselves where they carry a rounding: 0.1 in float32 is the point 0.1.
        """
        array = as_numbers(theta)
        return array.copy() if array is not None and self.contains(array) else None

    def resolve(self, theta: ArrayLike) -> Theta:
        """The θ that these numbers stand for, in the space or in one of its suites, shape (D,).

        Args:
            theta: finite numbers (D,).

        Raises:
            ThetaError: outside of both; the message names the nearest. Or they are not D finite numbers.
        """
        theta = self._given(theta)
        found = self.meant(theta)
        of_suites = np.concatenate([s.thetas for s in self.suites.values()] or [np.zeros((0, self.dim))])
        same = alike(of_suites, theta)
        if len(same) and (found is None or (of_suites[same[0]] == theta).all()):
            return of_suites[same[0]].copy()
        if found is None:
            raise ThetaError(self._refusal(theta))
        return found

    def _given(self, theta: ArrayLike) -> NDArray[Any]:
        """D finite numbers in their own precision.

        Raises:
            ThetaError: they are not.
        """
        checked_numbers("θ", theta, self.dim, f" for ({', '.join(self.names)})", ThetaError)
        given = raw_numbers(theta)
        assert given is not None, "it has been looked at"
        return given

    def _refusal(self, theta: ArrayLike) -> str:
        near, said = self.nearest(theta), self.format(theta)
        if near is None:
            return f"θ = ({said}) is outside the space"
        nearest = self.format(near)
        if said == nearest:  # to six digits
            said, nearest = digits(self.names, theta), digits(self.names, near)
        return f"θ = ({said}) is outside the space; the nearest is ({nearest})"

    def format(self, theta: ArrayLike) -> str:
        """``size=4, hazards=0.2`` for logs and plots.

        Raises:
            ThetaError: not D numbers; they need not be finite.
        """
        array = as_numbers(theta)
        if array is None or array.shape != (self.dim,):
            raise ThetaError(f"θ must be {self.dim} numbers ({', '.join(self.names)}), got {shown(theta)}")
        return ", ".join(f"{n}={v:g}" for n, v in zip(self.names, array, strict=True))


def checked_sets(given: Mapping[str, ArrayLike] | None, dim: int) -> dict[str, NDArray[np.float64]]:
    """Every value as an (n, dim) array, n ≥ 1.

    Raises:
        ThetaError: a name that is not of lower-case letters, digits and hyphens, or that quantities of ours have; or no
            points.
    """
    if given is not None and not isinstance(given, Mapping):
        raise ThetaError(f"sets must be a mapping from names to θ, got {shown(given)}")
    for name in given or {}:
        if not isinstance(name, str) or not _SET_NAME.fullmatch(name) or name in _OUR_SETS:
            raise ThetaError(
                f"a set's name must be lower-case letters, digits and hyphens, and not {' or '.join(_OUR_SETS)}; "
                f"got {shown(name)}"
            )
    sets = {name: checked_points(value, dim, f"set {name!r}") for name, value in (given or {}).items()}
    if empty := [name for name, points in sets.items() if not len(points)]:
        raise ThetaError(f"set {empty[0]!r} has no θ; give it some, or leave it out")
    return sets


def checked_suites(given: Mapping[str, ArrayLike | Suite] | None, dim: int) -> dict[str, Suite]:
    """Every value as a :class:`Suite` with an (n, dim) array, n ≥ 1."""
    if given is not None and not isinstance(given, Mapping):
        raise ThetaError(f"suites must be a mapping from names to θ, got {shown(given)}")
    suites = {}
    check_names("suite", given or {}, ThetaError)
    for name, value in (given or {}).items():
        what = f"suite {name!r}"
        if not isinstance(name, str):
            raise ThetaError(f"{what} must have a text for its name")
        if isinstance(value, Suite) and not isinstance(value.env_kwargs, Mapping):
            raise ThetaError(f"{what}: env_kwargs must be a mapping, got {shown(value.env_kwargs)}")
        if isinstance(value, Suite):
            suite = Suite(checked_points(value.thetas, dim, what), dict(value.env_kwargs), value.group)
        else:
            suite = Suite(checked_points(value, dim, what))
        if not len(suite):
            raise ThetaError(f"{what} has no θ; give it some, or leave it out")
        suites[name] = suite
    return suites


def describe_suites(suites: Mapping[str, Suite]) -> list[str]:
    lines = []
    for name, suite in suites.items():
        made = ", ".join(f"{k}={v!r}" for k, v in suite.env_kwargs.items())
        lines.append(f"  suite {name}: {len(suite)} θ{f', made with {made}' if made else ''}")
    return lines
