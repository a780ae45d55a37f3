"""Spaces of environment parameters θ: names, units, the domain-randomisation distribution, hard sets, suites.

Read by curricula, evaluation and plots; authors import the names from :mod:`waker_envs.api`.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from waker_envs.checked import as_numbers, shown

Theta = NDArray[np.float64]
"""One point of a parameter space, shape (D,)."""


class ThetaError(ValueError):
    """θ has the wrong shape or lies outside its space; the message names the nearest valid choice."""


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

    def format(self, theta: ArrayLike) -> str:
        """``size=4, hazards=0.2`` for logs and plots."""
        return ", ".join(f"{n}={v:g}" for n, v in zip(self.names, np.asarray(theta, float), strict=True))


def _points(value: ArrayLike | None, dim: int, what: str) -> NDArray[np.float64]:
    """``value`` as an (n, dim) array; empty when it is None."""
    array = np.zeros((0, dim)) if value is None else as_numbers(value)
    if array is None:
        raise ThetaError(f"{what} must be numbers of shape (n, {dim}), got {shown(value)}")
    if array.ndim != 2 or array.shape[1] != dim:
        raise ThetaError(f"{what} must have shape (n, {dim}), got {array.shape}")
    return array


def _suites(given: Mapping[str, ArrayLike | Suite] | None, dim: int) -> dict[str, Suite]:
    """Every value as a :class:`Suite` with an (n, dim) array."""
    suites = {}
    for name, value in (given or {}).items():
        what = f"suite {name!r}"
        if isinstance(value, Suite):
            suites[name] = Suite(_points(value.thetas, dim, what), dict(value.env_kwargs), value.group)
        else:
            suites[name] = Suite(_points(value, dim, what))
    return suites


def _describe_suites(suites: Mapping[str, Suite]) -> list[str]:
    lines = []
    for name, suite in suites.items():
        made = ", ".join(f"{k}={v!r}" for k, v in suite.env_kwargs.items())
        lines.append(f"  suite {name}: {len(suite)} θ{f', made with {made}' if made else ''}")
    return lines


class FiniteThetaSpace(ThetaSpace):
    """A finite list of θ with weights: the DR distribution.

    Args:
        parameters: one a coordinate.
        points: shape (M, D), all different.
        weights: shape (M,), not negative; normalised here. None = uniform.
        hard, hardest, suites: see :class:`ThetaSpace`.
        groups: shape (M,), the domain of each point; None = one domain.
        group_names: the domains' names, each with at least one point.

    Neighbours of θ are the points that differ from it in one coordinate, to the next value that coordinate
    takes anywhere in θ's domain, where such a point exists.
    """

    def __init__(
        self,
        parameters: Sequence[Parameter],
        points: ArrayLike,
        weights: ArrayLike | None = None,
        *,
        hard: ArrayLike | None = None,
        hardest: ArrayLike | None = None,
        suites: Mapping[str, ArrayLike | Suite] | None = None,
        groups: ArrayLike | None = None,
        group_names: Sequence[str] = (),
    ) -> None:
        self.parameters = tuple(parameters)
        self.points = _points(points, self.dim, "points")
        w = np.ones(len(self.points)) if weights is None else np.asarray(weights, np.float64)
        if len(self.points) == 0 or w.shape != (len(self.points),) or (w < 0).any() or w.sum() <= 0:
            raise ThetaError("a finite space needs points and one weight ≥ 0 for each, not all zero")
        self.weights = w / w.sum()
        self._ids = {self._key(p): i for i, p in enumerate(self.points)}
        if len(self._ids) != len(self.points):
            raise ThetaError("points of a finite space must all be different")
        self.hard = _points(hard, self.dim, "hard")
        self.hardest = None if hardest is None else np.asarray(hardest, np.float64)
        self.suites = _suites(suites, self.dim)
        members = [*self.hard, *([] if self.hardest is None else [self.hardest])]
        for theta in members:
            if not self.contains(theta):
                raise ThetaError(f"hard θ {theta.tolist()} is not a point of the space")
        self.groups, self.group_names = self._domains(groups, tuple(group_names))

    def _domains(
        self, groups: ArrayLike | None, names: tuple[str, ...]
    ) -> tuple[NDArray[np.int64] | None, tuple[str, ...]]:
        """The domain of each point and the domains' names, checked."""
        if groups is None:
            if names:
                raise ThetaError("group_names need groups: the domain of each point")
            return None, ()
        ids = np.asarray(groups)
        if ids.shape != (len(self.points),) or ids.dtype.kind not in "iu":
            raise ThetaError(f"groups must be one integer for each of {len(self.points)} points, got shape {ids.shape}")
        if len(set(names)) < len(names) or set(ids.tolist()) != set(range(len(names))):
            raise ThetaError(
                f"groups must number the {len(names)} domains in group_names, all different, from 0 on and use each, "
                f"got {sorted(set(ids.tolist()))} for {names}"
            )
        for name, suite in self.suites.items():
            if suite.group not in range(len(names)):
                raise ThetaError(f"suite {name!r} belongs to domain {suite.group}, but there are {len(names)}")
        return ids.astype(np.int64), names

    @staticmethod
    def _key(theta: NDArray[np.float64]) -> tuple[float, ...]:
        # Rounded so that 0.1 + 0.2 finds 0.3; no family has values closer than 1e-9.
        return tuple(round(float(v), 9) + 0.0 for v in theta)

    @property
    def size(self) -> int:
        return len(self.points)

    def sample(self, rng: np.random.Generator, n: int) -> NDArray[np.float64]:
        return self.points[rng.choice(self.size, size=n, p=self.weights)]

    def index(self, theta: ArrayLike) -> int:
        array = np.asarray(theta, np.float64)
        return self._ids.get(self._key(array), -1) if array.shape == (self.dim,) else -1

    def contains(self, theta: ArrayLike) -> bool:
        return self.index(theta) >= 0

    def neighbours(self, theta: ArrayLike) -> NDArray[np.float64]:
        origin = np.asarray(theta, np.float64)
        if not self.contains(origin):
            raise ThetaError(f"θ = {origin.tolist()} is not a point of the space")
        found: list[Theta] = []
        points = self.points if self.groups is None else self.points[self.groups == self.groups[self.index(origin)]]
        for d in range(self.dim):
            values = np.unique(points[:, d])
            at = int(np.argmin(abs(values - origin[d])))
            for other in (at - 1, at + 1):
                if 0 <= other < len(values):
                    candidate = origin.copy()
                    candidate[d] = values[other]
                    if self.contains(candidate):
                        found.append(candidate)
        return _points(found or None, self.dim, "neighbours")

    def nearest(self, theta: ArrayLike) -> Theta:
        """The point closest to θ, each coordinate scaled by its range."""
        scale = np.ptp(self.points, axis=0)
        distance = (abs(self.points - np.asarray(theta, np.float64)) / np.where(scale > 0, scale, 1)).sum(1)
        return self.points[int(np.argmin(distance))]

    def describe(self) -> str:
        lines = [f"{self.size} θ of {self.dim} parameters"]
        if self.groups is not None:
            for group, name in enumerate(self.group_names):
                here = self.groups == group
                share = f"{100 * self.weights[here].sum():.3g} % of domain randomisation"
                lines.append(f"  domain {name}: {np.count_nonzero(here)} θ, {share}")
        for d, p in enumerate(self.parameters):
            values = np.unique(self.points[:, d])
            shown = ", ".join(f"{v:g}" for v in values) if len(values) <= 8 else f"{values[0]:g} … {values[-1]:g}"
            lines.append(f"  {p.name} ∈ {{{shown}}}{' ' + p.unit if p.unit else ''}: {p.description}")
        lines += _describe_suites(self.suites)
        return "\n".join(lines)


