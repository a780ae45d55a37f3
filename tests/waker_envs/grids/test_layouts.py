"""Rooms of GridHazards: nothing is cut off, counts are right, and a layout depends on its own key alone."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from waker_envs.grids.layouts import (
    DOWN,
    FLOOR,
    HAZARD,
    LEFT,
    RIGHT,
    STAY,
    TILES,
    UP,
    WALL,
    check_room,
    hazard_count,
    make_layout,
)

ROOMS = st.tuples(st.integers(3, 6), st.integers(0, 10), st.integers(0, 2**62)).filter(lambda r: r[1] <= r[0] ** 2 - 4)


def reachable(kinds: np.ndarray, start: int) -> set[int]:
    """Cells that can be walked to from ``start`` with no step on a hazard or wall; by flooding, from the map alone."""
    n = int(len(kinds) ** 0.5)
    seen = {start}
    grew = True
    while grew:
        grew = False
        for a in range(n * n):
            for b in range(n * n):
                adjacent = abs(a // n - b // n) + abs(a % n - b % n) == 1
                if a in seen and b not in seen and adjacent and kinds[b] not in (WALL, HAZARD):
                    seen.add(b)
                    grew = True
    return seen


@given(ROOMS)
def test_every_tile_and_start_is_reached_from_every_other_without_a_hazard(room: tuple[int, int, int]) -> None:
    size, hazards, index = room
    layout = make_layout(size, size, size, hazards, index)
    wanted = {cell for cell in range(size**2) if layout.kinds[cell] not in (WALL, HAZARD)}
    assert reachable(layout.kinds, layout.starts[0]) == wanted


@given(ROOMS)
def test_a_room_holds_one_tile_of_each_colour_and_its_hazards(room: tuple[int, int, int]) -> None:
    size, hazards, index = room
    layout = make_layout(size, size, size, hazards, index)
    counts = np.bincount(layout.kinds, minlength=6)
    assert counts[list(TILES)].tolist() == [1, 1, 1]
    assert counts[HAZARD] == hazards
    assert counts[WALL] == 0
    assert list(layout.starts) == np.flatnonzero(layout.kinds == FLOOR).tolist()


@given(ROOMS, st.integers(0, 3))
def test_the_frame_does_not_change_the_room(room: tuple[int, int, int], extra: int) -> None:
    size, hazards, index = room
    frame = size + extra
    kinds = make_layout(frame, size, size, hazards, index).kinds.reshape(frame, frame)
    np.testing.assert_array_equal(kinds[:size, :size].ravel(), make_layout(size, size, size, hazards, index).kinds)
    assert (kinds[size:] == WALL).all()
    assert (kinds[:, size:] == WALL).all()


def test_moves_go_where_they_say_and_stop_at_walls() -> None:
    moves = make_layout(4, 3, 3, 0, 0).moves  # cells 0 1 2 / 4 5 6 / 8 9 10; column 3 and row 3 are wall
    assert [moves[a][5] for a in (STAY, UP, RIGHT, DOWN, LEFT)] == [5, 1, 6, 9, 4]
    assert [moves[a][0] for a in (STAY, UP, RIGHT, DOWN, LEFT)] == [0, 0, 1, 4, 0]
    assert [moves[a][10] for a in (STAY, UP, RIGHT, DOWN, LEFT)] == [10, 6, 10, 10, 9]


@pytest.mark.parametrize(
    ("size", "density", "count"), [(3, 0, 0), (3, 0.01, 1), (3, 0.1, 1), (3, 0.2, 2), (5, 0.1, 3), (5, 0.3, 8)]
)
def test_hazards_are_rounded_half_up_and_never_vanish(size: int, density: float, count: int) -> None:
    assert hazard_count(size * size, density) == count


def test_a_room_too_full_is_refused_with_what_would_fit() -> None:
    check_room(3, 3, 5 / 9)
    with pytest.raises(ValueError, match=r"at most 0\.56 fits"):
        check_room(3, 3, 0.7)
