"""GridHazards' true dynamics as a model: they are the environment's, and actors that learn in them do not fail."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from experiments.actors import adapted_in, settings
from experiments.exact_model import ExactModel, rooms_of, shares, values
from waker_envs.grids.hazards import GridHazards

SMALL = {"sizes": (3, 4), "densities": (0.0, 0.2), "slips": (0.0, 0.1)}


@pytest.fixture(scope="module")
def env() -> GridHazards:
    return GridHazards(**SMALL)


def test_the_optimum_is_the_family_s_own(env: GridHazards) -> None:
    """Mean over the starts of each room; an episode's seed draws both."""
    rooms = rooms_of(env)
    best = values(rooms, None)
    for index, theta in enumerate(env.theta_space.points):
        found: dict[int, dict[int, list[float]]] = {}
        for seed in range(60):
            _, cell, number = env._episode(theta, seed)
            told = [env.optimal_return(theta, task, seed) for task in env.tasks]
            found.setdefault(number, {})[cell] = told
        for number, by_cell in found.items():
            room = index * 2 + number
            if len(by_cell) == rooms.starts[room].sum():
                np.testing.assert_allclose(np.mean(list(by_cell.values()), 0), best[:, room], atol=1e-9)


def test_imagination_is_the_true_transition(env: GridHazards) -> None:
    """Frequencies of imagined cells against the family's exact prediction; rewards and ends by what is seen."""
    torch.manual_seed(0)
    model, n, seed = ExactModel(env), 4_000, 3
    theta = env.theta_space.points[-1]
    observation, _ = env.reset(seed=seed, options={"theta": theta})
    _, cell, number = env._episode(theta, seed)
    room = (len(env.theta_space.points) - 1) * 2 + number
    state = model.states(torch.full((n,), room), torch.full((n,), cell))
    np.testing.assert_array_equal(model.rooms.seen[room], observation["cells"])
    for action in range(5):
        after = model.imagine(state, torch.eye(5)[action].expand(n, -1))
        expected = env.predict(theta, seed, observation, [action])["agent"].ravel()
        np.testing.assert_allclose(after.stoch.mean(0).numpy(), expected, atol=0.03)
        assert torch.equal(after.deter, state.deter)


def test_the_worst_and_the_best_policy_have_the_worst_and_the_best_share(env: GridHazards) -> None:
    rooms = rooms_of(env)
    stays = np.zeros((3, *rooms.kinds.shape), np.int64)
    assert shares(rooms, values(rooms, stays))[[0, 4]].max() == 0.0  # without slip, as no episode starts on a tile
    q_star = np.stack(
        [
            [
                env.action_values(theta, task, seed_of(env, theta, number))[0].argmax(0)
                for theta in env.theta_space.points
                for number in range(2)
            ]
            for task in env.tasks
        ]
    )
    assert shares(rooms, values(rooms, q_star)).min() > 0.99


def seed_of(env: GridHazards, theta: np.ndarray, number: int) -> int:
    """An episode's seed that draws this layout."""
    return next(seed for seed in range(100) if env._episode(theta, seed)[2] == number)


def test_actors_reach_the_optimum_in_an_exact_model(env: GridHazards) -> None:
    """The worst θ after a fraction of the updates."""
    model = ExactModel(env)
    policies = adapted_in(model, settings("lookahead"), 0, updates=250, states=48)
    assert shares(model.rooms, values(model.rooms, model.greedy(policies))).mean(1).min() > 0.97
