"""Edits of what is seen in GridHazards that leave a task's rewards as they are. Called by the family alone."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Ints = NDArray[np.int64]
Seen = dict[str, NDArray[np.int64]]


def room_edits(agent: Ints, cells: Ints, floors: int, tile: int) -> dict[str, Seen]:
    """All edits that change something of T states of one room.

    Args:
        agent: rows and columns, (T, 2).
        cells: classes, (T, n²); they do not change within a room.
        floors: how many classes are floors, one a slip level; the first ones. Then wall, hazard and three tiles.
        tile: the class of the tile that the task names.

    Returns:
        Name → both keys, edited.
    """
    room, wall, hazard = cells[0], floors, floors + 1
    side = round(len(room) ** 0.5)
    found: dict[str, Seen] = {}
    level = room[room < floors]
    if floors > 1 and len(level):
        found["slip recoloured"] = _as(agent, cells, np.where(room < floors, (level[0] + 1) % floors, room))
    one, two = (kind for kind in range(hazard + 1, hazard + 4) if kind != tile)
    if np.isin((one, two), room).any():
        swapped = np.where(room == one, two, np.where(room == two, one, room))
        found["other tiles swapped"] = _as(agent, cells, swapped)
    met = np.unique(agent @ [side, 1])
    hazards, free = (np.setdiff1d(np.flatnonzero(which), met) for which in (room == hazard, room < floors))
    if len(hazards) and len(free):
        moved = room.copy()
        moved[hazards[0]], moved[free[0]] = room[free[0]], hazard
        found["hazard moved"] = _as(agent, cells, moved)
    square = room.reshape(side, side)
    by = np.array([(square[-1] == wall).all(), (square[:, -1] == wall).all()], np.int64)
    if by.any():
        found["room shifted"] = _as(agent + by, cells, np.roll(square, by, (0, 1)).ravel())
    return found


def _as(agent: Ints, cells: Ints, room: Ints) -> Seen:
    return {"agent": agent.copy(), "cells": np.broadcast_to(room, cells.shape).copy()}
