"""The curriculum over a continuous θ space: DR, or a mixture of DR and an expert's points.

Made by the factories of ``dr``, ``hardest-oracle`` and ``reweighting-oracle``. Scores need a table over θ: samplers
that have one keep it of the θ they have drawn (:mod:`waker.curriculum.boxes.kernel_scores`,
:mod:`waker.curriculum.boxes.level_replay`).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from waker.curriculum.api import Columns, Floats, State, Thetas
from waker.curriculum.state import check_state, pack_rng, space_state, unpack_rng
from waker_envs.api import ThetaSpace


class ContinuousCurriculum:
    """With probability ``dr_share`` θ from the space's DR distribution, else uniformly one of ``points``.

    Args:
        name: the sampler's name, saved with its state.
        space: any θ space.
        points: the expert's θ, shape (n, D); may be empty when ``dr_share`` is 1.
        dr_share: share of domain randomisation.
        rng: the curriculum's own generator; only :meth:`sample` draws from it.
    """

    def __init__(self, name: str, space: ThetaSpace, points: Floats, dr_share: float, rng: np.random.Generator) -> None:
        self.name, self.space, self.points, self.dr_share = name, space, points, dr_share
        self._rng = rng

    def sample(self, n: int) -> Thetas:
        """The θ of the next n episodes."""
        return Thetas(np.full(n, -1, np.int64), self._points(n))

    def _points(self, n: int) -> Floats:
        """The next n θ, (n, D); what a subclass with another rule overrides."""
        theta = self.space.sample(self._rng, n)
        expert = self._rng.random(n) >= self.dr_share  # random() < 1, so a share of 1 never chooses the expert
        if expert.any():
            theta[expert] = self.points[self._rng.integers(len(self.points), size=int(expert.sum()))]
        return theta

    def observe(self, theta_id: NDArray[np.integer[Any]], error: NDArray[np.floating[Any]], step: int) -> None:
        """Nothing is learned: θ of a continuous space have no ids."""

    def episode_done(self, theta: Floats, theta_id: int, stats: Mapping[str, float]) -> None:
        """Nothing is learned."""

    def probabilities(self) -> None:
        """A density is no table."""

    def estimates(self) -> None:
        """None are kept."""

    def table(self) -> Columns:
        """No rows."""
        return {}

    def state_dict(self) -> State:
        """The generator and what identifies the sampler and its space."""
        return {"sampler": self.name, **space_state(self.space), "rng": pack_rng(self._rng)}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continue where the saved curriculum was.

        Raises:
            UserError: the state belongs to another sampler or θ space; nothing has been changed.
        """
        check_state(state, self.state_dict())
        unpack_rng(self._rng, state["rng"])
