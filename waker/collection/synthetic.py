"""A replay of arbitrary numbers, for what does not depend on them: costs of updates, counted or timed."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from waker.model.observations import kind_of
from waker.replay.ring import Replay, record_fields
from waker.specs import EnvSpec

_EPISODE = 100
"""Steps of a synthetic episode."""


def synthetic_records(spec: EnvSpec, steps: int, thetas: int, rng: np.random.Generator) -> dict[str, NDArray[Any]]:
    """``steps`` records of one slot, name → (steps, …): arbitrary numbers, one θ an episode, ends inside."""
    at = np.arange(steps)
    records: dict[str, NDArray[Any]] = {}
    for key in spec.observation:
        records[key.name] = kind_of(key).synthetic(rng, steps)
    records["action"] = spec.action.random(rng, steps)
    records["task_rewards"] = rng.random((steps, len(spec.tasks)), dtype=np.float32)
    records["theta_id"] = rng.integers(thetas, size=steps // _EPISODE + 1)[at // _EPISODE].astype(np.int32)
    records["is_first"], records["is_last"] = at % _EPISODE == 0, at % _EPISODE == _EPISODE - 1
    records["is_terminal"] = records["is_last"] & (at // _EPISODE % 2 == 1)
    return records


def synthetic_replay(spec: EnvSpec, slots: int, steps: int, thetas: int, seed: int = 0) -> Replay:
    """A full replay of ``steps`` records in all."""
    replay, rng = Replay(record_fields(spec), slots, steps), np.random.default_rng(seed)
    per_slot = [synthetic_records(spec, replay.size, thetas, rng) for _ in range(slots)]
    replay.fill(0, {name: np.stack([records[name] for records in per_slot]) for name in per_slot[0]})
    return replay
