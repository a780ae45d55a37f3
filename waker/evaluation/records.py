"""One evaluation of one agent: what the loop's evaluation block and ``waker evaluate`` call.

``measure`` returns rows; :mod:`waker.training.row_writer` gives them their identity and writes them.
"""

from __future__ import annotations

import functools
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from numpy.typing import NDArray

from waker.behaviour.player import RandomPlayer
from waker.evaluation import model_error
from waker.evaluation.filmstrip import film
from waker.evaluation.game import RewardFunction
from waker.evaluation.learned_table import PlannedModel
from waker.evaluation.open_loop import Model
from waker.evaluation.pieces import Piece, Pieces
from waker.evaluation.plan import planned_episodes
from waker.evaluation.planned import planned_rows
from waker.evaluation.rollouts import evaluate
from waker.evaluation.setup import Setup
from waker.names import suite_name
from waker.protocols import Player
from waker.seeding import stream
from waker.storage.tables import Row
from waker.terminal.signals import Paused
from waker_envs.api import FiniteThetaSpace, ThetaSpace
from waker_envs.foreign import Failed, reason_of

PLANNED_SAMPLES = 32
"""Latent samples behind a plan at most: four times as many move the mean regret of a laptop run by a fiftieth."""


@dataclass(frozen=True)
class Measurement:
    """Rows of one evaluation, and its film strip (:mod:`waker.evaluation.filmstrip`), empty where there is none."""

    evaluation: list[Row] = field(default_factory=list)
    model_error: list[Row] = field(default_factory=list)
    film: Mapping[str, NDArray[Any]] = field(default_factory=dict)


def describe_space(space: ThetaSpace, tasks: Sequence[str]) -> dict[str, Any]:
    """What a report must know of a family that is not in the rows, as JSON.

    names, units, descriptions (D each); tasks and suites as rows call them; and for finite spaces points (M, D),
    weights (M,), hard_ids, hardest (id or None) and sets (name → ids); for a space of several domains also groups (M,),
    group_names, and suite_groups: the domain of each suite by number.
    """
    described: dict[str, Any] = {
        "names": list(space.names),
        "units": [p.unit for p in space.parameters],
        "descriptions": [p.description for p in space.parameters],
        "tasks": list(tasks),
        "suites": list(map(suite_name, space.suites)),
        "hard_ids": [i for i in map(space.index, space.hard) if i >= 0],
        "hardest": None if space.hardest is None else space.index(space.hardest),
    }
    if isinstance(space, FiniteThetaSpace):
        described |= {"points": space.points.tolist(), "weights": space.weights.tolist()}
        described["sets"] = {name: list(map(space.index, thetas)) for name, thetas in space.sets.items()}
    if space.groups is not None:
        described |= {
            "groups": space.groups.tolist(),
            "group_names": list(space.group_names),
            "suite_groups": [suite.group for suite in space.suites.values()],
        }
    return described


def measure(
    setup: Setup,
    model: PlannedModel,
    player: Player | None,
    *,
    tasks: Sequence[str] | None = None,
    rewards: Mapping[str, RewardFunction] | None = None,
    pieces: Pieces | None = None,
) -> Measurement:
    """Evaluate task policies (if there are any) and a random policy, plans in the model, its error, and its film strip.

    Args:
        setup: how all is measured.
        model: the agent's world model, on the setup's device.
        player: its task policies; None = none trained yet, only the world model is measured, by its plans and error.
        tasks: None = those of the environment that the player has, and those of ``rewards``.
        rewards: reward functions of tasks the environment does not have.
        pieces: what was measured before, and where to keep it when a signal comes.

    Raises:
        UserError: an unknown task, or an environment that fails.
        Paused: a signal has come.
    """
    pieces, family, spec = pieces or Pieces(), setup.family, setup.family.spec
    played: list[Row] = []
    if player is not None:
        wanted = tasks if tasks is not None else [n for n in player.names if n in spec.tasks or n in (rewards or {})]
        random = RandomPlayer(spec.action, stream(setup.seed, "random policy"), tuple(wanted))
        for policy, who in (("learned", player), ("random", random)):
            play = functools.partial(evaluate, setup, who, wanted, rewards=rewards, policy=policy)
            played += pieces.measured(f"{policy} policies", play)
    episodes = planned_episodes(family, setup.config, setup.seed)
    samples = min(setup.config.samples, PLANNED_SAMPLES)
    planned = pieces.measured("plans in the model", functools.partial(planned_rows, setup, model, episodes, samples))
    played += [row for row in planned if tasks is None or row["task"] in tasks]
    errors = pieces.measured("the world model's error", functools.partial(model_error.measure, setup, model))
    return Measurement(played, errors, _film(setup, model, pieces.piece("film strip")))


def _film(setup: Setup, model: Model, piece: Piece) -> dict[str, NDArray[Any]]:
    """The film strip; empty where it fails, with a warning: rows that have been measured are worth more."""
    try:
        return film(setup, model, tick=lambda: piece.tick(dict, passes=True))
    except Paused:
        raise
    except Exception as error:  # noqa: BLE001 — whatever it is, no film may cost a measurement
        told = f"the film strip of {setup.family.spec.env_id} is left out: {reason_of(error)}"
        warnings.warn(told, Failed, stacklevel=2)
        return {}
