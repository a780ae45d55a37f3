"""The curriculum over a finite θ space: score × priority × mixture, with every named sampler a choice of the three.

Made by the factories in :mod:`waker.curriculum.named`; used by the training loop through
:class:`waker.curriculum.api.Curriculum`.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from waker.curriculum.api import Columns, Floats, Ints, Priority, Score, State, Thetas, Wanted
from waker.curriculum.evidence import EpisodeEvidence, Evidence, Needs
from waker.curriculum.priorities.draws import Constant, Draws
from waker.curriculum.priorities.mixture import Mixture
from waker.curriculum.priorities.rules import Drawable
from waker.curriculum.scores.error_estimate import Magnitude
from waker.curriculum.state import check_state, pack_rng, part, space_state, unpack_rng, with_prefix
from waker.errors import UserError
from waker.names import theta_column
from waker_envs.api import FiniteThetaSpace


class ComposedCurriculum:
    """Samples θ from ``mixture(priority(score), DR)``; the n θ of one call are independent draws of one distribution.

    Whatever the score, the magnitude of the error is tracked, so that how well it ranks the true error can be
    measured under every sampler.

    Args:
        name: the sampler's name, saved with its state.
        space: the θ space; its weights are the DR distribution.
        tracker: the running error estimate that :meth:`estimates` reports. It sees each batch before the score.
        score: what is prioritised; may be the tracker itself.
        priority: scores → distribution.
        mixture: distribution × DR → the distribution sampled from.
        rng: the curriculum's own generator; only :meth:`sample` draws from it.
    """

    def __init__(
        self,
        name: str,
        space: FiniteThetaSpace,
        *,
        tracker: Magnitude,
        score: Score,
        priority: Priority,
        mixture: Mixture,
        rng: np.random.Generator,
    ) -> None:
        self.name, self.space = name, space
        self.tracker, self.score, self.priority, self.mixture = tracker, score, priority, mixture
        self._rng = rng
        self._episodes: Ints = np.zeros(space.size, np.int64)  # how often each θ has been sampled
        self._total = 0  # the sum of it
        self._last: Ints = np.zeros(space.size, np.int64)  # the total of episodes when it last was
        self._parts: dict[str, Score] = {"tracker": tracker}
        if score is not tracker:
            self._parts["score"] = score
        self._draws: Draws | None = None
        if isinstance(priority, Drawable) and mixture.staleness == 0:
            self._draws = priority.draws(space.size)
        self._dr = Constant(space.weights)

    def sample(self, n: int) -> Thetas:
        """The θ of the next n episodes."""
        ids = self._drawn(n)
        np.add.at(self._episodes, ids, 1)
        self._total += n
        self._last[ids] = self._total
        self._changed([p.sampled(ids) for p in self._parts.values()][-1])
        return Thetas(ids, self.space.points[ids])

    def _drawn(self, n: int) -> Ints:
        """n independent draws (n,) from :meth:`probabilities`: θ by θ where the priority can, else from all of them."""
        if self._draws is None:
            return self._rng.choice(self.space.size, size=n, p=self.probabilities())
        self._draws.settle(self.score.values)
        return np.array([self._one(self._draws) for _ in range(n)], np.int64)

    def _one(self, draws: Draws) -> int:
        target = None if self.mixture.chooses_dr(self._rng) else draws.draw(self._rng)
        return self._dr.draw(self._rng) if target is None else target

    def _changed(self, ids: Ints | None) -> None:
        """Tell the draws whose scores have changed; None = any."""
        if self._draws is None:
            return
        if ids is None:
            self._draws.forget()
        elif len(ids):
            self._draws.update(ids, self.score.at(ids))

    def observe(self, theta_id: NDArray[np.integer[Any]], error: NDArray[np.floating[Any]], step: int) -> None:
        """Credit one batch of errors; see :meth:`waker.curriculum.api.Curriculum.observe`.

        Raises:
            ValueError: the shapes differ, or an id is beyond the space.
            UserError: a credited error is not finite: it would spoil its θ's estimate for good.
        """
        ids, x = np.asarray(theta_id), np.asarray(error)
        if ids.shape != x.shape:
            raise ValueError(f"theta_id has shape {ids.shape} but error has {x.shape}")
        ids, x = ids.reshape(-1).astype(np.int64), x.reshape(-1).astype(np.float64)
        if len(ids) and ids.view(np.uint64).max() >= self.space.size:  # where negative ids are the largest
            inside = ids >= 0
            ids, x = ids[inside], x[inside]
            if len(ids) and ids.max() >= self.space.size:
                raise ValueError(f"theta_id {ids.max()} is beyond this space's {self.space.size} θ")
        if not math.isfinite(x.sum()) and not (finite := np.isfinite(x)).all():
            bad = ids[np.argmin(finite)]
            theta = self.space.format(self.space.points[bad])
            raise UserError(
                f"model error for θ = ({theta}) is not finite at step {step}: training has diverged (a learning "
                "rate or a loss weight is too large), or observations exceed 1e19, whose square is no float32"
            )
        self._changed([p.observe(ids, x, step) for p in self._parts.values()][-1])

    def episode_done(self, theta: Floats, theta_id: int, stats: Mapping[str, float]) -> None:
        """Take note of a finished episode; one outside the space is ignored."""
        if theta_id >= 0:
            self._changed([p.episode(int(theta_id), stats) for p in self._parts.values()][-1])

    @property
    def wanted(self) -> Wanted | None:
        """What the score asks to have measured; see :class:`waker.curriculum.api.Informed`."""
        return self.score.wanted

    def measured(self, values: Floats, step: int) -> None:
        """Take a measurement.

        Raises:
            ValueError: it is not one number a θ.
        """
        if np.shape(values) != (self.space.size,):
            raise ValueError(f"a measurement has shape {np.shape(values)}, this space has {self.space.size} θ")
        self._changed([p.measured(np.asarray(values, np.float64), step) for p in self._parts.values()][-1])

    @property
    def needs(self) -> Needs:
        """What the score reads; see :class:`waker.curriculum.api.Evident`."""
        return self.score.needs

    def learn(self, evidence: Evidence) -> None:
        """Take one update's record.

        Raises:
            ValueError: an id is beyond the space.
        """
        if len(evidence.theta_id) and evidence.theta_id.max() >= self.space.size:
            raise ValueError(f"theta_id {evidence.theta_id.max()} is beyond this space's {self.space.size} θ")
        self._changed(self.score.learn(evidence))

    def learn_episode(self, evidence: EpisodeEvidence) -> None:
        """Take one episode's record; one outside the space is ignored."""
        if evidence.theta_id >= 0:
            self._changed(self.score.learn_episode(evidence))

    def probabilities(self) -> Floats:
        """The exact distribution of the next θ, shape (M,)."""
        age = self._total - self._last
        return self.mixture.mix(self.priority.distribution(self.score.values()), self.space.weights, age)

    def estimates(self) -> Floats:
        """The running error estimate e(θ), shape (M,), NaN where unknown."""
        return self.tracker.values()

    def table(self) -> Columns:
        """One row a θ: ``theta_id``, ``theta_<name>`` …, ``probability``, ``estimate``, ``score``, ``episodes``
        (how often it has been sampled) and ``credits`` (samples credited to it); NaN where there is no value."""
        coordinates = {theta_column(n): self.space.points[:, d].copy() for d, n in enumerate(self.space.names)}
        return {
            "theta_id": np.arange(self.space.size),
            **coordinates,
            "probability": self.probabilities(),
            "estimate": self.estimates(),
            "score": self.score.values(),
            "episodes": self._episodes.copy(),
            "credits": self.tracker.credits.copy(),
        }

    def state_dict(self) -> State:
        """Everything that the next call depends on; flat, numpy arrays and JSON scalars."""
        state: State = {"sampler": self.name, **space_state(self.space), "rng": pack_rng(self._rng)}
        state |= {"episodes": self._episodes.copy(), "last": self._last.copy()}
        for prefix, p in self._parts.items():
            state |= with_prefix(prefix, p.state_dict())
        if self._draws is not None:
            state["draws"] = self._draws.state()
        return state

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continue where the saved curriculum was.

        Raises:
            UserError: the state belongs to another sampler or θ space; nothing has been changed.
        """
        own = self.state_dict()
        added = [f"{prefix}.{key}" for prefix, p in self._parts.items() for key in p.ADDED]
        state = {**{key: own[key] for key in added}, **state}
        # States of before there were draws: they are then built from the scores, which gives the same distribution.
        check_state(state if "draws" in state or "draws" not in own else {**state, "draws": own["draws"]}, own)
        unpack_rng(self._rng, state["rng"])
        self._episodes = np.array(state["episodes"], np.int64)
        self._total = int(self._episodes.sum())
        self._last = np.array(state["last"], np.int64)
        for prefix, p in self._parts.items():
            p.load_state_dict(part(prefix, state))
        if self._draws is not None:
            self._draws.forget()
            if "draws" in state:
                self._draws.restore(np.array(state["draws"], np.float64), self.score.values())
