"""A finite space of θ: a list of points with weights."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

from waker_envs.checked import raw_numbers, shown
from waker_envs.theta import Parameter, Suite, ThetaSpace, checked_sets, checked_suites, describe_suites
from waker_envs.theta_numbers import (
    Theta,
    ThetaError,
    alike,
    check_different,
    check_parameter_names,
    checked_point,
    checked_points,
    checked_weights,
    digits,
)


class FiniteThetaSpace(ThetaSpace):
    """A finite list of θ with weights: the DR distribution.

    Args:
        parameters: one a coordinate.
        points: shape (M, D), finite, all different to twelve digits.
        weights: shape (M,), finite, not negative; normalised here. None = uniform.
        hard, hardest, sets, suites: see :class:`ThetaSpace`.
        groups: shape (M,), the domain of each point; None = one domain.
        group_names: the domains' names, each with at least one point.

    Raises:
        ThetaError: anything of this does not hold.

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
        sets: Mapping[str, ArrayLike] | None = None,
        suites: Mapping[str, ArrayLike | Suite] | None = None,
        groups: ArrayLike | None = None,
        group_names: Sequence[str] = (),
    ) -> None:
        self.parameters = tuple(parameters)
        check_parameter_names(self.parameters)
        self.points = checked_points(points, self.dim, "points")
        if not len(self.points):
            raise ThetaError("a finite space needs at least one point")
        check_different(self.points)
        self.weights = checked_weights(weights, len(self.points))
        self._ids = {tuple(p): i for i, p in enumerate(self.points.tolist())}
        self._values: dict[int, list[NDArray[np.float64]]] = {}  # by domain, of each coordinate
        self.hard = checked_points(hard, self.dim, "hard")
        for i, theta in enumerate(self.hard):
            self.hard[i] = self._member(theta, "hard θ")
        self.hardest = None if hardest is None else self._member(checked_point(hardest, self.dim, "hardest"), "hard θ")
        self.sets = {
            name: np.array([self._member(theta, f"set {name!r}: θ") for theta in thetas])
            for name, thetas in checked_sets(sets, self.dim).items()
        }
        self.suites = checked_suites(suites, self.dim)
        for suite in self.suites.values():
            for i, theta in enumerate(suite.thetas):
                if (known := self.index(theta)) >= 0:
                    suite.thetas[i] = self.points[known]
        self.groups, self.group_names = self._domains(groups, tuple(group_names))

    def _member(self, theta: Theta, what: str) -> Theta:
        """The point that an author's θ is."""
        if (found := self.meant(theta)) is None:
            raise ThetaError(f"{what} {theta.tolist()} is not a point of the space")
        return found

    def _domains(
        self, groups: ArrayLike | None, names: tuple[str, ...]
    ) -> tuple[NDArray[np.int64] | None, tuple[str, ...]]:
        """The domain of each point and the domains' names, checked."""
        if groups is None:
            if names:
                raise ThetaError("group_names need groups: the domain of each point")
            return None, ()
        ids = raw_numbers(groups)
        if ids is None:
            raise ThetaError(f"groups must be one integer for each point, got {shown(groups)}")
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

    @property
    def size(self) -> int:
        return len(self.points)

    def sample(self, rng: np.random.Generator, n: int) -> NDArray[np.float64]:
        return self.points[rng.choice(self.size, size=n, p=self.weights)]

    def index(self, theta: ArrayLike) -> int:
        """See the base; a θ that is a point but for rounding has its id, if it is no other's."""
        if isinstance(theta, np.ndarray) and theta.dtype == np.float64 and theta.ndim == 1:
            known = self._ids.get(tuple(theta.tolist()))  # a curriculum's θ are the points themselves
            if known is not None:
                return known
        same = alike(self.points, theta)
        return int(same[0]) if len(same) == 1 else -1

    def contains(self, theta: ArrayLike) -> bool:
        return self.index(theta) >= 0

    def meant(self, theta: ArrayLike) -> Theta | None:
        known = self.index(theta)
        return self.points[known].copy() if known >= 0 else None

    def _refusal(self, theta: ArrayLike) -> str:
        same = alike(self.points, theta)
        if len(same) > 1:
            first, second = (digits(self.names, self.points[i]) for i in same[:2])
            return f"θ = ({self.format(theta)}) may be ({first}) or ({second}): give all digits, in float64"
        return super()._refusal(theta)

    def neighbours(self, theta: ArrayLike) -> NDArray[np.float64]:
        if (at := self.index(theta)) < 0:
            raise ThetaError(f"θ = {shown(theta)} is not a point of the space")
        return self.points[self.neighbour_ids(at)]

    def neighbour_ids(self, theta_id: int) -> NDArray[np.int64]:
        """The ids of the neighbours of a point, (n,); what a domain's coordinates take is found once."""
        domain = 0 if self.groups is None else int(self.groups[theta_id])
        if domain not in self._values:
            points = self.points if self.groups is None else self.points[self.groups == domain]
            self._values[domain] = [np.unique(column) for column in points.T]
        origin = self.points[theta_id]
        found = []
        for d, values in enumerate(self._values[domain]):
            at = int(np.searchsorted(values, origin[d]))
            for other in (at - 1, at + 1):
                if 0 <= other < len(values):
                    candidate = origin.copy()
                    candidate[d] = values[other]
                    found.append(self.index(candidate))
        return np.array([i for i in found if i not in (-1, theta_id)], np.int64)

    def nearest(self, theta: ArrayLike) -> Theta:
        """The point closest to θ, each coordinate scaled by its range."""
        scale = np.ptp(self.points, axis=0)
        distance = (abs(self.points - self._given(theta).astype(np.float64)) / np.where(scale > 0, scale, 1)).sum(1)
        return self.points[int(np.argmin(distance))].copy()

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
        lines += [f"  set {name}: {len(thetas)} θ" for name, thetas in self.sets.items()]
        lines += describe_suites(self.suites)
        return "\n".join(lines)
