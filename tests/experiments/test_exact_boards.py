"""GridCleanUp's true dynamics as a model: they are the environment's, and policies that learn in them push blocks."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from experiments import pushes
from experiments.exact_boards import Boards, ExactBoards
from experiments.pushes import adapted_in, completions, of_player, of_policies
from waker.behaviour.imagination import Trajectory
from waker.model.rssm import State
from waker_envs.grids.cleanup import GridCleanUp


@pytest.fixture(scope="module")
def model() -> ExactBoards:
    return ExactBoards(GridCleanUp())


def boards_of(observation: dict[str, Any]) -> Boards:
    row, column = observation["agent"]
    parts = (torch.from_numpy(observation[name])[None] for name in ("blocks", "cells"))
    return Boards(torch.tensor([int(row) * 7 + int(column)]), *parts)


def test_imagined_steps_and_rewards_are_the_environment_s(model: ExactBoards) -> None:
    env, rng = model.env, np.random.default_rng(0)
    pushed = 0
    for episode in range(12):
        theta = env.theta_space.sample(rng, 1)[0] if episode else np.array([4, 2, 2])
        observation, _ = env.reset(seed=episode, options={"theta": theta})
        state = model.state(boards_of(observation))
        for _ in range(100):
            chosen = int(rng.integers(9))
            before, action = state.feature, torch.eye(9)[[chosen]]
            state = model.imagine(state, action)
            observation, _, _, _, info = env.step(chosen)
            expected = boards_of(observation)
            found = model.boards(state.feature)
            assert all(torch.equal(a, b) for a, b in zip(found, expected, strict=True))
            assert torch.equal(model.where(state.feature), expected.agent)
            step = Trajectory(state.feature[None, None], action[None, None], action[None, None], before[None, None])
            np.testing.assert_allclose(model.rewards(step)[0, :, 0], info["task_rewards"], rtol=1e-6)
            np.testing.assert_allclose(model.standing(expected)[1][0], info["completion"], rtol=1e-6)
            pushed += int((model.boards(before).blocks != found.blocks).any())
    assert pushed > 10


def test_each_member_s_trajectory_earns_its_own_task_and_a_start_nothing(model: ExactBoards) -> None:
    pool = model.wandered(40, 1)
    state = model.starts(pool, 5).state
    members = State(state.stoch.repeat(3, 1), state.deter.repeat(3, 1))
    action = torch.eye(9)[torch.randint(9, (15,))]
    after = model.imagine(members, action)
    feature = torch.stack([x.feature.unflatten(0, (3, 5)) for x in (members, after)])
    acted = torch.stack([torch.zeros(3, 5, 9), action.unflatten(0, (3, 5))])
    rewards = model.rewards(Trajectory(feature, acted, acted[1:]))
    assert not rewards[0].any()
    for k in range(3):
        shared = Trajectory(feature[1:, k : k + 1], acted[1:, k : k + 1], acted[1:, :1], feature[:1, k : k + 1])
        assert torch.equal(rewards[1, k], model.rewards(shared)[0, k])


def test_policies_of_the_exact_model_begin_to_finish_tasks(model: ExactBoards, monkeypatch: pytest.MonkeyPatch) -> None:
    """A few updates; where there is no block, all is done at once."""
    monkeypatch.setattr(pushes, "EPISODES", 40)
    monkeypatch.setattr(pushes, "STATES", 500)
    torch.manual_seed(0)
    found = [completions(model, of_policies(model, adapted_in(model, 20, n), False), 5) for n in (0, 80)]
    (random, count), (done, _) = found
    assert done.shape == (3, len(count))
    assert (done[:, count == 0] == 1.0).all()
    assert done[:, count > 0].mean() > random[:, count > 0].mean()


def test_a_run_s_player_sees_what_the_environment_shows(model: ExactBoards) -> None:
    """The observation of each step, as one beginning of an episode and what follows it."""
    seen: list[Any] = []

    class Noting:
        names = model.tasks

        def initial(self, n: int) -> dict[str, torch.Tensor]:
            return {"steps": torch.zeros(n)}

        def act(self, observation: Any, first: Any, state: Any, member: Any, deterministic: bool) -> Any:
            seen.append((observation, first.copy(), state["steps"][0].item(), deterministic))
            return np.eye(9, dtype=np.float32)[np.full(len(member), 2)], {"steps": state["steps"] + 1}

    boards = model.episodes(4, 3)
    act, task = of_player(model, Noting(), True), torch.zeros(4, dtype=torch.long)
    assert act(boards, task).tolist() == [2] * 4
    act(boards, task)
    env, theta = model.env, model.env.theta_space.sample(np.random.default_rng(3), 4)
    for i in range(4):
        observation, _ = env.reset(seed=3_000_000 + i, options={"theta": theta[i]})
        for name, value in observation.items():
            np.testing.assert_array_equal(seen[0][0][name][i], value)
    assert [(first.all(), steps, mode) for _, first, steps, mode in seen] == [(True, 0.0, True), (False, 1.0, True)]
