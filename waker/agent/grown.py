"""Several imagined rollouts from each of some start states of the replay, scored by a learned head: candidates.

Grown again from a policy and a seed whenever they are needed. Used by :mod:`waker.agent.rest_policy` and
:mod:`waker.agent.self_policy`.

Shapes: N start states, C candidates from each, H steps, F feature, A action.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from waker.agent.segment_features import as_tensors
from waker.behaviour.actor_critic import ActorCriticStack
from waker.behaviour.imagination import Trajectory, imagine
from waker.behaviour.policy_learner import RewardFunction
from waker.behaviour.starts import Starts, start_states
from waker.model.rssm import State
from waker.model.world_model import WorldModel
from waker.replay.ring import Replay
from waker.seeding import torch_seed


class Grown(NamedTuple):
    """Candidates.

    Attributes:
        feature: the states left, (N, C, H, F).
        action: what was done there, (N, C, H, A).
        alive: the probability that the episode is still under way there, (N, C, H).
        score: Σ of rewards of the states arrived in, each by the probability to arrive, (N, C).
    """

    feature: Tensor
    action: Tensor
    alive: Tensor
    score: Tensor


def replay_starts(model: WorldModel, replay: Replay, n: int, window: int, rng: np.random.Generator) -> Starts:
    """n posterior states of the replay; latents from torch's generator."""
    batch = as_tensors(model, replay.sample(rng, max(1, -(-2 * n // window)), window))
    with torch.no_grad():
        return start_states(model.observe(batch).state, batch, n)


def grow(
    model: WorldModel,
    policies: ActorCriticStack,
    starts: Starts,
    rewards: RewardFunction,
    candidates: int,
    horizon: int,
    seed: int,
) -> Grown:
    """Let the first policy of a stack act from each start state several times.

    Args:
        policies: of one member.
        starts: N states.
        rewards: of a trajectory, (H+1, 1, N·C).
        candidates: C.
        horizon: H.
        seed: of actions and latents.
    """
    n = len(starts.cont)
    with torch_seed(seed):
        state = State(*(x.repeat_interleave(candidates, 0) for x in starts.state))  # n d -> (n c) d
        trajectory = imagine(model.rssm, policies, state, horizon)
        after = model.continue_probability(trajectory.feature[1:])[:, 0]  # (H, N·C)
        cont = torch.cat([starts.cont.repeat_interleave(candidates).unsqueeze(0), after[:-1]])
        alive = cont.cumprod(0)  # (H, N·C): that there is a step from state t, and so an arrival in t + 1
        score = (alive * _of_one(rewards, trajectory)[1:]).sum(0)
    shape = n, candidates
    return Grown(
        trajectory.feature[:-1, 0].transpose(0, 1).unflatten(0, shape),
        trajectory.action[1:, 0].transpose(0, 1).unflatten(0, shape),
        alive.T.unflatten(0, shape),
        score.unflatten(0, shape),
    )


def _of_one(rewards: RewardFunction, trajectory: Trajectory) -> Tensor:
    """(H+1, N·C)."""
    return rewards(trajectory)[:, 0]
