"""What it costs the learner to measure what samplers read: ``python -m experiments.records_cost``.

Prints processor milliseconds on one thread, with a preset on its family: an update without records and what each kind
of by-product adds to it; what is measured apart; and the record of one episode. Medians over ``--repeats``.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import torch

from waker.agent.agent import Agent
from waker.collection.family import Family
from waker.config.presets import preset
from waker.replay.ring import record_fields

BY_PRODUCTS: dict[str, tuple[str, ...]] = {
    "nothing": (),
    "loss, transition_loss": ("loss", "transition_loss"),
    "rewards, values, returns": ("rewards", "values", "returns"),
}
OF_EPISODES = ("loss", "transition_loss", "disagreement", "rewards", "values", "features")


def made_up(family: Family, shape: tuple[int, ...], rng: np.random.Generator) -> dict[str, Any]:
    """Records of this shape that look like an episode's, all in θ 0 … shape[0] − 1."""
    records: dict[str, Any] = {n: np.zeros((*shape, *s), t) for n, (s, t) in record_fields(family.spec).items()}
    records["action"] = family.spec.action.random(rng, int(np.prod(shape))).reshape(records["action"].shape)
    records["is_first"][..., 0] = True
    records["theta_id"] += np.arange(shape[0], dtype=np.int32)[:, None] if len(shape) == 2 else 0
    return records


def milliseconds(work: Callable[[], object], repeats: int) -> float:
    """Median processor time of one call, after one to warm up."""
    work()
    found = []
    for _ in range(repeats):
        began = time.process_time()
        work()
        found.append(1e3 * (time.process_time() - began))
    return statistics.median(found)


def main(argv: list[str] | None = None) -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--preset", default="laptop")
    parser.add_argument("--env", default="GridHazards")
    parser.add_argument("--steps", type=int, default=20, help="of the episode")
    parser.add_argument("--repeats", type=int, default=15)
    given = parser.parse_args(argv)
    torch.set_num_threads(1)
    config = preset(given.preset).with_(env=given.env)
    family, rng = Family.of(config), np.random.default_rng(0)
    train = config.train
    batch = {n: torch.as_tensor(x) for n, x in made_up(family, (train.batch, train.length), rng).items()}
    episode = made_up(family, (given.steps + 1,), rng)
    rows: dict[str, float] = {}
    for name, fields in BY_PRODUCTS.items():
        torch.manual_seed(0)
        agent = Agent(family.spec, config)
        agent.measure(fields)
        rows[f"an update that measures {name}"] = milliseconds(lambda agent=agent: agent.update(batch), given.repeats)
    maker = agent.evidence
    for field in ("gradients", "sampled_returns"):
        rows[f"{field}, each time"] = milliseconds(lambda f=field: maker.apart({f}, batch, 0), given.repeats)
    one = milliseconds(lambda: maker.of_episode(OF_EPISODES, episode, 0), given.repeats)
    rows[f"an episode of {given.steps} steps, all fields"] = one
    for name, value in rows.items():
        print(f"{value:8.1f} ms  {name}")


if __name__ == "__main__":
    main()
