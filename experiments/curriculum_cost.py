"""What an update and a draw cost every sampler over very many θ, amortised: ``python -m experiments.curriculum_cost``.

Prints milliseconds of processor time per update (its record, its credits, and one episode with its draw in every
``--episode-every`` updates), for one thread, and how much of it is the learner's made-up records (subtracted).
"""

from __future__ import annotations

import argparse
import time
from typing import Any

import numpy as np

from waker.curriculum import CurriculumConfig, Evident, curriculum_names, make_curriculum
from waker.curriculum.evidence import NOTHING, EpisodeEvidence, Evidence
from waker_envs.api import FiniteThetaSpace, Parameter

N, H, T, F, S = 800, 15, 100, 64, 5
LEFT_OUT = ("alp-gmm", "hardest-oracle", "reweighting-oracle")
"""Of a box, or without a score."""


def of_all(size: int, rng: np.random.Generator) -> Evidence:
    """One update about every θ, after which each has a score by what updates tell."""
    ids, numbers = np.arange(size), ("disagreement", "loss", "transition_loss", "excess")
    some = ids[:64]
    return Evidence(
        step=0, theta_id=ids, rewards=rng.exponential(size=(size, 1)), values=rng.exponential(size=(size, 2)),
        returns=rng.exponential(size=(size, 1)), gradients=rng.normal(size=(len(some), 2, 1_000)), gradients_id=some,
        sampled_returns=rng.exponential(size=(size, S)), sampled_returns_id=ids,
        **{name: rng.exponential(size=size) for name in numbers},
    )  # fmt: skip


def records(size: int, rng: np.random.Generator) -> tuple[list[Evidence], list[EpisodeEvidence]]:
    """Some updates and episodes with every field."""
    updates = []
    for _ in range(8):
        ids = rng.integers(size, size=16).repeat(N // 16)
        present = np.unique(ids)
        numbers = {name: rng.exponential(size=N) for name in ("disagreement", "loss", "transition_loss", "excess")}
        updates.append(
            Evidence(
                step=0, theta_id=ids, rewards=rng.exponential(size=(N, H)), values=rng.exponential(size=(N, H + 1)),
                returns=rng.exponential(size=(N, H)), gradients=rng.normal(size=(len(present), 2, 1_000)),
                gradients_id=present, sampled_returns=rng.exponential(size=(16, S)), sampled_returns_id=ids[::50],
                **numbers,
            )
        )  # fmt: skip
    episodes = []
    for _ in range(64):
        names = ("disagreement", "loss", "transition_loss", "excess", "rewards")
        numbers = {n: rng.exponential(size=T) for n in names}
        episodes.append(
            EpisodeEvidence(
                step=0, theta=np.zeros(2), theta_id=int(rng.integers(size)), steps=T,
                values=rng.exponential(size=T + 1), features=rng.normal(size=(T, F)), success=float(rng.random() < 0.5),
                task_rewards=rng.exponential(size=T), task_values=rng.exponential(size=T + 1), **numbers,
            )
        )  # fmt: skip
    return updates, episodes


def cost(name: str, size: int, updates: int, every: int) -> float:
    """Milliseconds per update."""
    side = int(np.ceil(np.sqrt(size)))
    points = np.stack(divmod(np.arange(float(size)), side), 1)
    space = FiniteThetaSpace([Parameter("row", ""), Parameter("column", "")], points)
    rng = np.random.default_rng(0)
    curriculum: Any = make_curriculum(name, space, CurriculumConfig(reduction_start=0), rng)
    made, episodes = records(size, rng)
    wanted = curriculum.needs if isinstance(curriculum, Evident) else NOTHING
    curriculum.observe(np.arange(size), rng.exponential(size=size), 0)
    if wanted.update:
        curriculum.learn(of_all(size, rng))

    def update(k: int) -> None:
        record, episode = made[k % len(made)], episodes[k // every % len(episodes)]
        if wanted.update and k % wanted.every == 0:
            curriculum.learn(record)
        curriculum.observe(record.theta_id, record.disagreement, k)
        if k % every == 0:
            if wanted.episode:
                curriculum.learn_episode(episode)
            curriculum.sample(1)

    for k in range(every + 1):
        update(k)
    began = time.process_time()
    for k in range(updates):
        update(k)
    return 1e3 * (time.process_time() - began) / updates


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--thetas", type=int, default=100_000)
    parser.add_argument("--updates", type=int, default=1_000)
    parser.add_argument("--episode-every", type=int, default=50, help="updates between two episodes")
    parser.add_argument("samplers", nargs="*", default=[n for n in curriculum_names() if n not in LEFT_OUT])
    given = parser.parse_args()
    print(f"{given.thetas:,} θ, {N} start states, an episode every {given.episode_every} updates")
    for name in given.samplers:
        print(
            f"{name:20s} {cost(name, given.thetas, given.updates, given.episode_every):8.3f} ms an update", flush=True
        )


if __name__ == "__main__":
    main()
