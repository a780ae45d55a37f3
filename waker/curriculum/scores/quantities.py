"""Quantities: one number per start state of an update, or per real episode, from what the learner measured.

:class:`waker.curriculum.scores.credited.Credited` makes a score per θ of any of them, in any crediting mode. A new one
is a subclass of :class:`Quantity`; it may live in the one file of the sampler that uses it.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from typing import Any, Literal, cast

import numpy as np

from waker.curriculum.api import Floats, State
from waker.curriculum.evidence import EpisodeEvidence, Evidence
from waker.curriculum.scores import advantages as formulas


class Quantity(ABC):
    """What is credited.

    Attributes:
        update: the fields of :class:`Evidence` that :meth:`of_update` reads.
        episode: the fields of :class:`EpisodeEvidence` that :meth:`of_episode` reads.
    """

    update: frozenset[str]
    episode: frozenset[str]

    @abstractmethod
    def of_update(self, evidence: Evidence) -> Floats:
        """One number per start state, (N,); NaN or infinite where there is none. It is called once an update."""

    @abstractmethod
    def of_episode(self, evidence: EpisodeEvidence) -> float:
        """One number; NaN or infinite where there is none. It is called once an episode."""

    def state_dict(self) -> State:
        """Its memory; see :meth:`waker.curriculum.api.Score.state_dict`."""
        return {}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:  # noqa: B027
        """Restore :meth:`state_dict`'s value."""


class PerStep(Quantity):
    """A number that the learner has for every replayed step: its mean over an episode.

    Args:
        field: ``loss`` (the world model's), ``transition_loss``, ``excess`` or ``disagreement``.
    """

    def __init__(self, field: Literal["loss", "transition_loss", "excess", "disagreement"]) -> None:
        self.field = field
        self.update = self.episode = frozenset({field})

    def of_update(self, evidence: Evidence) -> Floats:
        """As it is."""
        return given(evidence, self.field)

    def of_episode(self, evidence: EpisodeEvidence) -> float:
        """Its mean over steps."""
        return float(given(evidence, self.field).mean())


class OfAdvantages(Quantity):
    """A number from the advantages of a trajectory (PVL, L1, MNA).

    Args:
        reduce: (…, T) → (…,).
        task: whether an episode's rewards and values are a task's. Not reward-free; then only of episodes.
    """

    update = frozenset({"returns", "values"})

    def __init__(self, reduce: Callable[[Floats], Floats], task: bool = False) -> None:
        self.reduce, self.task = reduce, task
        self.episode = frozenset({"task_rewards", "task_values"} if task else {"rewards", "values"})

    def of_update(self, evidence: Evidence) -> Floats:
        """Of each imagined rollout."""
        return self.reduce(given(evidence, "returns") - given(evidence, "values")[:, :-1])

    def of_episode(self, evidence: EpisodeEvidence) -> float:
        """Of the real trajectory; an episode cut by a time limit bootstraps with the critic."""
        rewards, values = trajectory(evidence, self.task)
        return float(self.reduce(formulas.advantages(rewards, values, evidence.discount, evidence.trace)))


class OneStepTD(Quantity):
    """Mean of |δ_t|, the last step left out."""

    update = episode = frozenset({"rewards", "values"})

    def of_update(self, evidence: Evidence) -> Floats:
        """Of each imagined rollout."""
        return formulas.one_step_td(given(evidence, "rewards"), given(evidence, "values"), evidence.discount)

    def of_episode(self, evidence: EpisodeEvidence) -> float:
        """Of the real trajectory."""
        return float(formulas.one_step_td(*trajectory(evidence, False), evidence.discount))


