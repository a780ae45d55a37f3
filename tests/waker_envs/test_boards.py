"""Which keys show a board: what a family says must fit what it observes, for the checker and for the learner."""

from __future__ import annotations

from typing import Any

import gymnasium as gym
import pytest
from gymnasium import spaces

from waker.collection.spec_of import spec_of
from waker.errors import UserError
from waker_envs.api import Board, ParametricEnv
from waker_envs.boards import board_fault
from waker_envs.checker import EnvCheckError, check_parametric_env
from waker_envs.grids.cleanup import GridCleanUp
from waker_envs.grids.hazards import GridHazards
from waker_envs.wrapped import WrappedFamily

SPACE = spaces.Dict(
    {
        "who stands": spaces.MultiDiscrete([2, 3]),
        "cells": spaces.MultiDiscrete([4] * 6),
        "uneven": spaces.MultiDiscrete([4] * 5 + [3]),
        "picture": spaces.Box(0, 1, (2, 3)),
    }
)


@pytest.mark.parametrize(
    ("board", "fault"),
    [
        (Board(2, 3, ("cells",), ("who stands",)), None),
        (Board(2, 3, ("cells",)), None),
        ((2, 3, ("cells",)), "must be a waker_envs.boards.Board or None, not tuple"),
        (Board(2, 3, ()), "names no key of cells"),
        (Board(2, 3, ("cells", "cells")), "names a key twice"),
        (Board(2, 3, ("blocks",)), "has no key 'blocks'"),
        (Board(2, 3, ("uneven",)), "'uneven' must be MultiDiscrete of 6 equal numbers of classes"),
        (Board(2, 3, ("picture",)), "'picture' must be MultiDiscrete of 6 equal numbers of classes"),
        (Board(3, 2, ("cells",), ("who stands",)), r"'who stands' is a place and must be MultiDiscrete\(\[3, 2\]\)"),
    ],
)
def test_a_board_must_fit_the_observation(board: Any, fault: str | None) -> None:
    if fault is None:
        assert board_fault(board, SPACE) is None
        return
    with pytest.raises(AssertionError, match=fault):
        raise AssertionError(board_fault(board, SPACE))


def test_a_board_of_no_dict_is_told() -> None:
    assert board_fault(Board(2, 3, ("cells",)), SPACE["cells"]) == "the observation is no Dict; leave it None"


class Misnamed(GridHazards):
    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.observation_board = Board(5, 5, ("blocks",))


def test_the_checker_and_the_learner_tell_of_a_board_that_does_not_fit() -> None:
    with pytest.raises(EnvCheckError, match=r"Misnamed\.observation_board: the observation has no key 'blocks'"):
        check_parametric_env(Misnamed)
    with pytest.raises(
        UserError, match=r"observation_board does not fit its observation: the observation has no key 'blocks'"
    ):
        spec_of(Misnamed())


@pytest.mark.parametrize(
    ("env", "board"),
    [
        (GridCleanUp(), Board(7, 7, ("blocks", "cells"), ("agent",))),
        (GridHazards(sizes=(3, 4)), Board(4, 4, ("cells",), ("agent",))),
        (GridCleanUp(obs="pixels"), None),
        (GridHazards(obs="pixels"), None),
    ],
    ids=["clean-up", "hazards", "clean-up in pixels", "hazards in pixels"],
)
def test_the_grids_boards(env: ParametricEnv, board: Board | None) -> None:
    assert env.observation_board == board
    assert spec_of(env).board == board
    assert board is None or board_fault(board, env.observation_space) is None


class Renamed(gym.ObservationWrapper[Any, Any, Any]):
    """Shows the same under other names."""

    def __init__(self, env: ParametricEnv) -> None:
        super().__init__(env)
        self.observation_space = spaces.Dict({f"my {k}": v for k, v in env.observation_space.items()})

    def observation(self, observation: Any) -> Any:
        return {f"my {k}": v for k, v in observation.items()}


def test_a_wrapper_that_changes_what_is_seen_leaves_no_board() -> None:
    timed: gym.Env[Any, Any] = gym.wrappers.TimeLimit(GridCleanUp(), 10)
    assert WrappedFamily(timed).observation_board == GridCleanUp().observation_board
    assert WrappedFamily(Renamed(GridCleanUp())).observation_board is None


def test_the_learner_names_the_board_s_keys_as_it_names_all() -> None:
    class Odd(GridCleanUp):
        def __init__(self) -> None:
            super().__init__()
            inner: Any = self.observation_space
            self.observation_space = spaces.Dict(
                {"agent": inner["agent"], "blocks.here": inner["blocks"], "cells": inner["cells"]}
            )
            self.observation_board = Board(7, 7, ("blocks.here", "cells"), ("agent",))

    spec = spec_of(Odd())
    assert spec.board is not None
    assert spec.board.cells == tuple(key.name for key in spec.observation if key.label in ("blocks.here", "cells"))
    assert "blocks.here" not in spec.board.cells
