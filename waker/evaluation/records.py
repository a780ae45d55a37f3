"""One evaluation of one agent: what the loop's evaluation block and ``waker evaluate`` call.

``measure`` returns rows; :mod:`waker.training.recorder` gives them their identity and writes them.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from numpy.typing import NDArray

from waker.behaviour.player import RandomPlayer
from waker.config.schema import EvalConfig
from waker.evaluation import model_error
from waker.evaluation.filmstrip import film
from waker.evaluation.learned_table import PlannedModel
from waker.evaluation.open_loop import Model
from waker.evaluation.pieces import Pieces
from waker.evaluation.plan import planned_episodes, stream
from waker.evaluation.planned import planned_rows
from waker.evaluation.rollouts import MakeEnv, RewardFunction, Row, evaluate
from waker.evaluation.sources import RANDOM_ONLY, Source
from waker.names import suite_name
from waker.protocols import Player
from waker.specs import EnvSpec
from waker.terminal.signals import Paused
from waker_envs.api import FiniteThetaSpace, ThetaSpace
from waker_envs.foreign import Failed, reason_of

SEED = 0
"""Seed of evaluations: the same for all runs, so that all meet the same episodes. Their seeds come from streams
of their own over 2³¹ values: held out from training but for a negligible chance."""

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
    model: PlannedModel,
    player: Player | None,
    make_env: MakeEnv,
    spec: EnvSpec,
    space: ThetaSpace,
    config: EvalConfig,
    *,
    tasks: Sequence[str] | None = None,
    rewards: Mapping[str, RewardFunction] | None = None,
    device: torch.device | str = "cpu",
    seed: int = SEED,
    pieces: Pieces | None = None,
    sources: Sequence[Source] = RANDOM_ONLY,
) -> Measurement:
    """Evaluate task policies (if there are any) and a random policy, plans in the model, its error, and its film strip.

    Args:
        model: the agent's world model, on ``device``.
        player: its task policies; None = none trained yet, only the world model is measured, by its plans and error.
        make_env, spec, space: the family.
        config: how much of everything.
        tasks: None = those of the environment that the player has, and those of ``rewards``.
        rewards: reward functions of tasks the environment does not have.
        seed: of episodes and chance; not the run's.
        pieces: what was measured before, and where to keep it when a signal comes.
        sources: who acts in the held-out episodes of the world model's error; the same for all runs of a comparison.

    Raises:
        UserError: an unknown task, or an environment that fails.
        Paused: a signal has come.
    """
    pieces = pieces or Pieces()
    played: list[Row] = []
    if player is not None:
        wanted = tasks if tasks is not None else [n for n in player.names if n in spec.tasks or n in (rewards or {})]
        references = RandomPlayer(spec.action, stream(seed, "random policy"), tuple(wanted))

        def play(who: Player, policy: str) -> list[Row]:
            return pieces.measured(
                f"{policy} policies",
                lambda piece: evaluate(
                    who, make_env, spec, space, config, seed, wanted, rewards=rewards, policy=policy, piece=piece
                ),
            )

        played = [*play(player, "learned"), *play(references, "random")]
    played += _planned(model, make_env, spec, space, config, tasks, device, seed, pieces)
    errors = pieces.measured(
        "the world model's error",
        lambda piece: model_error.measure(
            model, make_env, spec, space, config, seed, device=device, sources=sources, piece=piece
        ),
    )
    return Measurement(played, errors, _film(model, make_env, spec, space, seed, device, pieces))


def _planned(
    model: PlannedModel,
    make_env: MakeEnv,
    spec: EnvSpec,
    space: ThetaSpace,
    config: EvalConfig,
    tasks: Sequence[str] | None,
    device: torch.device | str,
    seed: int,
    pieces: Pieces,
) -> list[Row]:
    """Rows of plans in the model for the tasks asked for."""
    episodes = planned_episodes(space, config, seed)
    samples = min(config.samples, PLANNED_SAMPLES)
    rows = pieces.measured(
        "plans in the model",
        lambda piece: planned_rows(
            model, make_env, spec, space, episodes, samples, device=device, seed=seed, piece=piece
        ),
    )
    return [row for row in rows if tasks is None or row["task"] in tasks]


def _film(
    model: Model,
    make_env: MakeEnv,
    spec: EnvSpec,
    space: ThetaSpace,
    seed: int,
    device: torch.device | str,
    pieces: Pieces,
) -> dict[str, NDArray[Any]]:
    """The film strip; empty where it fails, which is told: rows that have been measured are worth more."""
    piece = pieces.piece("film strip")
    try:
        return film(model, make_env, spec, space, seed, device=device, tick=lambda: piece.tick(dict, passes=True))
    except Paused:
        raise
    except Exception as error:  # noqa: BLE001 — whatever it is, no picture may cost a measurement
        warnings.warn(f"the film strip of {spec.env_id} is left out: {reason_of(error)}", Failed, stacklevel=2)
        return {}
