"""Three of MiniGrid's own environments as parametric families, made by the adapter."""

from __future__ import annotations

import numpy as np
from minigrid.core.world_object import Key
from minigrid.envs import CrossingEnv, DoorKeyEnv, MultiRoomEnv
from minigrid.minigrid_env import MiniGridEnv

from waker_envs.api import FiniteThetaSpace, Parameter
from waker_envs.grids.adapter import minigrid_family, own_reward

_MULTI_ROOM_SIDE = 15


def _holding_key(env: MiniGridEnv, reward: float) -> float:
    return float(isinstance(env.carrying, Key))


_OBSERVED = """\
`obs="symbolic"`: `Dict` of categories of the whole grid, padded with wall to the largest of any θ, with MiniGrid's
    numbers: `agent` (row, column, heading: 0 right, 1 down, 2 left, 3 up), `carrying` (type and colour; type 1 =
    nothing), and row by row `types`, `colours` and `states`.

    `obs="pixels"`: `Box(0, 255, (64, 64, 3), uint8)`, a picture of it, without what is carried."""
"""How each family is seen; its lines are indented as the pages' are."""

MultiRoom = minigrid_family(
    "MultiRoom",
    MultiRoomEnv,
    FiniteThetaSpace(
        [
            Parameter("rooms", "rooms from start to goal", "rooms"),
            Parameter("room_size", "largest side of a room, walls included", "cells"),
        ],
        [(rooms, size) for rooms in (1, 2, 3, 4) for size in (4, 5, 6)],
        hard=[(4, size) for size in (4, 5, 6)],
        hardest=(4, 6),
        suites={"five-rooms": [(5, size) for size in (4, 5)]},
    ),
    lambda theta: {
        "minNumRooms": int(theta[0]),
        "maxNumRooms": int(theta[0]),
        "maxRoomSize": int(theta[1]),
        "width": _MULTI_ROOM_SIDE,
        "height": _MULTI_ROOM_SIDE,
    },
    doc=f"""
    ## Description

    A chain of rooms with closed doors between them; reach the goal square in the last one. MiniGrid's `MultiRoomEnv`
    on 15 × 15 cells, seen whole.

    ## Action space

    `Discrete(7)`: 0 turn left, 1 turn right, 2 forward, 3 pick up, 4 drop, 5 toggle (opens doors), 6 done.

    ## Observation space

    {_OBSERVED}

    ## Tasks and rewards

    `goal`: 1 − 0.9 · steps / limit on reaching the goal, else 0.

    ## Parameters θ

    | # | name      | values     | meaning                                |
    |---|-----------|------------|----------------------------------------|
    | 0 | rooms     | 1, 2, 3, 4 | rooms from start to goal               |
    | 1 | room_size | 4, 5, 6    | largest side of a room, walls included |

    DR is uniform. `hard`: four rooms; `hardest`: (4, 6). Suite `five-rooms`: five rooms of sizes 4 and 5.

    ## Episode end

    Terminated on the goal; truncated after 20 · rooms steps.

    ## Registered ids

    `waker/MultiRoom-v0`

    ## Arguments

    Args:
        task: "goal" or None = reward-free.
        obs: "symbolic" or "pixels".
        render_mode: None or "rgb_array".
    """,
)

LavaCrossing = minigrid_family(
    "LavaCrossing",
    CrossingEnv,
    FiniteThetaSpace(
        [
            Parameter("size", "side of the room, walls included", "cells"),
            Parameter("crossings", "lava rivers", "rivers"),
        ],
        [(5, 1), (5, 2), (7, 1), (7, 2), (7, 3), (9, 1), (9, 2), (9, 3)],
        hard=[(7, 3), (9, 2), (9, 3)],
        hardest=(9, 3),
        suites={"more-rivers": [(9, 4), (9, 5)]},
    ),
    lambda theta: {"size": int(theta[0]), "num_crossings": int(theta[1]), "max_steps": 4 * int(theta[0]) ** 2},
    doc=f"""
    ## Description

    Rivers of lava cross the room, each with one gap; reach the goal square in the opposite corner. MiniGrid's
    `CrossingEnv`, seen whole.

    ## Action space

    `Discrete(7)`: 0 turn left, 1 turn right, 2 forward, 3–6 do nothing here.

    ## Observation space

    {_OBSERVED}

    ## Tasks and rewards

    `goal`: 1 − 0.9 · steps / limit on reaching the goal, else 0.

    ## Parameters θ

    | # | name      | values  | meaning                                            |
    |---|-----------|---------|----------------------------------------------------|
    | 0 | size      | 5, 7, 9 | side of the room, walls included                   |
    | 1 | crossings | 1, 2, 3 | rivers of lava; size 5 has room for no more than 2 |

    DR is uniform over the eight combinations. `hard`: (7, 3), (9, 2), (9, 3); `hardest`: (9, 3). Suite `more-rivers`:
    size 9 with 4 and 5 rivers.

    ## Episode end

    Terminated on the goal and on lava; truncated after 4 · size² steps.

    ## Registered ids

    `waker/LavaCrossing-v0`

    ## Arguments

    Args:
        task: "goal" or None = reward-free.
        obs: "symbolic" or "pixels".
        render_mode: None or "rgb_array".
    """,
)

DoorKey = minigrid_family(
    "DoorKey",
    DoorKeyEnv,
    FiniteThetaSpace(
        [Parameter("size", "side of the room, walls included", "cells")],
        np.arange(5.0, 9.0)[:, None],
        hard=[[7.0], [8.0]],
        hardest=[8.0],
        suites={"larger": [[9.0]]},
    ),
    lambda theta: {"size": int(theta[0])},
    tasks={"goal": own_reward, "key": _holding_key},
    doc=f"""
    ## Description

    Pick up the key, open the locked door, and reach the goal square behind it. MiniGrid's `DoorKeyEnv`, seen whole.

    ## Action space

    `Discrete(7)`: 0 turn left, 1 turn right, 2 forward, 3 pick up, 4 drop, 5 toggle (opens the door), 6 done.

    ## Observation space

    {_OBSERVED}

    ## Tasks and rewards

    `goal`: 1 − 0.9 · steps / limit on reaching the goal, else 0. `key`: 1 for each step at whose end the agent
    holds the key.

    ## Parameters θ

    | # | name | values     | meaning                          |
    |---|------|------------|----------------------------------|
    | 0 | size | 5, 6, 7, 8 | side of the room, walls included |

    DR is uniform. `hard`: 7 and 8; `hardest`: 8. Suite `larger`: size 9.

    ## Episode end

    Terminated on the goal; truncated after 10 · size² steps.

    ## Registered ids

    `waker/DoorKey-v0`

    ## Arguments

    Args:
        task: "goal", "key" or None = reward-free.
        obs: "symbolic" or "pixels".
        render_mode: None or "rgb_array".
    """,
)

# A class remembers the module that bound it, so that it can be pickled and found by name.
for _family in (MultiRoom, LavaCrossing, DoorKey):
    _family.__module__ = __name__