class BoxThetaSpace(ThetaSpace):
    """A continuous box of θ. The DR distribution is uniform unless a sampler is given.

    Args:
        low, high: shape (D,), finite, low < high.
        sampler: ``(rng, n) -> (n, D)``; its draws must lie in the box.
        step: the size of one edit as a share of each range, for :meth:`neighbours`.
    """

    def __init__(
        self,
        parameters: Sequence[Parameter],
        low: ArrayLike,
        high: ArrayLike,
        *,
        sampler: Callable[[np.random.Generator, int], NDArray[np.float64]] | None = None,
        step: float = 0.1,
        hard: ArrayLike | None = None,
        hardest: ArrayLike | None = None,
        suites: Mapping[str, ArrayLike | Suite] | None = None,
    ) -> None:
        self.parameters = tuple(parameters)
        self.low, self.high = np.asarray(low, np.float64), np.asarray(high, np.float64)
        if self.low.shape != (self.dim,) or self.high.shape != (self.dim,) or not (self.low < self.high).all():
            raise ThetaError(f"low and high must have shape ({self.dim},) with low < high")
        self._sampler, self._step = sampler, step
        self.hard = _points(hard, self.dim, "hard")
        self.hardest = None if hardest is None else np.asarray(hardest, np.float64)
        self.suites = _suites(suites, self.dim)

    @property
    def size(self) -> None:
        return None

    def sample(self, rng: np.random.Generator, n: int) -> NDArray[np.float64]:
        if self._sampler is not None:
            return np.asarray(self._sampler(rng, n), np.float64)
        return rng.uniform(self.low, self.high, size=(n, self.dim))

    def index(self, theta: ArrayLike) -> int:
        return -1

    def contains(self, theta: ArrayLike) -> bool:
        array = np.asarray(theta, np.float64)
        return array.shape == (self.dim,) and bool(((array >= self.low) & (array <= self.high)).all())

    def neighbours(self, theta: ArrayLike) -> NDArray[np.float64]:
        origin = np.asarray(theta, np.float64)
        edits = np.vstack([np.diag(s * self._step * (self.high - self.low)) for s in (-1, 1)])  # (2D, D)
        moved = np.clip(origin + edits, self.low, self.high)
        return moved[(moved != origin).any(1)]

    def nearest(self, theta: ArrayLike) -> Theta:
        """θ clipped to the box."""
        return np.clip(np.asarray(theta, np.float64), self.low, self.high)

    def describe(self) -> str:
        lines = [f"a continuous box of {self.dim} parameters"]
        for p, lo, hi in zip(self.parameters, self.low, self.high, strict=True):
            lines.append(f"  {p.name} ∈ [{lo:g}, {hi:g}]{' ' + p.unit if p.unit else ''}: {p.description}")
        lines += _describe_suites(self.suites)
        return "\n".join(lines)
