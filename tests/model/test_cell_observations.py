"""A board in and out: what an encoder sees of a cell, and likelihoods of cells and places by hand."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch

from tests.helpers.tiny_board import BOARD, KEYS, SPEC, board_config, play
from tests.helpers.tiny_learner import VECTOR, tiny_spec
from waker.errors import UserError
from waker.model.cell_observations import BoardOutputs, CellDecoder, CellEncoder, board_of
from waker.model.features import CellLayout

CONFIG = board_config().model
LAYOUT = CellLayout(3, 4, 6, 5)


def test_the_encoder_sees_each_cell_s_classes_and_who_stands_there() -> None:
    torch.manual_seed(0)
    encoder, batch = CellEncoder(KEYS, CONFIG, BOARD), play(2, 3, 0)
    embed = encoder(batch).unflatten(-1, (12, -1))
    row, column = batch["agent"][1, 2].tolist()
    for cell in range(12):
        seen = torch.zeros(2 + 3 + 1)
        seen[batch["colours"][1, 2, cell]] = 1.0
        seen[2 + batch["kinds"][1, 2, cell]] = 1.0
        seen[5] = float(cell == 4 * row + column)
        torch.testing.assert_close(embed[1, 2, cell], encoder.mlp(seen))


def test_a_place_is_a_softmax_over_the_board() -> None:
    outputs = BoardOutputs(BOARD, (2, 3))
    assert outputs.each == 6
    said = torch.randn(5, 12, 6)
    logits = outputs.by_key(said)
    here = said[..., 5].softmax(-1).unflatten(-1, (3, 4))
    torch.testing.assert_close(logits["agent"].exp(), torch.cat([here.sum(2), here.sum(1)], -1))
    assert torch.equal(logits["colours"].unflatten(-1, (12, 2)), said[..., :2])
    assert torch.equal(logits["kinds"].unflatten(-1, (12, 3)), said[..., 2:5])


def test_likelihoods_and_predictions_are_those_of_the_cells() -> None:
    torch.manual_seed(0)
    decoder, batch = CellDecoder(KEYS, CONFIG, LAYOUT, BOARD), play(2, 3, 0)
    decoded = decoder(torch.randn(2, 3, 132))
    nll, probabilities = decoder.nll(decoded, batch), decoder.predict(decoded)
    assert probabilities["colours"].shape == (2, 3, 12, 2)
    expected = sum(
        -math.log(probabilities["colours"][1, 2, cell, batch["colours"][1, 2, cell]].item()) for cell in range(12)
    )
    assert nll["colours"][1, 2].item() == pytest.approx(expected, rel=1e-5)
    row, column = batch["agent"][1, 2].tolist()
    place = -math.log(probabilities["agent"][1, 2, 0, row].item() * probabilities["agent"][1, 2, 1, column].item())
    assert nll["agent"][1, 2].item() == pytest.approx(place, rel=1e-5)


def test_an_observation_that_is_no_board_is_refused() -> None:
    with pytest.raises(UserError, match=r"needs an observation that is a board of cells, and waker/Tiny-v0 names none"):
        board_of(tiny_spec())
    with pytest.raises(UserError, match=r"is a board alone, and waker/Board-v0 shows 'vector' beside it"):
        board_of(replace(SPEC, observation=(*KEYS, VECTOR)))
