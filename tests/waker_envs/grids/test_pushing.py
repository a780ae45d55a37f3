"""The moves of GridCleanUp: every one can be undone, and no arrangement of blocks is out of reach."""

from __future__ import annotations

from collections import deque
from itertools import combinations
from math import comb

import pytest
from hypothesis import given
from hypothesis import strategies as st

from waker_envs.grids.pushing import N_ACTIONS, STAY, move

PUSH = dict(zip(("up", "right", "down", "left"), range(1, 5), strict=True))
PULL = dict(zip(("up", "right", "down", "left"), range(5, 9), strict=True))


def run(picture: str, action: int) -> str:
    """One move in a room drawn as rows: ``A`` agent, ``g``/``b`` blocks, ``.`` floor."""
    rows = picture.split()
    n, text = len(rows), "".join(rows)
    blocks = [".gb".index(c) if c in ".gb" else 0 for c in text]
    agent = move(n, n, text.index("A"), blocks, action)
    drawn = [".gb"[b] for b in blocks]
    assert drawn[agent] == "."
    drawn[agent] = "A"
    return " ".join("".join(drawn[r * n : (r + 1) * n]) for r in range(n))


@pytest.mark.parametrize(
    ("before", "action", "after"),
    [
        ("A.. ... ...", PUSH["right"], ".A. ... ..."),
        ("A.. ... ...", PUSH["up"], "A.. ... ..."),
        ("Ag. ... ...", PUSH["right"], ".Ag ... ..."),
        ("... b.. A..", PUSH["up"], "b.. A.. ..."),
        (".Ag ... ...", PUSH["right"], ".Ag ... ..."),
        ("Agb ... ...", PUSH["right"], "Agb ... ..."),
        ("gA. ... ...", PULL["right"], ".gA ... ..."),
        ("A.. ... ...", PULL["down"], "... A.. ..."),
        ("... .A. .b.", PULL["up"], ".A. .b. ..."),
        ("gAb ... ...", PULL["right"], "gAb ... ..."),
        (".gA ... ...", PULL["right"], ".gA ... ..."),
        ("gA. ... ...", PUSH["right"], "g.A ... ..."),
        ("gA. ... ...", STAY, "gA. ... ..."),
    ],
)
def test_each_rule(before: str, action: int, after: str) -> None:
    assert run(before, action) == after


def test_the_room_ends_before_the_frame() -> None:
    blocks = [0] * 16
    assert move(4, 3, 2, blocks, PUSH["right"]) == 2
    blocks[2] = 1
    assert move(4, 3, 1, blocks, PUSH["right"]) == 1


@given(st.integers(3, 6), st.integers(0, 6), st.integers(0, N_ACTIONS - 1), st.data())
def test_every_move_is_undone_by_one_other(side: int, n_blocks: int, action: int, data: st.DataObject) -> None:
    cells = data.draw(st.permutations(range(side * side)))
    agent, blocks = cells[0], [0] * side**2
    for i, cell in enumerate(cells[1 : 1 + n_blocks]):
        blocks[cell] = 1 + i % 2
    after = list(blocks)
    there = move(side, side, agent, after, action)

    def undone(reverse: int) -> bool:
        back = list(after)
        return (move(side, side, there, back, reverse), back) == (agent, blocks)

    assert any(undone(reverse) for reverse in range(N_ACTIONS))


def states_reached(side: int, agent: int, blocks: tuple[int, ...]) -> int:
    seen, queue = {(agent, blocks)}, deque([(agent, blocks)])
    while queue:
        here, placed = queue.popleft()
        for action in range(1, N_ACTIONS):
            moved = list(placed)
            state = (move(side, side, here, moved, action), tuple(moved))
            if state not in seen:
                seen.add(state)
                queue.append(state)
    return len(seen)


@pytest.mark.parametrize(("side", "n_green", "n_blue"), [(3, 1, 1), (4, 1, 0), (4, 1, 1), (5, 0, 2), (5, 1, 1)])
def test_every_state_is_reached_from_every_other(side: int, n_green: int, n_blue: int) -> None:
    # As moves can be undone, reaching all states from one means that no task can ever become unsolvable.
    cells, total = side * side, n_green + n_blue
    blocks = (1,) * n_green + (2,) * n_blue + (0,) * (cells - total)
    everything = (cells - total) * comb(cells, total) * comb(total, n_green)
    assert states_reached(side, cells - 1, blocks) == everything


def test_without_pulling_a_block_in_the_goal_column_is_lost() -> None:
    # Why there is a pull: by pushes alone, nothing gets a block away from the left wall of a 4 × 4 room.
    reached = set()
    for agent, cell in combinations(range(16), 2):
        if cell % 4 == 0 and agent != cell:
            blocks = [int(c == cell) for c in range(16)]
            seen, stack = {(agent, cell)}, [(agent, blocks)]
            while stack:
                here, placed = stack.pop()
                for action in range(1, 5):
                    moved = list(placed)
                    there = move(4, 4, here, moved, action)
                    state = (there, moved.index(1))
                    reached.add(state[1] % 4)
                    if state not in seen:
                        seen.add(state)
                        stack.append((there, moved))
    assert reached == {0}
