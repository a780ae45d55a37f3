"""Scores of a table, generalised to a continuous space: WAKER's samplers and others on a box.

θ that were drawn are kept in a memory, where any :class:`~waker.curriculum.api.Score` works as on a finite space. The
next θ is chosen among candidates from DR, by the priority of their estimates: by a kernel, or by a learned regressor
(:mod:`waker.curriculum.boxes.regressor`). As the kernel narrows, the
estimate at a visited θ is that θ's own score, so that on the same θ the distribution is the table's.

Made by the factories of ``waker-m`` and ``waker-r`` where the space is no table. Ours: the paper has tables alone.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from waker.curriculum.api import Floats, Ints, Priority, Score, State, Thetas
from waker.curriculum.boxes.continuous import ContinuousCurriculum
from waker.curriculum.boxes.kernel import Estimate, regress
from waker.curriculum.boxes.regressor import regressed
from waker.curriculum.config import CurriculumConfig
from waker.curriculum.evidence import EpisodeEvidence, Evidence, Needs
from waker.curriculum.scores.error_estimate import Magnitude
from waker.curriculum.state import part, with_prefix
from waker.errors import UserError
from waker.settings import NotNegative, Positive, Settings, Several
from waker_envs.api import BoxThetaSpace, ThetaSpace


@dataclass(frozen=True)
class KernelSettings(Settings, section="curriculum.waker"):
    """Numbers that a table's sampler has on a continuous space; a finite one has no use for them."""

    bandwidth: Positive = 0.1
    """Width of the kernel, in ranges of each parameter of θ."""
    candidates: Several = 256
    """Fresh θ from DR among which the next one is chosen."""
    memory: Several = 512
    """Drawn θ whose estimates are kept, the newest ones."""
    generalise: Literal["kernel", "regressor"] = "kernel"
    """How scores of drawn θ become those of others: the kernel's mean, or a learned regressor, whose width is at least
    `bandwidth`."""
    optimism: NotNegative = 0.0
    """Standard deviations of the estimate that are added to a candidate's score: what is little known comes first."""

    def unused(self, finite: bool) -> frozenset[str]:
        """See :class:`waker.curriculum.unused.Sparing`."""
        return frozenset(f.name for f in dataclasses.fields(self)) if finite else frozenset()


