"""Imagined futures to look at: a policy acts in a run's world model, and what the model believes is decoded.

Made by :meth:`waker.run.Run.imagine`. N start states, H steps, K tasks, A actions.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from waker.agent.agent import Agent
from waker.behaviour.actor_critic import ActorCriticStack
from waker.behaviour.imagination import Trajectory
from waker.behaviour.task_rewards import task_rewards
from waker.errors import UserError, unknown
from waker.evaluation.filmstrip import picture
from waker.model.reward_heads import RewardHeads
from waker.model.rssm import State
from waker.protocols import EXPLORER
from waker.specs import EnvSpec


@dataclass(frozen=True)
class Dream:
    """H imagined steps from each of N start states; entry 0 of each array is the start state.

    Attributes:
        task: whose policy acts, and whose rewards and values these are.
        rewards: (H+1, N), predicted for arriving in each state; entry 0 is that of the start state where the reward
            heads see states alone, and 0 where they see whole steps.
        values: (H+1, N), the critic's estimates of the discounted return from each state.
        continues: (H+1, N), the probability that the episode goes on after each state, as the policy learned.
        actions: (H, N, A), one-hot or continuous: ``actions[t]`` leads from state t to state t+1.
        observations: by key, (H+1, N, ...): images in [0, 1], vectors, and for categorical keys the probabilities of
            each variable's classes (V, widest).
    """

    task: str
    rewards: NDArray[np.float32]
    values: NDArray[np.float32]
    continues: NDArray[np.float32]
    actions: NDArray[np.float32]
    observations: dict[str, NDArray[np.float32]]
    spec: EnvSpec

    def __len__(self) -> int:
        return self.rewards.shape[1]

    def frames(self, i: int = 0) -> NDArray[np.uint8]:
        """The dream from start state ``i`` as pictures, (H+1, height, width, 3).

        Raises:
            IndexError: there are fewer.
        """
        if not 0 <= i < len(self):
            raise IndexError(f"no dream {i}: there are {len(self)}, from 0 to {len(self) - 1}")
        return picture(self.spec.observation, {name: value[:, i] for name, value in self.observations.items()})


@torch.no_grad()
def imagine(agent: Agent, task: str, start: State, steps: int, mode: bool, seed: int) -> Dream:
    """Let a task's policy act in the world model.

    Args:
        agent: of a run.
        task: one of its tasks.
        start: N start states, stoch (N, S·C), deter (N, D).
        steps: H.
        mode: take the likeliest action and latent at each step; else both are drawn.
        seed: of what is drawn; torch's own generators are left as they were.

    Raises:
        UserError: there is no such task, or no policy for it yet.
    """
    if steps < 1:
        raise UserError(f"a dream has at least 1 step, not {steps}")
    policies, heads, order = learned(agent, task)
    member = torch.full((start.deter.shape[0],), policies.names.index(task), device=agent.device)
    devices = [agent.device] if agent.device.type == "cuda" else []
    with torch.random.fork_rng(devices=devices):
        torch.manual_seed(seed)
        features, actions = _rollout(agent, policies, start, member, steps, mode)
    of_task = order.index(task)
    path = Trajectory(features.unsqueeze(1), actions.unsqueeze(1), actions[1:].unsqueeze(1))
    seen = policies.see(features.flatten(0, 1).unsqueeze(0))
    values = policies.critic.predict(seen)[policies.names.index(task)].view(features.shape[:2])
    decoded = agent.model.decoder.predict(agent.model.decoder(features))
    learned_in = agent.model if agent.adapter is None else agent.adapter.imagined
    return Dream(
        task=task,
        rewards=_array(task_rewards(heads, path)[:, of_task]),
        values=_array(values),
        continues=_array(learned_in.continue_probability(features)),
        actions=_array(actions[1:]),
        observations={key.name: _array(decoded[key.name]) for key in agent.spec.observation},
        spec=agent.spec,
    )


def _rollout(
    agent: Agent, policies: ActorCriticStack, start: State, member: Tensor, steps: int, mode: bool
) -> tuple[Tensor, Tensor]:
    """Features (H+1, N, F), and the actions (H+1, N, A) that led into them, zero at the start."""
    state = start
    features, actions = [state.feature], [state.feature.new_zeros(len(member), policies.action_dim)]
    for _ in range(steps):
        action = policies.act(state.feature, member, mode)
        state = agent.model.rssm.imagine(state, action, mode)
        features.append(state.feature)
        actions.append(action)
    return torch.stack(features), torch.stack(actions)


def learned(agent: Agent, task: str) -> tuple[ActorCriticStack, RewardHeads, tuple[str, ...]]:
    """The policies that act for a task, the reward heads they learned from, and the tasks these are of.

    Raises:
        UserError: there is no such task, or no policy for it yet.
    """
    if task not in agent.spec.tasks:
        raise unknown("task", task, agent.spec.tasks)
    if agent.adapter is not None:
        return agent.adapter.policy_learner.policies, agent.adapter.heads, agent.adapter.tasks
    policies = agent.policy_learner.policies
    if task not in policies.names:
        raise UserError(f"no policy has been trained for {task!r} yet: `waker adapt` trains it")
    assert task != EXPLORER
    return policies, agent.model.rewards, agent.spec.tasks


def _array(tensor: Tensor) -> NDArray[Any]:
    return tensor.float().cpu().numpy()
