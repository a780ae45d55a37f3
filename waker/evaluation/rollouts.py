"""Episodes of task policies over domain randomisation and the suites, as tidy rows.

Called by ``waker evaluate`` and by the loop's evaluation block. All tasks run at once: the environment slots are
stepped together and one policy call serves them all, each slot naming the stack member that acts in it.
"""

from __future__ import annotations

import functools
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import torch

from waker.behaviour.player import chance_of, set_chance
from waker.collection.make_env import close, made
from waker.config.schema import EvalConfig
from waker.errors import UserError, unknown
from waker.evaluation.exact import Exact
from waker.evaluation.game import Game, NotRepeated, RewardFunction, Row
from waker.evaluation.pieces import Piece, Pieces
from waker.evaluation.plan import Episode, plan_episodes
from waker.protocols import Player
from waker.seeding import load_torch_state, torch_state
from waker.specs import EnvSpec
from waker_envs.api import ParametricEnv, ThetaSpace
from waker_envs.foreign import Failed, Told

__all__ = ["MakeEnv", "RewardFunction", "Row", "evaluate", "torch_seed"]

MakeEnv = Callable[..., ParametricEnv]


@contextmanager
def torch_seed(seed: int) -> Iterator[None]:
    """Torch's generators seeded inside, restored after: measuring never changes what training draws next."""
    devices = list(range(torch.cuda.device_count())) if torch.cuda.is_initialized() else []
    with torch.random.fork_rng(devices=devices), torch.no_grad():
        torch.manual_seed(seed)
        yield


def evaluate(
    player: Player,
    make_env: MakeEnv,
    spec: EnvSpec,
    space: ThetaSpace,
    config: EvalConfig,
    seed: int,
    tasks: Sequence[str],
    *,
    slots: int = 32,
    policy: str = "learned",
    rewards: Mapping[str, RewardFunction] | None = None,
    piece: Piece | None = None,
) -> list[Row]:
    """Play the DR suite and every other suite with every task's policy, by its modes or as ``config.actions`` says.

    In a family of several domains a task is played in its own alone: on DR restricted to it, and on its suites.

    Args:
        player: its ``names`` must hold every task.
        make_env: makes an environment, ``make_env(**env_kwargs)`` with a suite's own arguments.
        spec: of the environment.
        space: the family's parameters.
        config: how many episodes.
        seed: fixes every (θ, episode seed), the same for all tasks and players, and the policies' chance.
        tasks: to evaluate; names of the environment's tasks or of ``rewards``.
        slots: environments stepped together.
        policy: the rows' ``policy`` column, e.g. ``random`` for a reference.
        rewards: reward functions of tasks that the environment does not have.
        piece: what to go on from, and where to keep it when a signal comes; None = from the beginning.

    Returns:
        One row for each (episode, task): task, policy, suite, theta_id, theta_<name>…, episode_seed, return
        (undiscounted sum), exact_value (the same where neither policy nor episode has any chance left once it has
        begun, so that it is the policy's expected return; else NaN), completion (NaN if the environment reports none),
        optimal_return (NaN where it cannot be computed), length in agent steps.

    Raises:
        UserError: a task that the player or the environment does not have; an environment that fails.
        Paused: a signal has come.
    """
    rewards = rewards or {}
    for task in tasks:
        if task not in player.names:
            raise unknown("task", task, player.names)
        if task not in spec.tasks and task not in rewards:
            raise unknown("task", task, [*spec.tasks, *rewards])
    sampled = config.actions == "sampled"
    alike: dict[str, list[tuple[Episode, str]]] = {}  # jobs by what their environments are made with
    for domain in dict.fromkeys(map(spec.domain_of, tasks)):
        of_domain = [task for task in tasks if spec.domain_of(task) == domain]
        for episode in plan_episodes(space, config, seed, domain):
            made = alike.setdefault(repr(sorted(episode.env_kwargs.items())), [])
            made += [(episode, task) for task in of_domain]
    piece = piece or Pieces().piece("episodes")
    beginning = chance_of(player)
    how = (player, make_env, spec, space, list(alike.values()), seed, slots, rewards, policy)
    try:
        return _evaluate(*how, piece, sampled)
    except NotRepeated as difference:
        warnings.warn(f"{difference}; the evaluation begins anew", Told, stacklevel=2)
        piece.state = None
        set_chance(player, beginning)
        return _evaluate(*how, piece, sampled)


def _evaluate(
    player: Player,
    make_env: MakeEnv,
    spec: EnvSpec,
    space: ThetaSpace,
    alike: Sequence[Sequence[tuple[Episode, str]]],
    seed: int,
    slots: int,
    rewards: Mapping[str, RewardFunction],
    policy: str,
    piece: Piece,
    sampled: bool,
) -> list[Row]:
    """Play all jobs, those of one kind of environment after those of the other, from where ``piece`` was stopped."""
    state = piece.state or {"kind": 0, "rows": [], "playing": None}
    rows, exact = list(state["rows"]), Exact(spec)
    with torch_seed(seed):
        if piece.state is not None:
            load_torch_state(state["torch"])
            set_chance(player, state["chance"])
            exact.load_state_dict(state["exact"])
        for kind, jobs in enumerate(alike):
            if kind < state["kind"]:
                continue
            envs = environments(make_env, spec, jobs[0][0], min(slots, len(jobs)))
            game = Game(player, envs, spec, space, jobs, rewards, policy, exact, sampled)
            if kind == state["kind"] and state["playing"] is not None:
                game.restore(state["playing"])

            def snapshot(game: Game = game, kind: int = kind, rows: list[Row] = rows) -> dict[str, Any]:
                return {
                    "kind": kind,
                    "rows": rows,
                    "playing": game.state_dict(),
                    "torch": torch_state(),
                    "chance": chance_of(player),
                    "exact": exact.state_dict(),
                }

            try:
                while envs and game.running:
                    piece.tick(snapshot, game.progress)
                    game.step()
            finally:
                for env in envs:
                    close(env, spec.env_id)
            rows = [*rows, *game.rows]
    exact.tell()
    return rows


def environments(make_env: MakeEnv, spec: EnvSpec, episode: Episode, n: int) -> list[ParametricEnv]:
    """n environments for episodes like this one; none for a suite whose environments cannot be made, which is told.

    Raises:
        UserError: they cannot be made although they are those of training.
    """
    kwargs = episode.env_kwargs
    envs: list[ParametricEnv] = []
    try:
        for _ in range(n):
            envs.append(made(functools.partial(make_env, **kwargs), spec.env_id, kwargs))
    except BaseException as error:
        for env in envs:
            close(env, spec.env_id)
        if not kwargs or not isinstance(error, UserError):
            raise
        warnings.warn(f"suite {episode.suite!r} is left out: {error}", Failed, stacklevel=2)
        return []
    return envs
