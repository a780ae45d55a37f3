"""A state in every cell: by hand in one cell, the same everywhere, and flat for whoever looks from outside."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor

from tests.helpers.tiny_board import BOARD, board_config
from waker.model.cell_rssm import CellRSSM
from waker.model.rssm import State
from waker_envs.boards import Board

CONFIG = board_config().model
ACTION, EMBED = 4, 6
STOCH, DETER = 6, 5


def model(board: Board = BOARD) -> CellRSSM:
    torch.manual_seed(0)
    rssm = CellRSSM(replace(CONFIG, act="silu", norm="layer"), board.size * EMBED, ACTION, board)
    with torch.no_grad():
        for p in rssm.parameters():
            p.add_(0.2 * torch.randn_like(p))
    return rssm


def random_state(rssm: CellRSSM, *lead: int) -> State:
    stoch = rssm.sample(torch.log_softmax(torch.randn(*lead, rssm.latents, rssm.classes), -1))
    return State(stoch, torch.tanh(torch.randn(*lead, rssm.deter_dim)))


def moved(flat: Tensor, board: Board, rows: int, columns: int) -> Tensor:
    """What lies in each cell (..., P·c), moved on a torus."""
    grid = flat.unflatten(-1, (board.rows, board.columns, -1))
    return grid.roll((rows, columns), (-3, -2)).flatten(-3)


def test_states_are_flat_and_of_one_size_a_cell() -> None:
    rssm, lead = model(), (2, 3)
    state = random_state(rssm, *lead)
    assert (rssm.latents, rssm.classes, rssm.stoch_dim, rssm.deter_dim) == (24, 3, 12 * STOCH, 12 * DETER)
    assert rssm.transition(state, torch.randn(*lead, ACTION)).shape == (*lead, 12 * DETER)
    assert rssm.prior(state.deter).shape == (*lead, 24, 3)
    assert rssm.posterior(state.deter, torch.randn(*lead, 12 * EMBED)).shape == (*lead, 24, 3)
    assert rssm.initial(4).feature.shape == (4, 12 * (STOCH + DETER))
    layout = rssm.layout
    assert torch.equal(layout.flat(layout.cells(state.feature)), state.feature)
    assert torch.equal(layout.cells(state.feature)[..., 7, :STOCH], state.stoch[..., 7 * STOCH : 8 * STOCH])


def test_the_middle_of_a_board_is_the_gru_of_its_neighbourhood() -> None:
    """In numpy: two convolutions, the action's shift and gate in between, and the GRU of the cell itself."""
    board = Board(5, 5, ("colours",))
    rssm = model(board)
    state, action = random_state(rssm, 1), torch.randn(1, ACTION)
    w = {name: p.detach().double().numpy() for name, p in rssm.named_parameters()}
    x = rssm.layout.cells(state.feature)[0].double().numpy().reshape(5, 5, -1)
    a = action[0].double().numpy()
    shift = w["action_in.weight"] @ a + w["action_in.bias"]
    gate = w["action_gate.weight"] @ a + w["action_gate.bias"]

    def convolved(x: np.ndarray, name: str) -> np.ndarray:
        padded, kernel = np.pad(x, ((1, 1), (1, 1), (0, 0))), w[f"{name}.weight"][0]
        windows = [[padded[r : r + 3, c : c + 3] for c in range(5)] for r in range(5)]
        return np.array([[np.einsum("yxi,oiyx->o", v, kernel) for v in row] for row in windows]) + w[f"{name}.bias"][0]

    def normed(x: np.ndarray, name: str) -> np.ndarray:
        x = (x - x.mean(-1, keepdims=True)) / np.sqrt(x.var(-1, keepdims=True) + 1e-3)
        scale, offset = ("scale", "offset") if f"{name}.scale" in w else ("weight", "bias")
        return x * w[f"{name}.{scale}"] + w[f"{name}.{offset}"]

    def silu(x: np.ndarray) -> np.ndarray:
        return x / (1 + np.exp(-x))

    hidden = silu(normed(convolved(x, "near") + shift, "near_norm") * (1 + gate))
    hidden = silu(normed(convolved(hidden, "far"), "far_norm"))[2, 2]
    h = x[2, 2, STOCH:]
    gates = normed(w["gru.weight"] @ np.concatenate([hidden, h]) + w["gru.bias"], "gru_norm")
    reset, candidate, update = np.split(gates, 3)
    update = 1 / (1 + np.exp(-(update - 1)))
    expected = update * np.tanh(candidate / (1 + np.exp(-reset))) + (1 - update) * h
    found = rssm.transition(state, action).unflatten(-1, (25, -1))[0, 12]
    np.testing.assert_allclose(found.detach().numpy(), expected, atol=1e-5)


@pytest.mark.parametrize(("rows", "columns"), [(0, 1), (2, 0), (1, 2)])
def test_a_moved_board_has_the_same_future_moved(rows: int, columns: int) -> None:
    """Where the edge is out of sight: the middle of a large board does not know where it is."""
    board = Board(9, 9, ("colours",))
    rssm = model(board)
    state, action = random_state(rssm, 3), torch.randn(3, ACTION)
    shifted = State(*(moved(part, board, rows, columns) for part in state))
    after, later = rssm.transition(state, action), rssm.transition(shifted, action)
    inner = torch.zeros(9, 9, dtype=torch.bool)
    inner[4:7, 4:7] = True  # two cells from the edge, before and after
    both = (x.unflatten(-1, (9, 9, -1))[:, inner] for x in (moved(after, board, rows, columns), later))
    torch.testing.assert_close(*both)
    deter, embed = state.deter, torch.randn(3, 81 * EMBED)
    judged = rssm.posterior(deter, embed).flatten(1)
    elsewhere = rssm.posterior(shifted.deter, moved(embed, board, rows, columns)).flatten(1)
    torch.testing.assert_close(moved(judged, board, rows, columns), elsewhere)


def test_what_happens_two_cells_away_is_felt_and_three_away_is_not() -> None:
    board = Board(9, 9, ("colours",))
    rssm = model(board)
    state, action = random_state(rssm, 1), torch.randn(1, ACTION)
    stoch = state.stoch.clone().unflatten(-1, (9, 9, -1))
    stoch[:, 4, 4] = stoch[:, 4, 4].roll(1, -1)
    change = rssm.transition(State(stoch.flatten(1), state.deter), action) - rssm.transition(state, action)
    felt = change.unflatten(-1, (9, 9, -1)).abs().amax(-1)[0] > 0
    expected = torch.zeros(9, 9, dtype=torch.bool)
    expected[2:7, 2:7] = True
    assert torch.equal(felt, expected)


def test_filtering_equals_single_steps_and_forgets_at_an_episode_s_start() -> None:
    rssm, steps = model(), 5
    embed, action = torch.randn(2, steps, 12 * EMBED), torch.randn(2, steps, ACTION)
    first = torch.tensor([[True, False, False, True, False], [True, False, False, False, False]])
    found = rssm.observe(embed, action, first, mode=True)
    state = rssm.initial(2)
    for t in range(steps):
        keep = (~first[:, t]).float().unsqueeze(-1)
        deter = rssm.transition(State(state.stoch * keep, state.deter * keep), action[:, t] * keep)
        log_probs = rssm.posterior(deter, embed[:, t])
        state = State(rssm.sample(log_probs, mode=True), deter)
        torch.testing.assert_close(found.state.deter[:, t], deter)
        torch.testing.assert_close(found.posterior[:, t], log_probs)
        torch.testing.assert_close(found.prior[:, t], rssm.prior(deter))
