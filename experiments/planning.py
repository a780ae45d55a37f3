"""Where a policy loses return: in the actor, in the model's dynamics, or in its reward heads.

For families that offer their episodes as tables, so that the world model can be asked about every (state, action), a
plan be made of its answers, and any memoryless policy be valued exactly (:mod:`waker.evaluation.planned`). Four
policies, each with one learned part more replaced by the truth:

- ``actor without memory``: the learned policy on a fresh filter at every step, so on the true state alone; what it
  loses against the actor of an evaluation is its habit of a filter that has seen the episode;
- ``plan in the learned model``: dynamic programming over the learned dynamics, rewards and ends;
- ``plan with the true dynamics``: the same with the true dynamics and ends, only rewards learned;
- ``optimum``: everything true.
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray

from waker.agent.agent import Agent
from waker.evaluation.learned_table import filtered, learned_tables
from waker.evaluation.planned import states_of
from waker.specs import EnvSpec
from waker_envs.tabular import TabularMDP, action_values, policy_values

SAMPLES = 64


@torch.no_grad()
def actor_policy(agent: Agent, spec: EnvSpec, table: TabularMDP) -> NDArray[np.int64]:
    """Each task's greedy action in each state on a fresh filter, the same at every step, (T, K, S)."""
    policies = agent.policy_learner.policies
    feature = filtered(agent.model, [states_of(spec, table)], spec.action.dim, "cpu").feature
    members = [torch.full((len(feature),), policies.names.index(task)) for task in spec.tasks]
    chosen = np.stack([policies.act(feature, member, mode=True).argmax(-1).numpy() for member in members])
    return np.broadcast_to(chosen, (table.length, *chosen.shape))


def decompose(agent: Agent, spec: EnvSpec, table: TabularMDP) -> list[dict[str, float | str]]:
    """Exact returns of the four policies in an episode, for each task: rows of task, policy, return."""
    states, actions = [states_of(spec, table)], spec.action.dim
    (learned,) = learned_tables(agent.model, spec.observation, states, actions, SAMPLES)
    chosen = {
        "actor without memory": actor_policy(agent, spec, table),
        "plan in the learned model": action_values(*learned, table.length).argmax(2),
        "plan with the true dynamics": action_values(table.move, learned.reward, table.length).argmax(2),
        "optimum": action_values(table.move, table.reward, table.length).argmax(2),
    }
    worth = {name: policy_values(table.move, table.reward, p)[:, table.start] for name, p in chosen.items()}
    return [
        {"task": task, "policy": name, "return": float(values[k])}
        for k, task in enumerate(spec.tasks)
        for name, values in worth.items()
    ]
