"""A continuous space of θ: a box."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from waker_envs.checked import as_numbers, shown
from waker_envs.foreign import foreign, reason_of
from waker_envs.theta import Parameter, Suite, ThetaSpace, checked_suites, describe_suites
from waker_envs.theta_numbers import (
    Theta,
    ThetaError,
    check_parameter_names,
    checked_point,
    checked_points,
    within,
)


class BoxThetaSpace(ThetaSpace):
    """A continuous box of θ. The DR distribution is uniform unless a sampler is given.

    Args:
        low, high: shape (D,), finite, low < high.
        sampler: ``(rng, n) -> (n, D)``; its draws must lie in the box, or :meth:`sample` raises ``ThetaError``.
        step: the size of one edit as a share of each range, in (0, 1], for :meth:`neighbours`.
        hard, hardest: in the box; see :class:`ThetaSpace`.

    Raises:
        ThetaError: anything of this does not hold.
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
        check_parameter_names(self.parameters)
        self.low, self.high = checked_point(low, self.dim, "low"), checked_point(high, self.dim, "high")
        with np.errstate(over="ignore"):
            if not (self.low < self.high).all() or not np.isfinite(self.high - self.low).all():
                raise ThetaError(
                    f"low and high must have low < high and a finite distance, got {self.low.tolist()} and "
                    f"{self.high.tolist()}"
                )
        if sampler is not None and not callable(sampler):
            raise ThetaError(f"sampler must be a function of (rng, n), got {shown(sampler)}")
        share = as_numbers(step)
        if share is None or share.shape != () or not 0 < share <= 1:
            raise ThetaError(f"step must be a share of each range, in (0, 1], got {shown(step)}")
        self._sampler, self._step = sampler, float(share)
        self.hard = checked_points(hard, self.dim, "hard")
        for i, theta in enumerate(self.hard):
            self.hard[i] = self._member(theta)
        self.hardest = None if hardest is None else self._member(checked_point(hardest, self.dim, "hardest"))
        self.suites = checked_suites(suites, self.dim)

    def _member(self, theta: Theta) -> Theta:
        """An expert's θ, inside the box."""
        if (found := self.meant(theta)) is None:
            raise ThetaError(f"hard θ {theta.tolist()} lies outside the box")
        return found

    @property
    def size(self) -> None:
        return None

    def sample(self, rng: np.random.Generator, n: int) -> NDArray[np.float64]:
        if self._sampler is not None:
            call = f"sampler(rng, {n}) of the θ space"
            with foreign(call, lambda error: ThetaError(f"{call} failed: {reason_of(error)}")):
                drawn = self._sampler(rng, n)
            return self._checked_draws(as_numbers(drawn), drawn, n)
        return rng.uniform(self.low, self.high, size=(n, self.dim))

    def _checked_draws(self, drawn: NDArray[np.float64] | None, given: Any, n: int) -> NDArray[np.float64]:
        """What the user's sampler gave for n θ, (n, D).

        Raises:
            ThetaError: no numbers, another shape, or outside the box.
        """
        sampler = self._sampler
        where = f"{getattr(sampler, '__module__', '')}.{getattr(sampler, '__qualname__', type(sampler).__qualname__)}"
        call = f"sampler(rng, {n}) of the θ space, {where.lstrip('.')},"
        if drawn is None or drawn.shape != (n, self.dim):
            gave = shown(given) if drawn is None else f"shape {drawn.shape}"
            raise ThetaError(f"{call} must return shape ({n}, {self.dim}), a column for each parameter, got {gave}")
        drawn = within(self.low, self.high, drawn)  # one that draws in float32 may step over a bound by a rounding
        inside = ((drawn >= self.low) & (drawn <= self.high)).all(1)  # NaN is not
        if not inside.all():
            raise ThetaError(
                f"{call} leaves the space: it drew ({self.format(drawn[~inside][0])}); clip the sampler or widen the "
                "bounds"
            )
        return drawn

    def index(self, theta: ArrayLike) -> int:
        return -1

    def contains(self, theta: ArrayLike) -> bool:
        return self.meant(theta) is not None

    def meant(self, theta: ArrayLike) -> Theta | None:
        array = as_numbers(theta)
        if array is None or array.shape != (self.dim,):
            return None
        found = within(self.low, self.high, array)
        return found if ((found >= self.low) & (found <= self.high)).all() else None

    def neighbours(self, theta: ArrayLike) -> NDArray[np.float64]:
        origin = self._given(theta).astype(np.float64)
        edits = np.vstack([np.diag(s * self._step * (self.high - self.low)) for s in (-1, 1)])  # (2D, D)
        moved = np.clip(origin + edits, self.low, self.high)
        return moved[(moved != origin).any(1)]

    def nearest(self, theta: ArrayLike) -> Theta:
        """θ clipped to the box."""
        return np.clip(self._given(theta).astype(np.float64), self.low, self.high)

    def describe(self) -> str:
        lines = [f"a continuous box of {self.dim} parameters"]
        for p, lo, hi in zip(self.parameters, self.low, self.high, strict=True):
            lines.append(f"  {p.name} ∈ [{lo:g}, {hi:g}]{' ' + p.unit if p.unit else ''}: {p.description}")
        lines += describe_suites(self.suites)
        return "\n".join(lines)
