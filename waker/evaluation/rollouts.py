"""Episodes of task policies over domain randomisation and the suites, as tidy rows.

Called by ``waker evaluate`` and by the loop's evaluation block. All tasks run at once: the environment slots are
stepped together and one policy call serves them all, each slot naming the stack member that acts in it.
"""

from __future__ import annotations

import functools
import warnings
from collections.abc import Mapping, Sequence
from typing import Any

from waker.behaviour.player import chance_of, set_chance
from waker.collection.slot_group import slot_group
from waker.errors import unknown
from waker.evaluation.exact import Exact, unless_left_out
from waker.evaluation.game import Game, Job, NotRepeated, RewardFunction
from waker.evaluation.pieces import Piece, Pieces
from waker.evaluation.plan import plan_episodes
from waker.evaluation.setup import Setup
from waker.protocols import Player
from waker.seeding import load_torch_state, torch_seed, torch_state
from waker.storage.tables import Row
from waker_envs.foreign import Told


def evaluate(
    setup: Setup,
    player: Player,
    tasks: Sequence[str],
    *,
    slots: int = 32,
    policy: str = "learned",
    rewards: Mapping[str, RewardFunction] | None = None,
    judged: Mapping[str, str] | None = None,
    piece: Piece | None = None,
) -> list[Row]:
    """Play the DR suite and every other suite with every task's policy, by its modes or as the configuration says.

    In a family of several domains a task is played in its own alone: on DR restricted to it, and on its suites.

    Args:
        setup: its seed fixes every (θ, episode seed), the same for all tasks and players, and the policies' chance.
        player: its ``names`` must hold every task.
        tasks: to evaluate; names of the environment's tasks, of ``rewards`` or of ``judged``.
        slots: environments stepped together.
        policy: the rows' ``policy`` column, e.g. ``random`` for a reference.
        rewards: reward functions of tasks that the environment does not have.
        judged: tasks that are judged by one of the environment's: return, completion and optimum are of that one.
        piece: what to continue from, and where to keep it when a signal comes; None = from the beginning.

    Returns:
        One row for each (episode, task): task, policy, suite, theta_id, theta_<name>…, episode_seed, return
        (undiscounted sum), exact_value (the same where neither policy nor episode has any chance left once it has
        begun, so that it is the policy's expected return; else NaN), completion (NaN if the environment reports none),
        optimal_return (NaN where it cannot be computed), length in agent steps.

    Raises:
        UserError: a task that the player or the environment does not have; an environment that fails.
        Paused: a signal has come.
    """
    family, rewards, judged = setup.family, rewards or {}, judged or {}
    piece = piece or Pieces().piece("episodes")
    sampled = setup.config.actions == "sampled"
    for task in tasks:
        if task not in player.names:
            raise unknown("task", task, player.names)
        if judged.get(task, task) not in family.spec.tasks and task not in rewards:
            raise unknown("task", judged.get(task, task), [*family.spec.tasks, *rewards])
    jobs, beginning = _jobs(setup, tasks, judged), chance_of(player)

    def play(state: Mapping[str, Any] | None) -> list[Row]:
        """All jobs, those of one kind of environment after those of the other, from where they were stopped."""
        at = state or {"kind": 0, "rows": [], "playing": None}
        rows = list(at["rows"])
        with torch_seed(setup.seed), Exact(family) as exact:
            if state is not None:
                load_torch_state(state["torch"])
                set_chance(player, state["chance"])
                exact.load_state_dict(state["exact"])
            for kind in range(at["kind"], len(jobs)):
                episode, n = jobs[kind][0][0], min(slots, len(jobs[kind]))
                make = functools.partial(slot_group, family, n, setup.processes, episode.env_kwargs)
                group = unless_left_out(episode, make)
                if group is None:
                    continue
                with group:
                    game = Game(player, family, group, jobs[kind], rewards, policy, exact, sampled, judged)
                    if kind == at["kind"] and at["playing"] is not None:
                        game.restore(at["playing"])

                    def snapshot(game: Game = game, kind: int = kind, rows: list[Row] = rows) -> dict[str, Any]:
                        return {
                            "kind": kind,
                            "rows": rows,
                            "playing": game.state_dict(),
                            "torch": torch_state(),
                            "chance": chance_of(player),
                            "exact": exact.state_dict(),
                        }

                    while game.running:
                        piece.tick(snapshot, game.progress)
                        game.step()
                rows = [*rows, *game.rows]
        return rows

    try:
        return play(piece.state)
    except NotRepeated as difference:
        warnings.warn(f"{difference}; the evaluation begins anew", Told, stacklevel=2)
        piece.state = None
        set_chance(player, beginning)
        return play(None)


def _jobs(setup: Setup, tasks: Sequence[str], judged: Mapping[str, str]) -> list[list[Job]]:
    """What is to be played, by kind of environment."""
    spec = setup.family.spec
    jobs: dict[str, list[Job]] = {}
    domains = {task: spec.domain_of(judged.get(task, task)) for task in tasks}
    for domain in dict.fromkeys(domains.values()):
        of_domain = [task for task in tasks if domains[task] == domain]
        for episode in plan_episodes(setup.family, setup.config, setup.seed, domain):
            jobs.setdefault(episode.kind, []).extend((episode, task) for task in of_domain)
    return list(jobs.values())
