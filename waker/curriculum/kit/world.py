"""A small world for :func:`waker.curriculum.checker.check_curriculum`: made-up records of a learner.

Everything is a function of the step and of the seed, so that two curricula can be driven alike.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable
from typing import Any

import numpy as np

from waker.curriculum.api import Curriculum, Evident, Floats, Informed, Ints, Thetas
from waker.curriculum.evidence import NOTHING, EpisodeEvidence, EpisodeKind, Evidence, Needs
from waker.curriculum.scores.advantages import lambda_returns
from waker_envs.api import BoxThetaSpace, FiniteThetaSpace, Parameter, ThetaSpace

N, H, T, F, S = 12, 4, 6, 5, 3
"""Start states, imagined steps, steps of an episode, features, sampled returns."""
PARAMETERS = (Parameter("size", ""), Parameter("slip", ""))


def small_space(strangers: int = 0) -> FiniteThetaSpace:
    """Nine θ on a board with unequal DR weights; then θ of no weight that neighbour none of them."""
    points = [(float(a), b / 10) for a in range(3) for b in range(3)]
    points += [(100.0 + i, 100.0 + i) for i in range(strangers)]
    weights = [*range(1, 10), *([0] * strangers)]
    return FiniteThetaSpace(PARAMETERS, points, weights)


def small_box() -> BoxThetaSpace:
    """A box of two parameters."""
    return BoxThetaSpace(PARAMETERS, [0.0, 0.0], [2.0, 0.2])


@dataclasses.dataclass(frozen=True)
class World:
    """What a learner would measure.

    Attributes:
        space: the θ space.
        sign: of every measured number: 1, −1, or 0 for zeros everywhere.
    """

    space: ThetaSpace
    sign: float = 1.0

    def needs(self, curriculum: Curriculum) -> Needs:
        """What a curriculum reads."""
        return curriculum.needs if isinstance(curriculum, Evident) else NOTHING

    def step(self, curriculum: Curriculum, step: int, draw: bool = True) -> list[list[float]]:
        """One stretch of training: two episodes, an update, a measurement now and then; the θ that were drawn."""
        rng = np.random.default_rng((7, step))
        thetas = self.drawn(curriculum, 2) if draw else self.thetas(self.known(rng, 2))
        staged = np.broadcast_to(np.asarray(getattr(curriculum, "staged", False)) if draw else False, (2,))
        for theta_id, theta, aside in zip(*thetas, staged, strict=True):
            self.episode(curriculum, theta, int(theta_id), step, "staged" if aside else "trained")
        if self.needs(curriculum).heldout > 0:
            (theta,) = self.known(rng, 1)
            self.episode(curriculum, theta, self.space.index(theta), step, "heldout")
        self.update(curriculum, self.ids(curriculum, rng, N), step)
        if isinstance(curriculum, Informed) and curriculum.wanted is not None and step % 30 == 0:
            values = np.full(self.space.size or 0, np.nan)
            values[:6] = self.sign * rng.exponential(size=6)
            curriculum.measured(values, step)
        return thetas.points.tolist()

    def drawn(self, curriculum: Curriculum, n: int) -> Thetas:
        """What ``sample(n)`` gives, as :class:`Thetas` or as points alone."""
        given = curriculum.sample(n)
        return given if isinstance(given, Thetas) else self.thetas(np.asarray(given, np.float64))

    def thetas(self, points: Floats) -> Thetas:
        """Points (n, D) with their ids."""
        return Thetas(np.array([self.space.index(theta) for theta in points], np.int64), points)

    def known(self, rng: np.random.Generator, n: int) -> Floats:
        """Any θ of the space, (n, D): of a finite one the first six alone, so that some are never seen."""
        if isinstance(self.space, FiniteThetaSpace):
            return self.space.points[rng.integers(6, size=n)]
        return self.space.sample(rng, n)

    def ids(self, curriculum: Any, rng: np.random.Generator, n: int) -> Ints:
        """Ids of start states, (n,): of a continuous space the curriculum's numbers of its draws, where it has some."""
        if isinstance(self.space, FiniteThetaSpace):
            return rng.integers(-1, 6, size=n)
        drawn = getattr(curriculum, "drawn", 0)
        return rng.integers(max(0, drawn - 40), drawn, size=n) if drawn else np.full(n, -1)

    def update(self, curriculum: Curriculum, ids: Ints, step: int, bad: float | None = None) -> None:
        """An update with these start states; ``bad`` stands in every field in place of numbers."""
        record = self.evidence(self.needs(curriculum), ids, step, bad)
        if isinstance(curriculum, Evident) and curriculum.needs:
            curriculum.learn(record)
        if bad is None:
            curriculum.observe(*self.credits(ids, step), step)

    def credits(self, ids: Ints, step: int) -> tuple[Ints, Floats]:
        """Ids and errors of an update, both (N,)."""
        return ids, _numbers(ids, step, (len(ids),), 1.0)

    def evidence(self, wanted: Needs, ids: Ints, step: int, bad: float | None = None) -> Evidence:
        """An update's record with the fields that are wanted, and no others."""
        n, numbers = len(ids), functools.partial(_numbers, ids, sign=self.sign)
        make: dict[str, Callable[[], Floats]] = {
            "disagreement": lambda: numbers(step, (n,)),
            "loss": lambda: numbers(step, (n,)),
            "transition_loss": lambda: numbers(step + 1, (n,)),
            "excess": lambda: numbers(step + 2, (n,)),
            "rewards": lambda: numbers(step, (n, H)),
            "values": lambda: numbers(step, (n, H + 1)) * 3,
            "gradients": lambda: numbers(step, (n, 2, 3)),
            "sampled_returns": lambda: numbers(step, (n, S)),
            "returns": lambda: lambda_returns(make["rewards"](), make["values"](), 0.99, 0.95),
        }
        chosen: dict[str, Any] = {name: make[name]() for name in wanted.update}
        if bad is not None:
            chosen = {name: np.full_like(value, bad) for name, value in chosen.items()}
        if "gradients" in chosen:  # one of each θ
            present, first = np.unique(ids, return_index=True)
            chosen |= {"gradients": chosen["gradients"][first], "gradients_id": present}
        if "sampled_returns" in chosen:
            chosen["sampled_returns_id"] = ids
        return Evidence(step=step, theta_id=ids, **chosen)

    def episode(
        self,
        curriculum: Curriculum,
        theta: Floats,
        theta_id: int,
        step: int,
        kind: EpisodeKind,
        bad: float | None = None,
    ) -> None:
        """An episode in a θ; see :meth:`update`."""
        if isinstance(curriculum, Evident) and curriculum.needs:
            curriculum.learn_episode(self.episode_evidence(curriculum.needs, theta, theta_id, step, kind, bad))
        if bad is None and kind != "heldout":
            curriculum.episode_done(theta, theta_id, {"length": float(T)})

    def episode_evidence(
        self, wanted: Needs, theta: Floats, theta_id: int, step: int, kind: EpisodeKind, bad: float | None = None
    ) -> EpisodeEvidence:
        """An episode's record with the fields that are wanted, and no others."""
        key, sign = np.array([round(float(np.sum(theta)) * 1000)]), self.sign

        def numbers(later: int, *shape: int) -> Floats:
            return np.asarray(_numbers(key, step + later, (1, *shape), sign)[0])

        one_each = ("disagreement", "loss", "transition_loss", "rewards", "task_rewards", "excess")
        make: dict[str, Callable[[], Any]] = {name: functools.partial(numbers, i, T) for i, name in enumerate(one_each)}
        make |= {name: lambda: 3 * numbers(0, T + 1) for name in ("values", "task_values")}
        make |= {"features": lambda: numbers(0, T, F), "observations": lambda: numbers(1, T, F)}
        make["success"] = lambda: float(_numbers(key, step, (1,), 1.0)[0] > 1) if sign else 0.0
        chosen = {name: make[name]() for name in wanted.episode}
        if bad is not None:
            chosen = {name: np.full_like(value, bad) if np.ndim(value) else bad for name, value in chosen.items()}
        return EpisodeEvidence(step=step, theta=theta, theta_id=theta_id, steps=T, kind=kind, **chosen)


def _numbers(ids: Ints, step: int, shape: tuple[int, ...], sign: float) -> Floats:
    """Positive numbers that grow with the id and fall with the step, times ``sign``; row by row a function of both."""
    rows = [_row(int(i) + 1, step, shape[1:]) for i in ids]
    scale = (1.0 + abs(ids) % 7) / (1.0 + 0.01 * step)
    return np.asarray(sign * np.array(rows).reshape(shape) * scale.reshape(-1, *[1] * (len(shape) - 1)))


@functools.lru_cache(maxsize=10_000)
def _row(key: int, step: int, shape: tuple[int, ...]) -> Floats:
    """Exponential numbers of a generator of their own, which takes longer to make than to ask; not to be changed."""
    numbers = np.asarray(np.random.default_rng((key, step)).exponential(size=shape))
    numbers.flags.writeable = False
    return numbers
