"""Why do task policies of a learned model choose a worse action? GridHazards' rooms without slip, decision by decision.

    python -m experiments.actor_faults RUN [RUN …]

A policy is asked in every starting cell of every room without slip, in an episode that begins there. What its choice a
loses beside the best action a* is Q(s, a*) − Q(s, a), exact in the true dynamics, discounted as in adaptation. The
policy was fitted to action values q of the model's making (:mod:`waker.behaviour.lookahead`), q = r + γ·c·v, so the
loss is a sum of errors of q at a, less those at a*, and of a misfit:

- ``rewards``: the reward head's, r less the true reward;
- ``ends``: γ·(c less the true chance of going on)·v, the continue head's (the adapted one, where there is one);
- ``moves``: γ·(v of the state the model imagines less v of the one that is seen there), the dynamics';
- ``critic``: γ·(v less the best value of the cell that is reached);
- ``misfit``: q(a*) − q(a), below 0 where the policy follows the values it was told.

Writes ``results/actors/faults.csv``: sampler, seed, refit (``adapt.refit_continue``), decisions, wrong (those that lose
more than 0.1), part, loss (mean over all decisions), ``worst`` (the same in the one room and task that lose most) and
``visits`` (steps of the replay on that room's tile of that task). Rows of other seeds stay. The task policies are the
run's own. Half a minute a run.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from torch import Tensor

from experiments.actors import RESULTS, filtered, seen
from experiments.exact_model import Floats, Rooms, rooms_of
from experiments.kept_rows import with_others
from waker.agent.task_adapter import TaskAdapter
from waker.behaviour.lookahead import LookaheadLearner
from waker.machine.device import use_threads
from waker.model.rssm import State
from waker.model.world_model import WorldModel
from waker.training.loading import load_run
from waker_envs.grids.hazards import GridHazards
from waker_envs.grids.layouts import HAZARD, N_ACTIONS, TILES

WRONG = 0.1
"""A choice that loses more is called wrong."""
PARTS = ("rewards", "ends", "moves", "critic", "misfit")


class Truth(NamedTuple):
    """Of D decisions: the room and cell (D,), where each action leads (D, A), and by task what it is worth.

    Attributes:
        reward, q, value: of the action; q with the best actions after it, ``value`` that of the cell it leads to
            (0 in a hazard). (K, D, A).
        cont: 1, or 0 where it leads into a hazard, (D, A).
    """

    room: NDArray[np.int64]
    cell: NDArray[np.int64]
    after: NDArray[np.int64]
    reward: Floats
    cont: Floats
    value: Floats
    q: Floats


def truth_of(rooms: Rooms, discount: float) -> Truth:
    """Of all starting cells of rooms without slip."""
    still = (rooms.move.max(-1) == 1.0).all((1, 2))
    room, cell = np.nonzero(rooms.starts & still[:, None])
    to = rooms.move.argmax(-1)  # (R, A, C)
    tiles = np.stack([rooms.kinds == tile for tile in TILES]).astype(float)  # (K, R, C)
    cont = (rooms.kinds != HAZARD).astype(float)
    index = np.arange(len(to))[:, None, None]
    value = np.zeros_like(tiles)
    while True:
        q = tiles[:, index, to] + discount * (cont * value)[:, index, to]  # (K, R, A, C)
        if np.abs(q.max(2) - value).max() < 1e-9:
            break
        value = q.max(2)
    after = to[room, :, cell]  # (D, A)
    here = room[:, None], after
    return Truth(
        room, cell, after, tiles[:, *here], cont[here], (cont * value)[:, *here], q[:, room, :, cell].transpose(1, 0, 2)
    )


@torch.no_grad()
def losses(model: WorldModel, adapter: TaskAdapter, rooms: Rooms, truth: Truth) -> Floats:
    """What each choice loses, part by part, (5, K, D)."""
    learner, n = adapter.policy_learner, len(truth.room)
    assert isinstance(learner, LookaheadLearner)
    policies, discount = adapter.policies, learner.config.discount
    begun = filtered(model, model.rssm.initial(n), torch.zeros(n, N_ACTIONS), seen(rooms, truth.room, truth.cell))
    # One imagined step of every action, and the same step with what would be seen after it: n a -> (n a)
    before = State(*(x.repeat_interleave(N_ACTIONS, 0) for x in begun))
    action = torch.eye(N_ACTIONS).repeat(n, 1)
    imagined = model.rssm.imagine(before, action, mode=True).feature
    there = filtered(model, before, action, seen(rooms, truth.room.repeat(N_ACTIONS), truth.after.ravel())).feature

    def by_action(x: Tensor) -> Floats:
        return x.numpy().astype(float).reshape(*x.shape[:-1], n, N_ACTIONS)

    def valued(feature: Tensor) -> Floats:
        return by_action(policies.slow.predict(policies.see(feature).unsqueeze(0)))

    reward = by_action(adapter.heads.earned(before.feature, action, imagined))
    cont = by_action(adapter.imagined.continue_probability(imagined))
    v, v_there = valued(imagined), valued(there)
    errors = np.stack(
        [
            reward - truth.reward,
            discount * (cont - truth.cont) * v,
            discount * truth.cont * (v - v_there),
            discount * (truth.cont * v_there - truth.value),
        ]
    )
    q = reward + discount * cont * v
    chosen = policies.actor(policies.see(begun.feature).unsqueeze(0)).argmax(-1).numpy()[..., None]  # (K, D, 1)
    best = truth.q.argmax(-1)[..., None]
    as_good = np.take_along_axis(truth.q, chosen, -1) >= np.take_along_axis(truth.q, best, -1) - 1e-9
    best = np.where(as_good, chosen, best)

    def gap(x: Floats, less: NDArray[np.int64], of: NDArray[np.int64]) -> Floats:
        return (np.take_along_axis(x, of, -1) - np.take_along_axis(x, less, -1))[..., 0]

    parts = [gap(error, best, chosen) for error in errors]
    found = np.stack([*parts, gap(q, chosen, best)])
    np.testing.assert_allclose(found.sum(0), gap(truth.q, chosen, best), atol=1e-4)
    return found


def visits(replay: Mapping[str, NDArray[Any]], rooms: Rooms, room: int, tile: int) -> int:
    """Steps of a replay on a room's tiles of one kind."""
    cells = replay["cells"].reshape(-1, rooms.seen.shape[1])
    row, column = replay["agent"].reshape(-1, 2).astype(int).T
    frame = round(rooms.kinds.shape[1] ** 0.5)
    there = (cells == rooms.seen[room]).all(1)
    return int((there & (rooms.kinds[room][row * frame + column] == tile)).sum())


