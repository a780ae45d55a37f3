"""Translators of boards: by hand, there and back, and what they do to labels."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from waker.errors import UserError
from waker.preferences.translation import MIRRORS, Translator, contradictions, translator

STEPS = ((0, 0), (-1, 0), (1, 0), (0, -1), (0, 1))  # stay, up, down, left, right


def test_left_for_right_by_hand() -> None:
    found = translator(3, [0, 2, 1], STEPS, "columns")
    assert found.cells.tolist() == [2, 1, 0, 5, 4, 3, 8, 7, 6]
    assert found.actions.tolist() == [0, 1, 2, 4, 3]
    board = np.array([0, 1, 2, 0, 0, 0, 1, 1, 1])
    assert found.boards(board).tolist() == [1, 2, 0, 0, 0, 0, 2, 2, 2]
    assert found.places([0, 4]).tolist() == [2, 4]
    assert found.acts([3, 4, 0]).tolist() == [4, 3, 0]


def test_rows_for_columns_turns_the_moves() -> None:
    assert translator(3, [0], STEPS, "transposed").actions.tolist() == [0, 3, 4, 1, 2]
    assert translator(3, [0], STEPS, "rows").actions.tolist() == [0, 2, 1, 3, 4]


@pytest.mark.parametrize("mirror", MIRRORS)
def test_an_action_moves_there_as_it_moves_here(mirror: str) -> None:
    side, found = 4, translator(4, range(3), STEPS, mirror)

    def moved(cell: int, action: int) -> int:
        row, column = np.array(divmod(cell, side)) + STEPS[action]
        return int(row * side + column) if 0 <= row < side and 0 <= column < side else cell

    for cell in range(side * side):
        for action in range(5):
            there = moved(int(found.places(cell)), int(found.acts(action)))
            assert there == found.places(moved(cell, action))


@pytest.mark.parametrize("mirror", MIRRORS)
def test_there_and_back_is_here(mirror: str) -> None:
    found = translator(3, [2, 0, 1, 3], STEPS, mirror)
    for part, whole in zip(found.then(found.inverse()), found, strict=True):
        assert part.tolist() == list(range(len(whole)))
    rng = np.random.default_rng(0)
    board = rng.integers(4, size=(5, 9))
    np.testing.assert_array_equal(found.inverse().boards(found.boards(board)), board)


def test_policies_and_moves_go_along() -> None:
    found, rng = translator(3, [0], STEPS, "columns"), np.random.default_rng(0)
    chances = rng.dirichlet(np.ones(5), size=(2, 9))
    move = rng.dirichlet(np.ones(9), size=(2, 5, 9))
    there, moved = found.policy(chances), found.moves(move)
    assert there[1, found.cells[4], found.actions[3]] == chances[1, 4, 3]
    assert moved[0, found.actions[3], found.cells[4], found.cells[7]] == move[0, 3, 4, 7]
    assert there.sum(-1) == pytest.approx(np.ones((2, 9))) and moved.sum(-1) == pytest.approx(np.ones((2, 5, 9)))


def test_two_classes_that_look_alike_are_lost() -> None:
    lossy = translator(2, [0, 1, 1], STEPS)
    assert not lossy.lossless and translator(2, [0, 2, 1], STEPS).lossless
    with pytest.raises(UserError, match="no way back"):
        lossy.inverse()


def test_contradictions_by_hand() -> None:
    label = [1.0, 0.0, 0.5, 0.5, 1.0, np.nan]
    truth = [1.0, 1.0, 0.5, 0.0, 0.5, 1.0]
    assert contradictions(label, truth) == pytest.approx((1 / 5, 2 / 5))
    assert contradictions([0.7, 0.2], [1.0, 1.0]) == pytest.approx((0.5, 0.0))


def test_sums_of_rewards_keep_their_labels_whatever_happens_there() -> None:
    """A reward of what is under the agent, translated rightly: the same sums, so the same labels."""
    rng, found = np.random.default_rng(1), translator(3, [3, 0, 2, 1], STEPS, "transposed")
    boards, cells = rng.integers(4, size=(50, 9)), rng.integers(9, size=(50, 8))
    here = (np.take_along_axis(boards, cells, 1) == 1).sum(1)
    there = (np.take_along_axis(found.boards(boards), found.places(cells), 1) == found.classes[1]).sum(1)

    def labels(sums: NDArray[np.int64]) -> NDArray[np.float64]:
        return np.asarray(np.sign(sums[:25] - sums[25:]) / 2 + 0.5)

    assert contradictions(labels(here), labels(there)) == (0, 0)
    wrong = Translator(found.cells, np.array([3, 2, 0, 1]), found.actions)  # takes another class for what pays
    other = (np.take_along_axis(wrong.boards(boards), wrong.places(cells), 1) == found.classes[1]).sum(1)
    assert contradictions(labels(here), labels(other)).opposite > 0.1


@pytest.mark.parametrize(
    ("words", "told"),
    [
        ((2, [0, 1], STEPS, "diagonal"), "mirror is one of none, columns, rows, transposed, not 'diagonal'"),
        ((2, [0, 2], STEPS), "must name one of 2 classes"),
        ((2, [0, -1], STEPS), "must name one of 2 classes"),
        ((2, [0], ((0, 0), (0, 1)), "columns"), "no action moves by"),
    ],
)
def test_what_is_no_translator_is_told_in_one_line(words: tuple[object, ...], told: str) -> None:
    with pytest.raises(UserError, match=told) as error:
        translator(*words)  # type: ignore[arg-type]
    assert "\n" not in str(error.value)


def test_no_label_to_compare_is_told() -> None:
    with pytest.raises(UserError, match="no label has a true answer"):
        contradictions([np.nan], [1.0])
