"""Pictures composed from tiles equal what MiniGrid itself draws."""

from __future__ import annotations

import numpy as np
from minigrid.core.grid import Grid
from minigrid.core.world_object import Goal, Lava, Wall

from waker_envs.grids.pictures import TileSet, framed

OBJECTS = [None, Wall(), Lava(), Goal("red")]


def test_a_picture_equals_minigrid_s_own() -> None:
    cells = np.random.default_rng(0).integers(4, size=(4, 6))
    grid = Grid(6, 4)
    for row in range(4):
        for column in range(6):
            grid.set(column, row, OBJECTS[cells[row, column]])
    np.testing.assert_array_equal(TileSet(OBJECTS, 9).compose(cells, None), grid.render(9, (-1, -1)))


def test_the_agent_changes_its_own_cell_alone_and_is_seen_on_every_object() -> None:
    tiles = TileSet(OBJECTS, 12)
    for kind in range(4):
        cells = np.full((3, 3), kind)
        changed = (tiles.compose(cells, None) != tiles.compose(cells, (1, 2))).any(-1)
        assert changed[12:24, 24:36].sum() > 20
        changed[12:24, 24:36] = False
        assert not changed.any()


def test_composing_leaves_the_tiles_as_they_were() -> None:
    tiles = TileSet(OBJECTS, 8)
    before = tiles.plain.copy()
    tiles.compose(np.zeros((3, 3), np.int64), (0, 0))
    np.testing.assert_array_equal(tiles.plain, before)


def test_a_frame_surrounds_the_picture_evenly() -> None:
    picture = np.zeros((4, 6, 3), np.uint8)
    square = framed(picture, 10)
    assert square.shape == (10, 10, 3)
    assert (square[3:7, 2:8] == 0).all()
    assert (square == 0).all(-1).sum() == 24