def of_run(folder: Path) -> list[dict[str, Any]]:
    """Rows of a finished run."""
    loaded = load_run(folder.absolute(), print)
    env, adapter = loaded.family.make(), loaded.agent.adapter
    assert isinstance(env, GridHazards) and adapter is not None
    rooms = rooms_of(env)
    truth = truth_of(rooms, loaded.config.adapt.discount)
    found = losses(loaded.agent.model, adapter, rooms, truth)
    total = found.sum(0)
    by_room = np.stack([total[:, truth.room == room].sum(1) for room in np.unique(truth.room)], 1)  # (K, rooms)
    task, room = np.unravel_index(by_room.argmax(), by_room.shape)
    worst = np.unique(truth.room)[room]
    of_worst = found[:, task, truth.room == worst].mean(1)
    config = loaded.config
    about = {"sampler": config.curriculum.sampler, "seed": config.seed, "refit": config.adapt.refit_continue}
    about |= {"decisions": total.size, "wrong": int((total > WRONG).sum())}
    about |= {"visits": visits(loaded.replay(print).arrays, rooms, worst, TILES[task])}
    means = zip(PARTS, found.mean((1, 2)), of_worst, strict=True)
    return [{**about, "part": part, "loss": loss, "worst": worst} for part, loss, worst in means]


def main() -> None:
    """Write the rows of runs."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("runs", type=Path, nargs="+", help="folders of finished GridHazards runs")
    parser.add_argument("--out", type=Path, default=RESULTS)
    asked = parser.parse_args()
    use_threads("cpu")
    table = pd.DataFrame([row for run in asked.runs for row in of_run(run)])
    asked.out.mkdir(parents=True, exist_ok=True)
    path = asked.out / "faults.csv"
    with_others(path, table, ("sampler", "seed", "refit")).to_csv(path, index=False, float_format="%.4g")
    print(table.to_string(index=False))


if __name__ == "__main__":
    main()
