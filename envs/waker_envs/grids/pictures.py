"""Pictures of grids from MiniGrid's own objects, composed from tiles that are drawn once.

Called by the grid families for ``obs="pixels"`` and ``render()``. MiniGrid draws its agent as a red triangle,
which cannot be seen on a red tile; families without headings use a white disc instead.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from minigrid.core.grid import Grid
from minigrid.core.world_object import WorldObj
from minigrid.utils.rendering import downsample, fill_coords, point_in_circle
from numpy.typing import NDArray

Picture = NDArray[np.uint8]
"""Shape (height, width, 3)."""

PIXELS = 64
"""Side of every family's pixel observation."""
_BORDER = np.array([100, 100, 100], np.uint8)  # MiniGrid's wall colour
_SUPERSAMPLING = 4


class TileSet:
    """One picture for each cell class, with and without the agent.

    Args:
        objects: the MiniGrid object of each cell class; None = empty floor.
        tile: side of a cell in pixels.
    """

    def __init__(self, objects: Sequence[WorldObj | None], tile: int) -> None:
        self.tile = tile
        self.plain = np.stack([np.asarray(Grid.render_tile(o, tile_size=tile), np.uint8) for o in objects])
        canvas = np.zeros((tile * _SUPERSAMPLING, tile * _SUPERSAMPLING, 3), np.uint8)
        disc = downsample(fill_coords(canvas, point_in_circle(0.5, 0.5, 0.32), (255, 255, 255)), _SUPERSAMPLING)
        self.with_agent = np.maximum(self.plain, disc.astype(np.uint8))

    def compose(self, cells: NDArray[np.int64], agent: tuple[int, int] | None) -> Picture:
        """The picture of ``cells`` (rows, columns) of classes, shape (rows · tile, columns · tile, 3)."""
        rows, columns = cells.shape
        tiles = self.plain[cells]  # (rows, columns, tile, tile, 3)
        if agent is not None:
            tiles[agent] = self.with_agent[cells[agent]]
        return tiles.swapaxes(1, 2).reshape(rows * self.tile, columns * self.tile, 3)


def framed(picture: Picture, side: int) -> Picture:
    """The picture in the middle of a square of ``side`` pixels with a wall-coloured border."""
    height, width = picture.shape[:2]
    square = np.empty((side, side, 3), np.uint8)
    square[:] = _BORDER
    top, left = (side - height) // 2, (side - width) // 2
    square[top : top + height, left : left + width] = picture
    return square
