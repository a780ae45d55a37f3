"""The board as it is seen from one of its cells."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from tests.helpers.tiny_board import SPEC, board_config
from waker.behaviour.actor_critic import ActorCriticStack
from waker.model.cell_observations import CellDecoder
from waker.model.egocentric import EgocentricStack, policy_network, views
from waker.model.features import CellLayout
from waker.model.nets import StackedMLP, StackShape
from waker.model.world_model import WorldModel

LAYOUT = CellLayout(3, 4, 6, 5)


@pytest.fixture(autouse=True)
def _seed() -> None:
    torch.manual_seed(0)


def test_all_of_the_board_is_seen_from_any_cell() -> None:
    table = views(LAYOUT)
    assert table.shape == (12, 5 * 7)
    for middle in range(12):
        assert table[middle, 2 * 7 + 3] == middle
        assert sorted(table[middle][table[middle] < 12].tolist()) == list(range(12))
    # From row 1, column 2: one row above, two columns to the left.
    assert table[6, 1 * 7 + 1] == 0
    assert table[6, 1 * 7 + 5] == 12  # column 4 is beyond the edge


def at(cells: Tensor) -> tuple[Tensor, Tensor]:
    """Features with what ``cells`` says in some cells, (n, P, channels), and who stands in the first that is not 0."""
    return LAYOUT.flat(cells), (cells.abs().sum(-1) > 0).float().argmax(-1)


def test_what_lies_alike_around_the_middle_looks_alike() -> None:
    board = torch.zeros(2, 12, 11)
    mine, beside = torch.randn(11), torch.randn(11)
    board[0, 1], board[0, 2] = mine, beside  # row 0, columns 1 and 2
    board[1, 9], board[1, 10] = mine, beside  # row 2
    feature, middle = at(board)
    net = EgocentricStack(LAYOUT, lambda f: middle.expand(f.shape[:-1]), StackShape(2, (4, 8), 3, "silu", "layer"))
    found = net(feature.unsqueeze(0))  # without a bias yet, an empty cell is like the edge
    assert found.shape == (2, 2, 3)
    torch.testing.assert_close(found[:, 0], found[:, 1])
    net.where = lambda f: torch.zeros(f.shape[:-1], dtype=torch.long)
    from_a_corner = net(feature.unsqueeze(0))
    assert not torch.allclose(from_a_corner[:, 0], from_a_corner[:, 1])


def test_members_look_each_from_its_own_trajectory() -> None:
    feature, middle = torch.randn(3, 5, 132), torch.randint(12, (3, 5))
    net = EgocentricStack(LAYOUT, lambda f: middle[: len(f)], StackShape(3, (4, 8), 2, "silu", "rms"))
    found = net(feature)
    for m in range(3):
        alone = EgocentricStack(LAYOUT, lambda f, m=m: middle[m : m + 1], StackShape(1, (4, 8), 2, "silu", "rms"))
        alone.load_state_dict({name: value[m : m + 1] for name, value in net.state_dict().items()})
        torch.testing.assert_close(alone(feature[m : m + 1]), found[m : m + 1])


def test_policies_look_from_where_the_agent_stands() -> None:
    config = board_config()
    model = WorldModel(SPEC, config.model)
    how = config.behaviour, config.model
    policies = ActorCriticStack(("a", "b"), model.rssm.features, SPEC.action, *how, where=model.where)
    assert isinstance(policies.actor, EgocentricStack)
    assert isinstance(model.decoder, CellDecoder)
    assert model.decoder.places is not None
    assert model.where is not None
    cells = 0.1 * torch.randn(12, 12, 11)
    cells[range(12), range(12)] += 100.0 * model.decoder.places.weight[0].detach()  # in row i the agent is in cell i
    feature = LAYOUT.flat(cells)
    decoded = model.decoder(feature)["agent"]
    assert torch.equal(model.where(feature), torch.arange(12))
    assert torch.equal(4 * decoded[:, :3].argmax(-1) + decoded[:, 3:].argmax(-1), torch.arange(12))


def test_without_a_place_the_board_is_seen_as_it_lies() -> None:
    net = policy_network(LAYOUT, StackShape(2, (8,), 3, "silu", "rms"))
    assert isinstance(net, StackedMLP)
    assert net(torch.randn(1, 4, 132)).shape == (2, 4, 3)
