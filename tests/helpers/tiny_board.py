"""A board of 3 × 4 cells for tests of models that keep the grid: its spec, its configuration, and a game on it.

The game: an agent on white and black cells; an action 0 … 3 takes it a step up, right, down or left, where the board
goes on, and a cell it leaves turns black. ``task0`` pays 1 on black, ``task1`` on white.
"""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from tests.helpers.tiny_learner import tiny_config
from waker.config.schema import Config
from waker.specs import ActionSpec, EnvSpec, ObservationKey
from waker_envs.boards import Board

BOARD = Board(3, 4, ("colours", "kinds"), ("agent",))
KEYS = (
    ObservationKey("agent", "categorical", (2,), "uint8", (3, 4), 3.0),
    ObservationKey("colours", "categorical", (12,), "uint8", (2,) * 12),
    ObservationKey("kinds", "categorical", (12,), "uint8", (3,) * 12, 0.5),
)
SPEC = EnvSpec("waker/Board-v0", KEYS, ActionSpec(4, True), ("task0", "task1"), board=BOARD)


def board_config(recipe: str = "grid", *, after: bool = False) -> Config:
    """The tiny configuration with a state in every cell."""
    config = tiny_config(recipe, after=after)
    return replace(config, model=replace(config.model, latent="cells", deter=5, hidden=8, stoch=2, classes=3))


def play(n: int, steps: int, seed: int) -> dict[str, Tensor]:
    """A batch (n, steps) of the game under random actions."""
    rng = torch.Generator().manual_seed(seed)
    rows, columns = torch.tensor([-1, 0, 1, 0]), torch.tensor([0, 1, 0, -1])
    row, column = torch.randint(3, (n,), generator=rng), torch.randint(4, (n,), generator=rng)
    colours = (torch.rand(n, 12, generator=rng) < 0.3).long()
    kinds = (torch.arange(12) % 4 == 0).long().expand(n, 12)
    seen: dict[str, list[Tensor]] = {"agent": [], "colours": [], "action": [], "task_rewards": []}
    for t in range(steps):
        action = torch.randint(4, (n,), generator=rng)
        if t:
            colours = colours.scatter(1, (4 * row + column).unsqueeze(1), 1)
            row, column = (row + rows[action]).clamp(0, 2), (column + columns[action]).clamp(0, 3)
        black = colours.gather(1, (4 * row + column).unsqueeze(1)).squeeze(1).float()
        seen["agent"].append(torch.stack([row, column], -1))
        seen["colours"].append(colours)
        seen["action"].append(torch.nn.functional.one_hot(action, 4).float() * float(t > 0))
        seen["task_rewards"].append(torch.stack([black, 1.0 - black], -1))
    batch = {name: torch.stack(values, 1) for name, values in seen.items()}
    first = torch.zeros(n, steps, dtype=torch.bool)
    first[:, 0] = True
    batch |= {"kinds": kinds.unsqueeze(1).expand(n, steps, 12), "is_first": first, "is_terminal": first & False}
    return batch | {"is_last": first & False, "theta_id": torch.zeros(n, steps, dtype=torch.int32)}
