"""Imagined rewards of heads that see steps: which step is an entry's, and what a start state earns."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from tests.helpers.tiny_board import SPEC as BOARD_SPEC
from tests.helpers.tiny_board import board_config
from tests.helpers.tiny_learner import tiny_batch, tiny_config, tiny_spec
from waker.agent.agent import Agent
from waker.behaviour.imagination import Trajectory
from waker.behaviour.task_rewards import task_rewards
from waker.config.schema import AdaptConfig, Config
from waker.model.reward_heads import RewardHeads

F, A, K, H, N = 6, 3, 2, 3, 5


def made() -> tuple[RewardHeads, Trajectory]:
    torch.manual_seed(0)
    config = replace(tiny_config().model, reward_sees="transition", zero_heads=False)
    heads = RewardHeads(K, F, A, config)
    action = torch.eye(A)[torch.randint(A, (H + 1, K, N))]
    return heads, Trajectory(torch.randn(H + 1, K, N, F), action, torch.zeros(H, K, N, A))


def test_an_entry_earns_the_step_that_led_to_it_and_a_start_state_nothing() -> None:
    heads, trajectory = made()
    rewards = task_rewards(heads, trajectory)
    assert rewards.shape == (H + 1, K, N)
    assert torch.equal(rewards[0], torch.zeros(K, N))
    feature, action, _, _ = trajectory
    for t in range(1, H + 1):
        for k in range(K):
            own = heads.earned(feature[t - 1, k], action[t, k], feature[t, k])[k]
            torch.testing.assert_close(rewards[t, k], own)


def test_where_a_trajectory_says_whence_it_came_its_first_entry_earns_too() -> None:
    heads, (feature, action, policy, _) = made()
    cut = Trajectory(feature[1:, :1], action[1:, :1], policy[1:, :1], feature[:1, :1])
    rewards = task_rewards(heads, cut)
    assert rewards.shape == (H, K, N)
    for t in range(H):
        expected = heads.earned(feature[t, 0], action[t + 1, 0], feature[t + 1, 0])
        torch.testing.assert_close(rewards[t], expected)


def of_steps(config: Config, method: str) -> Config:
    model = replace(config.model, reward_sees="transition")
    return replace(config, model=model, adapt=AdaptConfig("lookahead" if method == "lookahead" else "rollouts"))


@pytest.mark.parametrize("method", ["online", "rollouts", "lookahead"])
@pytest.mark.parametrize("board", [False, True], ids=["vector", "board"])
def test_every_learner_of_task_policies_takes_heads_of_steps(board: bool, method: str) -> None:
    torch.manual_seed(0)
    after = method != "online"
    spec = BOARD_SPEC if board else tiny_spec()
    config = of_steps(board_config(after=after) if board else tiny_config(after=after), method)
    agent, batch = Agent(spec, config), tiny_batch(spec)
    before = [p.clone() for p in agent.model.rewards.parameters()]
    _, metrics = agent.update(batch)
    if after:
        metrics |= agent.adapt_update(batch)
    assert all(torch.isfinite(value).all() for value in metrics.values())
    assert metrics["reward_loss"].shape == (2,)
    assert any(not torch.equal(p, q) for p, q in zip(before, agent.model.rewards.parameters(), strict=True))


@pytest.mark.parametrize("method", ["online", "rollouts", "lookahead"])
def test_heads_of_steps_need_no_values(method: str) -> None:
    """On torch's meta device, as every update must run (:mod:`tests.agent.test_meta`)."""
    config = of_steps(board_config(after=method != "online"), method)
    with torch.device("meta"):
        agent = Agent(BOARD_SPEC, config, "meta")
    batch = {name: value.to("meta") for name, value in tiny_batch(BOARD_SPEC, 2, 4).items()}
    results = list(agent.update(batch)[1].values())
    if method != "online":
        results += agent.adapt_update(batch).values()
    assert all(value.device.type == "meta" for value in results)
