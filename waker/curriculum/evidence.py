"""What the learner measured, in one record for all curricula: of an update, and of a real episode.

A curriculum names the fields it reads (:class:`Needs`); the learner computes those, once, and leaves the others None.
Shapes: N start states of an update, in batch order; H imagined steps; T steps of an episode; D θ dimensions. All
records are made by :mod:`waker.agent.evidence_maker`, when :mod:`waker.training.recording` says so: from the first
update on.

Conventions (:mod:`waker.curriculum.scores.advantages`): the reward r_t belongs to state t, v_t is the slow critic's
value, and V_t = r_t + γ((1−λ)·v_{t+1} + λ·V_{t+1}) with V_H = v_H. Imagined ones are weighted by the probability w_t
that the episode lives to see state t: with w_t·r_t and w_t·v_t that formula is right where episodes may end. Unless a
field says otherwise, rewards are the exploration policy's intrinsic ones and values its critic's: a regret in them is
not the regret of a task.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from waker.errors import UserError

Numbers = NDArray[np.float64]
Ids = NDArray[np.int64]


@dataclass(frozen=True, kw_only=True)
class Evidence:
    """One update of the learner.

    Attributes:
        step: agent steps made so far.
        theta_id: of each start state, (N,); below 0 outside the space, and where the state ended its episode. With
            ``explorer.credit = replayed``, where nothing imagined is asked for: of the B·(T−1) steps that are credited.
        theta: θ of each start state, (N, D), NaN where the id is below 0; only of continuous spaces, where an id is the
            number of a draw that the curriculum gave it.
        disagreement: of the ensemble, credited to each start state as ``Curriculum.observe`` gets it, (N,).
        loss: the world model's loss of the step that each is the state of (likelihoods by the keys' weights + KL,
            before free nats and before the update; no rewards), (N,), nats. Of replayed steps: of the step arrived at.
        transition_loss: KL(posterior ‖ prior) of the same steps, (N,), nats; 0 at first steps without
            ``model.kl_first``.
        excess: the cross entropy of the prior under the posterior less the prior's own entropy, of the same steps,
            (N,), nats: the transition loss beyond that of a prior that is right. Dice that are known to be dice add
            nothing to its mean; it may be negative; 0 where the transition loss is left out.
        rewards: w_t·r_t of imagined states 0 … H−1, (N, H).
        values: w_t·v_t of imagined states 0 … H, (N, H + 1), v the slow exploration critic's.
        returns: w_t·V_t for t = 0 … H−1, V the λ-returns on these rewards and values, (N, H).
        discount: γ.
        trace: λ.
        gradients: of the world model's mean loss of one θ, with respect to a fixed set of P parameters (the RSSM's
            biases and gains), from that θ's steps in the first and in the other half of its sequences, (G, 2, P).
        gradients_id: the θ of each, (G,): those in two sequences of the batch, at most eight, then drawn.
        sampled_returns: intrinsic returns Σ_t γ^t·w_t·r_t + γ^H·w_H·v_H of S independent imagined rollouts from one
            start state, (R, S).
        sampled_returns_id: the θ of each start state, (R,); the states are drawn evenly over the batch's sequences
            and steps.
    """

    step: int
    theta_id: Ids
    theta: Numbers | None = None
    disagreement: Numbers | None = None
    loss: Numbers | None = None
    transition_loss: Numbers | None = None
    excess: Numbers | None = None
    rewards: Numbers | None = None
    values: Numbers | None = None
    returns: Numbers | None = None
    discount: float = 0.99
    trace: float = 0.95
    gradients: Numbers | None = None
    gradients_id: Ids | None = None
    sampled_returns: Numbers | None = None
    sampled_returns_id: Ids | None = None


EpisodeKind = Literal["trained", "staged", "heldout"]


@dataclass(frozen=True, kw_only=True)
class EpisodeEvidence:
    """One real episode from its reset to its end, filtered once through the model as it is now.

    An episode is always told whole: a mean over its steps is that of all of it, however long it took to collect.

    Attributes:
        step: agent steps made so far.
        theta: (D,).
        theta_id: its id, below 0 outside the space and in continuous spaces.
        kind: ``trained``: it joins the replay; ``staged``: it was collected for its score alone; ``heldout``: it is
            kept out of training, stored, and measured in rounds, of all that are stored: never when it ends.
        left: of a held-out episode: how many more of the same θ are measured in this round, by the same model; 0 for
            the last, and for other kinds.
        steps: T, the agent's; between them lie states 0 … T.
        disagreement, loss, transition_loss, excess: of each step, (T,): the losses of the observation that it led to.
        rewards: of states 0 … T−1, (T,).
        values: of states 0 … T, (T + 1,). At a time limit the last is the critic's; after a true end it is known, the
            end state's own reward, as nothing comes after it.
        discount: γ.
        trace: λ.
        features: of each step, (T, F): the deterministic part of the state it was taken in, with the action. They move
            as the model learns: those of an earlier episode are of an earlier model.
        observations: of each step, (T, G): what was seen in the state it was taken in (categories as one-hots, numbers,
            pictures averaged to 8 × 8), with the action. They do not move.
        task_rewards, task_values: as ``rewards`` and ``values``, of the first task that exists in this θ's domain and
            of its critic; but the episode was played by the explorer. Not reward-free.
        success: how far that task was solved, 0 to 1, by ``info["completion"]``; NaN if it did not end. Not
            reward-free.
    """

    step: int
    theta: Numbers
    theta_id: int
    steps: int
    kind: EpisodeKind = "trained"
    left: int = 0
    disagreement: Numbers | None = None
    loss: Numbers | None = None
    transition_loss: Numbers | None = None
    excess: Numbers | None = None
    rewards: Numbers | None = None
    values: Numbers | None = None
    discount: float = 0.99
    trace: float = 0.95
    features: Numbers | None = None
    observations: Numbers | None = None
    task_rewards: Numbers | None = None
    task_values: Numbers | None = None
    success: float | None = None


def _fields(record: type[Any]) -> frozenset[str]:
    """The fields that may be asked for: those that are None by default."""
    return frozenset(f.name for f in dataclasses.fields(record) if f.default is None and f.name != "theta")


UPDATE_FIELDS = frozenset(name for name in _fields(Evidence) if not name.endswith("_id"))
EPISODE_FIELDS = _fields(EpisodeEvidence)
PRIVILEGED = frozenset({"task_rewards", "task_values", "success"})
"""Fields of an episode that know a task: a sampler that reads one is not reward-free."""


@dataclass(frozen=True)
class Needs:
    """Which fields a curriculum reads.

    Attributes:
        update: of :class:`Evidence` (a field's ``_id`` comes with it).
        episode: of :class:`EpisodeEvidence`.
        every: updates between two records of an update; 1 = of every one. Others are not told.
        kinds: of the episodes that it is told of; the others cost nothing.
        heldout: share of episodes kept out of training; all that are stored are measured in a round, by the model as
            it is then, at every ``heldout_every`` agent steps.
        heldout_every: agent steps.
        heldout_each: held-out episodes of each θ that are stored, the newest ones.

    Raises:
        ValueError: a name that is no field, or a number outside its range.
    """

    update: frozenset[str] = frozenset()
    episode: frozenset[str] = frozenset()
    every: int = 1
    kinds: frozenset[EpisodeKind] = frozenset({"trained", "staged", "heldout"})
    heldout: float = 0.0
    heldout_every: int = 10_000
    heldout_each: int = 4

    def __post_init__(self) -> None:
        for names, fields, record in (
            (self.update, UPDATE_FIELDS, "Evidence"),
            (self.episode, EPISODE_FIELDS, "EpisodeEvidence"),
        ):
            if wrong := sorted(set(names) - fields):
                raise ValueError(f"{record} has no field {wrong[0]!r} to ask for; it has {', '.join(sorted(fields))}")
        if not 0 <= self.heldout < 1 or min(self.every, self.heldout_every, self.heldout_each) < 1:
            raise ValueError(f"every and heldout_each must be at least 1, heldout from 0 to below 1, not {self}")

    def __bool__(self) -> bool:
        return bool(self.update or self.episode)


NOTHING = Needs()


def needs(update: Iterable[str] = (), episode: Iterable[str] = (), **numbers: Any) -> Needs:
    """:class:`Needs` of any iterables of names."""
    return Needs(frozenset(update), frozenset(episode), **numbers)


def check_given(
    sampler: str,
    wanted: Needs,
    update: Iterable[str],
    episode: Iterable[str],
    why: Mapping[str, str] | None = None,
) -> None:
    """Check that a learner gives what a sampler reads, before training.

    Args:
        sampler: its name, for the message.
        wanted: what it reads.
        update, episode: the fields that the learner gives.
        why: of a field that is not given, the reason, and what to set.

    Raises:
        UserError: one is missing.
    """
    missing = sorted({*(wanted.update - set(update)), *(wanted.episode - set(episode))})
    if missing:
        reasons = dict.fromkeys(why[name] for name in missing if why and name in why)
        advice = "choose a sampler that needs no more than the ensemble's disagreement, such as waker-m"
        raise UserError(
            f"sampler {sampler!r} reads {', '.join(missing)}, which this learner does not measure: "
            f"{'; '.join(reasons) or advice}"
        )
