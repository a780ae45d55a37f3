"""Episodes kept out of training, to measure the model on again and again. Made by :mod:`waker.training.recording`.

The newest :data:`EACH` of every θ are kept, and of all together as many as fit into :data:`MOST_BYTES`, as checkpoints
hold them all. The oldest go first.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from waker.collection.episode import Episode
from waker.collection.replay_gate import Finished

EACH = 4
"""Episodes of a θ; in a continuous space the episodes of any θ without a number count as of one, :data:`UNNUMBERED`."""
UNNUMBERED = 64
MOST_BYTES = 64 << 20
"""64 MiB."""


class Heldout:
    """The store, in the order in which episodes ended."""

    def __init__(self, most_bytes: int = MOST_BYTES) -> None:
        self._most = most_bytes
        self._held: list[Finished] = []

    def __len__(self) -> int:
        return len(self._held)

    def __iter__(self) -> Iterator[Finished]:
        return iter(list(self._held))

    def add(self, finished: Finished) -> None:
        """Keep an episode, at the cost of older ones; one that is too large by itself is not kept."""
        theta_id = finished.episode.theta_id
        self._held.append(finished)
        of_theta = [held for held in self._held if held.episode.theta_id == theta_id]
        for old in of_theta[: -(UNNUMBERED if theta_id < 0 else EACH)]:
            self._drop(old)
        while self._held and self.bytes > self._most:
            self._drop(self._held[0])

    def _drop(self, old: Finished) -> None:
        self._held = [held for held in self._held if held is not old]

    @property
    def bytes(self) -> int:
        """What the records take."""
        return sum(array.nbytes for held in self._held for array in held.records.values())

    def state_dict(self) -> dict[str, Any]:
        """All episodes."""
        return {"episodes": [_plain(held) for held in self._held]}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore them."""
        self._held = [_finished(one) for one in state["episodes"]]


def _plain(held: Finished) -> dict[str, Any]:
    episode = held.episode
    named = {"theta": np.array(episode.theta), "theta_id": episode.theta_id, "seed": episode.seed}
    return {**named, "records": dict(held.records), "completion": held.completion}


def _finished(state: Mapping[str, Any]) -> Finished:
    episode = Episode(np.asarray(state["theta"], np.float64), int(state["theta_id"]), int(state["seed"]))
    records = {name: np.asarray(array) for name, array in state["records"].items()}
    return Finished(episode, "heldout", records, np.asarray(state["completion"], np.float64))
