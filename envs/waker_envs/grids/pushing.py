"""The moves of GridCleanUp: walking, pushing and pulling single blocks in a square room. Pure functions.

Called by :mod:`waker_envs.grids.cleanup`, and by the tests that search the whole state space.
"""

from __future__ import annotations

from collections.abc import MutableSequence

STAY = 0
N_ACTIONS = 9
"""0 stay; 1–4 go up, right, down, left, pushing; 5–8 go up, right, down, left, pulling."""
STEPS = ((-1, 0), (0, 1), (1, 0), (0, -1))
"""(row, column) of one step up, right, down and left."""


def move(frame: int, side: int, agent: int, blocks: MutableSequence[int], action: int) -> int:
    """Make one move; ``blocks`` is changed in place.

    Every move that changes something is undone by one other: a step by the step back, a push by the pull the
    other way, a pull by the push the other way. So no state is a dead end.

    Args:
        frame: n; cells are numbered row by row in an n × n square.
        side: the room is the top-left ``side`` × ``side`` cells.
        agent: the agent's cell.
        blocks: for each cell, 0 or the colour of the block on it.
        action: 0 … 8.

    Returns:
        The agent's new cell; the old one when something is in the way.
    """
    if action == STAY:
        return agent
    dr, dc = STEPS[(action - 1) % 4]
    ahead = _neighbour(frame, side, agent, dr, dc)
    if ahead < 0:
        return agent
    if action <= 4:
        if blocks[ahead]:
            beyond = _neighbour(frame, side, ahead, dr, dc)
            if beyond < 0 or blocks[beyond]:
                return agent
            blocks[beyond], blocks[ahead] = blocks[ahead], 0
        return ahead
    if blocks[ahead]:
        return agent
    behind = _neighbour(frame, side, agent, -dr, -dc)
    if behind >= 0 and blocks[behind]:
        blocks[agent], blocks[behind] = blocks[behind], 0
    return ahead


def _neighbour(frame: int, side: int, cell: int, dr: int, dc: int) -> int:
    """The cell next to ``cell``, or −1 when it lies outside the room."""
    row, column = cell // frame + dr, cell % frame + dc
    return row * frame + column if 0 <= row < side and 0 <= column < side else -1
