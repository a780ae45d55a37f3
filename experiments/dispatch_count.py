"""How many operations an update dispatches: ``python -m experiments.dispatch_count`` prints the table.

Agents are built at their preset's full size on torch's ``meta`` device: nothing is computed, so it takes seconds, and
whatever would have to read a value back to the host raises. The counts must not depend on the number K of tasks nor
on the number E of ensemble heads.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import torch

from tests.helpers.tiny_learner import tiny_batch
from waker.agent.agent import Agent
from waker.config.presets import preset
from waker.config.schema import Config
from waker.machine.operations import OperationCounter
from waker.specs import ActionSpec, EnvSpec, ObservationKey

IMAGE = ObservationKey("image", "image", (64, 64, 3), "uint8")
CELLS = ObservationKey("cells", "categorical", (51,), "uint8", (4,) * 49 + (7, 7))


def meta_agent(config: Config, key: ObservationKey, *, discrete: bool, after: bool, tasks: int, heads: int) -> Agent:
    """An agent on the meta device."""
    action = ActionSpec(4, True) if discrete else ActionSpec(6, False, (-1.0,) * 6, (1.0,) * 6)
    spec = EnvSpec("waker/Meta-v0", (key,), action, tuple(f"task{k}" for k in range(tasks)))
    train = replace(config.train, task_policies="after" if after else "online", adapt_heads=0)
    config = replace(config, explorer=replace(config.explorer, heads=heads), train=train)
    with torch.device("meta"):
        return Agent(spec, config, "meta")


def count(
    recipe: str,
    key: ObservationKey,
    *,
    discrete: bool,
    after: bool,
    tasks: int,
    heads: int,
    shape: tuple[int, int] | None = None,
    horizon: int | None = None,
) -> int:
    """Operations of one update; with ``after``, of one update of the adapter.

    Args:
        shape: sequences B and steps T of the batch; None = the preset's.
        horizon: imagined steps; None = the preset's.
    """
    config = preset(recipe)
    behaviour = replace(config.behaviour, horizon=horizon or config.behaviour.horizon)
    agent = meta_agent(
        replace(config, behaviour=behaviour), key, discrete=discrete, after=after, tasks=tasks, heads=heads
    )
    train = agent.config.train
    b, t = shape or (train.batch, train.length)
    batch = {k: v.to("meta") for k, v in tiny_batch(agent.spec, b, t).items()}
    if after:
        agent.start_adaptation()
    with OperationCounter() as counter:
        if after:
            agent.adapt_update(batch)
        else:
            agent.update(batch)
    return counter.operations


CASES: dict[str, dict[str, Any]] = {
    "laptop, cells, discrete, update": {"recipe": "laptop", "key": CELLS, "discrete": True, "after": False},
    "laptop, cells, discrete, adapt": {"recipe": "laptop", "key": CELLS, "discrete": True, "after": True},
    "default, image, discrete, update": {"recipe": "default", "key": IMAGE, "discrete": True, "after": False},
    "paper, image, continuous, update": {"recipe": "paper", "key": IMAGE, "discrete": False, "after": False},
    "paper, image, continuous, adapt": {"recipe": "paper", "key": IMAGE, "discrete": False, "after": True},
}
"""Preset, observation and action kind of the table's rows."""


def table(case: str, **sizes: Any) -> dict[str, int]:
    """Counts of one row: K = 1 and 5 tasks (with 10 heads), and 2 and 10 heads (with 5 tasks).

    Args:
        sizes: ``shape`` and ``horizon`` of :func:`count`.
    """
    settings = {**CASES[case], **sizes}
    both = count(**settings, tasks=5, heads=10)
    return {
        "K=1": count(**settings, tasks=1, heads=10),
        "K=5": both,
        "E=2": count(**settings, tasks=5, heads=2),
        "E=10": both,
    }


def main() -> None:
    """Print every row."""
    print(f"{'operations dispatched':36s}{'K=1':>8s}{'K=5':>8s}{'growth':>9s}{'E=2':>9s}{'E=10':>8s}{'growth':>9s}")
    for case in CASES:
        row = table(case)
        by_tasks, by_heads = row["K=5"] / row["K=1"] - 1, row["E=10"] / row["E=2"] - 1
        print(f"{case:36s}{row['K=1']:8,}{row['K=5']:8,}{by_tasks:9.2%}{row['E=2']:9,}{row['E=10']:8,}{by_heads:9.2%}")


if __name__ == "__main__":
    main()