class MaxMC(Quantity):
    """R*(θ) − v: how far the critic is below the best return ever seen in θ (Jiang et al. 2021b).

    Returns are discounted and bootstrapped, as intrinsic ones of time-limit domains have no bounded sum. Intrinsic
    rewards fall while the model learns, so a best return ever is a fossil of early training: with ``decay`` < 1, R*
    first gives up the share 1 − decay of its size at each visit (ours; 1 is the literal rule). R* begins at −∞ and may
    be negative; it is a maximum, so no later visit lowers it otherwise (minimax overwrites it by the last rollout's).

    Args:
        n_theta: M.
        decay: of R* per visit, above 0, at most 1; an update with start states of θ is one visit of it.
        dense: R* − v_0 in place of the mean over t (dcd's form for dense rewards).
    """

    update = episode = frozenset({"rewards", "values"})

    def __init__(self, n_theta: int, decay: float = 1.0, dense: bool = False) -> None:
        self.decay, self.dense = decay, dense
        self.best: Floats = np.full(n_theta, -np.inf)

    def of_update(self, evidence: Evidence) -> Floats:
        """Of each imagined rollout, against the best return of its θ, this update's included."""
        values, ids = given(evidence, "values"), evidence.theta_id
        returns = formulas.bootstrapped_return(given(evidence, "rewards"), values, evidence.discount)
        here = np.flatnonzero((ids >= 0) & np.isfinite(returns))
        self._visit(ids[here], returns[here])
        inside = np.clip(ids, 0, None)
        return formulas.below_best(np.where(ids >= 0, self.best[inside], np.nan), values, self.dense)

    def of_episode(self, evidence: EpisodeEvidence) -> float:
        """Of the real trajectory, against the best return of its θ, this one included."""
        rewards, values = trajectory(evidence, False)
        found = formulas.bootstrapped_return(rewards, values, evidence.discount)
        if np.isfinite(found):
            self._visit(np.array([evidence.theta_id]), found[None])
        return float(formulas.below_best(self.best[evidence.theta_id], values, self.dense))

    def _visit(self, ids: Any, returns: Floats) -> None:
        present = np.unique(ids)
        present = present[np.isfinite(self.best[present])]
        self.best[present] -= (1.0 - self.decay) * abs(self.best[present])
        np.maximum.at(self.best, ids, returns)

    def state_dict(self) -> State:
        """R*."""
        return {"best": self.best.copy()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore it."""
        self.best = np.array(state["best"], np.float64)


QuantityName = Literal["pvl", "l1", "td", "max-mc", "mna", "loss", "transition-loss", "excess", "disagreement"]
PerStepName = Literal["loss", "transition-loss", "excess", "disagreement"]


def per_step(name: PerStepName) -> PerStep:
    """A number of every replayed step, by its name in settings, where words are joined by hyphens."""
    return PerStep("transition_loss" if name == "transition-loss" else name)


def quantity(name: QuantityName, n_theta: int, decay: float = 1.0) -> Quantity:
    """One by its name in settings; ``decay`` is R*'s of :class:`MaxMC`."""
    made: dict[str, Callable[[], Quantity]] = {
        "pvl": lambda: OfAdvantages(formulas.positive_value_loss),
        "l1": lambda: OfAdvantages(formulas.value_l1),
        "td": OneStepTD,
        "max-mc": lambda: MaxMC(n_theta, decay),
        "mna": lambda: OfAdvantages(formulas.negative_advantage),
    }
    return made[name]() if name in made else per_step(cast(PerStepName, name))


def given(evidence: Evidence | EpisodeEvidence, field: str) -> Floats:
    """A field that a sampler has asked for, in float64.

    Raises:
        ValueError: it is None: whoever made the record did not look at what the curriculum needs.
    """
    value = getattr(evidence, field)
    if value is None:
        raise ValueError(f"{type(evidence).__name__}.{field} is None, though the curriculum's needs name it")
    return np.asarray(value, np.float64)


def trajectory(evidence: EpisodeEvidence, task: bool) -> tuple[Floats, Floats]:
    """Rewards (T,) and values (T + 1,) of an episode: intrinsic, or a task's."""
    prefix = "task_" if task else ""
    return given(evidence, f"{prefix}rewards"), given(evidence, f"{prefix}values")