class KernelCurriculum(ContinuousCurriculum):
    """With probability ``dr_share`` DR; else one of fresh candidates from DR, by priority.

    An episode's θ is known by its id: the number of its draw, from 0 on, which replay and records carry. The memory
    holds the newest ``memory`` of them; credits of older ones are dropped.

    Args:
        name: the sampler's name, saved with its state.
        space: a box.
        tracker: the running error estimate of each place of the memory, of size ``memory``; sees each batch first.
        score: what is prioritised, of the same size; may be the tracker.
        priority: scores of the candidates → distribution.
        dr_share: share of domain randomisation.
        bandwidth: of the kernel, in ranges of each parameter.
        generalise: see :class:`KernelSettings`, as ``optimism``.
        candidates: fresh θ among which one is chosen.
        rng: the curriculum's own generator.
    """

    def __init__(
        self,
        name: str,
        space: BoxThetaSpace,
        *,
        tracker: Magnitude,
        score: Score,
        priority: Priority,
        dr_share: float,
        bandwidth: float,
        candidates: int,
        rng: np.random.Generator,
        generalise: Literal["kernel", "regressor"] = "kernel",
        optimism: float = 0.0,
    ) -> None:
        super().__init__(name, space, np.zeros((0, space.dim)), dr_share, rng)
        self.tracker, self.score, self.priority = tracker, score, priority
        self.bandwidth, self.candidates = bandwidth, candidates
        self._generalise, self.optimism = regress if generalise == "kernel" else regressed, optimism
        self._scale = space.high - space.low
        self._parts: dict[str, Score] = {"tracker": tracker}
        if score is not tracker:
            self._parts["score"] = score
        memory = len(tracker.estimate)
        self.thetas: Floats = np.full((memory, space.dim), np.nan)
        self.drawn = 0  # draws so far: the next id
        self._empty = {name: p.state_dict() for name, p in self._parts.items()}

    @property
    def needs(self) -> Needs:
        """What the score reads; see :class:`waker.curriculum.api.Evident`."""
        return self.score.needs

    def sample(self, n: int) -> Thetas:
        """The θ of the next n episodes; an id is the number of its draw."""
        thetas = np.array([self._one() for _ in range(n)]).reshape(n, self.space.dim)
        for theta in thetas:
            place = self.drawn % len(self.thetas)
            if self.drawn >= len(self.thetas):
                self._forget(place)
            self.thetas[place] = theta
            self.drawn += 1
        return Thetas(np.arange(self.drawn - n, self.drawn), thetas)

    def _one(self) -> Floats:
        if self._rng.random() >= self.dr_share and np.isfinite(self.score.values()).any():
            candidates = self.space.sample(self._rng, self.candidates)
            mean, variance = self.estimate(candidates)
            target = self.priority.distribution(mean + self.optimism * np.sqrt(variance))
            if target is not None:
                return candidates[self._rng.choice(len(candidates), p=target)]
        return self.space.sample(self._rng, 1)[0]

    def estimate(self, points: Floats) -> Estimate:
        """The scores of any θ (n, D), generalised from those drawn; NaN where nothing is known yet."""
        return self._generalise(points, self.thetas, self.score.values(), self.bandwidth, self._scale)

    def _places(self, ids: Ints) -> Ints:
        """Places of ids, −1 for those that the memory does not hold (any more)."""
        held = (ids >= max(0, self.drawn - len(self.thetas))) & (ids < self.drawn)
        return np.where(held, ids % len(self.thetas), -1)

    def _forget(self, place: int) -> None:
        """Empty a place: every array of one row a place gets its first row back."""
        for name, p in self._parts.items():
            state = p.state_dict()
            for key, value in state.items():
                if isinstance(value, np.ndarray) and value.shape[:1] == (len(self.thetas),):
                    value[place] = self._empty[name][key][place]
            p.load_state_dict(state)

    def observe(self, theta_id: NDArray[np.integer[Any]], error: NDArray[np.floating[Any]], step: int) -> None:
        """Credit a batch of errors to the θ of these ids; see :meth:`waker.curriculum.api.Curriculum.observe`.

        Raises:
            UserError: no step has the id of a draw: this sampler could learn nothing.
        """
        ids, x = np.ravel(theta_id).astype(np.int64), np.ravel(error).astype(np.float64)
        if len(ids) and ids.max() < 0:
            raise UserError(
                f"sampler {self.name!r} on a continuous θ space credits errors to the numbers of its draws, but the "
                "replayed steps have none"
            )
        places = self._places(ids)
        kept = (places >= 0) & np.isfinite(x)
        for p in self._parts.values():
            p.observe(places[kept], x[kept], step)

    def learn(self, evidence: Evidence) -> None:
        """Take one update's record, its ids being this curriculum's."""
        self.score.learn(dataclasses.replace(evidence, theta_id=self._places(evidence.theta_id)))

    def learn_episode(self, evidence: EpisodeEvidence) -> None:
        """Take one episode's record; one of a θ that the memory does not hold is ignored."""
        place = int(self._places(np.array([evidence.theta_id]))[0])
        if place >= 0:
            self.score.learn_episode(dataclasses.replace(evidence, theta_id=place))

    def state_dict(self) -> State:
        """The memory and the scores, too."""
        state: State = super().state_dict() | {"thetas": self.thetas.copy(), "drawn": self.drawn}
        for name, p in self._parts.items():
            state |= with_prefix(name, p.state_dict())
        return state

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """See :class:`ContinuousCurriculum`."""
        super().load_state_dict(state)
        self.thetas, self.drawn = np.array(state["thetas"], np.float64), int(state["drawn"])
        for name, p in self._parts.items():
            p.load_state_dict(part(name, state))


def kernel_curriculum(
    name: str,
    space: ThetaSpace,
    config: CurriculumConfig,
    rng: np.random.Generator,
    settings: KernelSettings,
    priority: Priority,
    score: Callable[[Magnitude], Score] = lambda tracker: tracker,
) -> KernelCurriculum:
    """A table's sampler on a box.

    Args:
        score: what is prioritised, made from the tracker. The others: see
            :func:`waker.curriculum.registry.make_curriculum`.

    Raises:
        UserError: the space is no box.
    """
    if not isinstance(space, BoxThetaSpace):
        raise UserError(f"sampler {name!r} needs a finite θ space or a box; for another choose 'dr'")
    tracker = Magnitude(settings.memory, config.error_decay)
    return KernelCurriculum(
        name,
        space,
        tracker=tracker,
        score=score(tracker),
        priority=priority,
        dr_share=config.dr_share,
        bandwidth=settings.bandwidth,
        candidates=settings.candidates,
        rng=rng,
        generalise=settings.generalise,
        optimism=settings.optimism,
    )
