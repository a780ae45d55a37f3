"""GridHazards' true dynamics in the place of a learned world model, and the exact value of a policy on them.

What imagination asks of a world model (:mod:`waker.behaviour.imagination`, :mod:`waker.behaviour.policy_learner`), with
nothing learned: the feature is what the agent sees, so a policy trained here fails by the actor's own fault. Used by
:mod:`experiments.actors` and by tests.
"""

from __future__ import annotations

from typing import NamedTuple, cast

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from waker.behaviour.actor_critic import ActorCriticStack
from waker.behaviour.imagination import Trajectory
from waker.behaviour.starts import Starts
from waker.model.rssm import RSSM, State
from waker.model.world_model import WorldModel
from waker_envs.grids.hazards import GridHazards
from waker_envs.grids.layouts import HAZARD, TILES, WALL, Layout

Floats = NDArray[np.float64]


class Rooms(NamedTuple):
    """R rooms, one for each θ and layout, in a frame of C cells.

    Attributes:
        theta: index of θ in the family's space, (R,).
        kinds: of the cells, (R, C).
        seen: the class of each cell as it is observed, (R, C).
        move: P(next cell | cell, action), (R, A, C, C); a hazard is never left.
        starts: whether an episode may start there, (R, C).
        length: steps of an episode, (R,).
    """

    theta: NDArray[np.int64]
    kinds: NDArray[np.int64]
    seen: NDArray[np.int64]
    move: Floats
    starts: NDArray[np.bool_]
    length: NDArray[np.int64]


def rooms_of(env: GridHazards) -> Rooms:
    """All rooms of a family with numbered layouts."""
    rows = []
    for index, theta in enumerate(env.theta_space.points):
        for layout in env.layouts(theta):
            begins = np.isin(np.arange(env.frame**2), layout.starts)
            seen = env._classes(layout, env._slip_level(theta))
            rows.append((index, layout.kinds, seen, _moves(layout, theta[2]), begins, env._episode_length(theta)))
    return Rooms(*(np.array(column) for column in zip(*rows, strict=True)))


def _moves(layout: Layout, slip: float) -> Floats:
    """P(next cell | cell, action), (A, C, C)."""
    chosen = np.eye(len(layout.kinds))[np.asarray(layout.moves)]
    moved = (1.0 - slip) * chosen + slip * chosen.mean(0)
    held = np.eye(len(layout.kinds))
    return np.where((layout.kinds == HAZARD)[:, None], held, moved)


class ExactModel:
    """The true transition in the shape of a world model: ``stoch`` is the agent's cell, ``deter`` the room as seen.

    Both are one-hot, and so is the feature, of size C + C·classes.
    """

    def __init__(self, env: GridHazards) -> None:
        self.rooms, self.tasks = rooms_of(env), env.tasks
        self.cells = self.rooms.kinds.shape[1]
        self._seen = F.one_hot(torch.from_numpy(self.rooms.seen), env.n_classes).flatten(1).float()  # (R, C·classes)
        self._move = torch.from_numpy(self.rooms.move).float()
        self._hazard = torch.from_numpy(self.rooms.kinds == HAZARD).float()
        tiles = [torch.from_numpy(self.rooms.kinds == tile).float() for tile in TILES]
        self._tiles = torch.stack(tiles)  # (K, R, C)
        self.feature_dim = self.cells + self._seen.shape[1]

    @property
    def rssm(self) -> RSSM:
        """Itself."""
        return cast(RSSM, self)

    def as_model(self) -> WorldModel:
        """Itself, for a type checker."""
        return cast(WorldModel, self)

    def imagine(self, state: State, action: Tensor, mode: bool = False) -> State:
        """One true step: a cell drawn from the transition's distribution, or its most likely one."""
        room, cell = self._room(state.deter), state.stoch.argmax(-1)
        chance = self._move[room, action.argmax(-1), cell]
        drawn = chance.argmax(-1) if mode else torch.multinomial(chance, 1).squeeze(-1)
        return State(F.one_hot(drawn, self.cells).float(), state.deter)

    def _room(self, deter: Tensor) -> Tensor:
        """The room seen, (...): the only one with which all cells agree."""
        return (deter @ self._seen.T).argmax(-1)

    def _at(self, feature: Tensor) -> tuple[Tensor, Tensor]:
        stoch, deter = feature.split([self.cells, self.feature_dim - self.cells], -1)
        return self._room(deter), stoch.argmax(-1)

    def continue_probability(self, feature: Tensor) -> Tensor:
        """0 on a hazard, else 1, (...)."""
        room, cell = self._at(feature)
        return 1.0 - self._hazard[room, cell]

    def rewards(self, trajectory: Trajectory) -> Tensor:
        """True rewards (H+1, K, N) of the tasks' trajectories."""
        room, cell = self._at(trajectory.feature)  # (H+1, K, N)
        task = torch.arange(len(self.tasks)).view(-1, 1)
        return self._tiles[task, room, cell]

    def states(self, room: Tensor, cell: Tensor) -> State:
        """The states of (n,) rooms and cells."""
        return State(F.one_hot(cell, self.cells).float(), self._seen[room])

    def starts(self, n: int) -> Starts:
        """n start states: rooms alike, and in them all cells but walls (hazards too, as a replay has them)."""
        room = torch.randint(len(self._seen), (n,))
        free = torch.from_numpy(self.rooms.kinds != WALL).float()
        cell = torch.multinomial(free[room], 1).squeeze(-1)
        theta = torch.from_numpy(self.rooms.theta)[room]
        return Starts(self.states(room, cell), 1.0 - self._hazard[room, cell], theta)

    @torch.no_grad()
    def greedy(self, policies: ActorCriticStack) -> NDArray[np.int64]:
        """The most likely action of every member in every room and cell, (K, R, C)."""
        rooms = len(self._seen)
        room = torch.arange(rooms).repeat_interleave(self.cells)
        feature = self.states(room, torch.arange(self.cells).repeat(rooms)).feature
        action = policies.sample(policies.actor(feature.unsqueeze(0)), mode=True).argmax(-1)
        return action.unflatten(1, (rooms, self.cells)).numpy()


def values(rooms: Rooms, policy: NDArray[np.int64] | None) -> Floats:
    """Exact expected return of an episode in each room for each task, its start drawn as the family does, (K, R).

    Args:
        policy: actions by task, room and cell, (K, R, C); None = the optimum, which also knows the time left.
    """
    tiles = np.stack([rooms.kinds == tile for tile in TILES]).astype(float)  # (K, R, C)
    cont = 1.0 - (rooms.kinds == HAZARD)
    alive = rooms.move * cont[:, None, :, None]
    value = np.zeros_like(tiles)
    result = np.zeros(tiles.shape[:2])
    for left in range(1, int(rooms.length.max()) + 1):
        q = np.einsum("racd,krd->kacr", alive, tiles + cont * value).transpose(0, 3, 1, 2)  # (K, R, A, C)
        value = q.max(2) if policy is None else np.take_along_axis(q, policy[:, :, None], 2).squeeze(2)
        mean = (value * rooms.starts).sum(-1) / rooms.starts.sum(-1)
        result = np.where(rooms.length == left, mean, result)
    return result


def shares(rooms: Rooms, returns: Floats) -> Floats:
    """Returns (K, R) as shares of the optimum by θ and task, (Θ, K): layouts of a θ together."""
    theta = np.eye(rooms.theta.max() + 1)[rooms.theta]  # (R, Θ)
    return ((returns @ theta) / (values(rooms, None) @ theta)).T
