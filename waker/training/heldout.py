"""Episodes kept out of training, to measure the model on again and again. Made by :mod:`waker.training.recording`.

The newest of every θ are kept, as many as the curriculum asks for (``Needs.heldout_each``), and of all together as many
as fit into :data:`MOST_BYTES`, as checkpoints hold them all. Where they do not fit, the θ with the most episodes gives
up its oldest one, of equals the θ whose oldest is older.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from waker.collection.episode import Episode
from waker.collection.replay_gate import Finished

UNNUMBERED = 64
"""Episodes kept in a continuous space, where θ without a number count as one."""
MOST_BYTES = 64 << 20
"""64 MiB."""


class Heldout:
    """The store, in the order in which episodes ended.

    Args:
        each: episodes of a θ.
        most_bytes: of all.
    """

    def __init__(self, each: int = 4, most_bytes: int = MOST_BYTES) -> None:
        self._each, self._most = each, most_bytes
        self._held: list[Finished] = []

    def __len__(self) -> int:
        return len(self._held)

    def __iter__(self) -> Iterator[Finished]:
        return iter(list(self._held))

    def add(self, finished: Finished) -> None:
        """Keep an episode, at the cost of older ones; one that is too large by itself is not kept."""
        if _bytes(finished) > self._most:
            return
        theta_id = finished.episode.theta_id
        self._held.append(finished)
        if self.count(theta_id) > (UNNUMBERED if theta_id < 0 else self._each):
            self._drop(theta_id)
        while self.bytes > self._most:
            counts = Counter(held.episode.theta_id for held in self._held)
            self._drop(max(counts, key=lambda i: counts[i]))  # of equals the first in the store

    def count(self, theta_id: int) -> int:
        """How many there are of a θ."""
        return sum(held.episode.theta_id == theta_id for held in self._held)

    def _drop(self, theta_id: int) -> None:
        """Give up the oldest episode of a θ."""
        at = next(i for i, held in enumerate(self._held) if held.episode.theta_id == theta_id)
        del self._held[at]

    @property
    def bytes(self) -> int:
        """What the records take."""
        return sum(_bytes(held) for held in self._held)

    def state_dict(self) -> dict[str, Any]:
        """All episodes."""
        return {"episodes": [_plain(held) for held in self._held]}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore them."""
        self._held = [_finished(one) for one in state["episodes"]]


def _bytes(held: Finished) -> int:
    return sum(array.nbytes for array in held.records.values())


def _plain(held: Finished) -> dict[str, Any]:
    episode = held.episode
    named = {"theta": np.array(episode.theta), "theta_id": episode.theta_id, "seed": episode.seed}
    return {**named, "records": dict(held.records), "completion": held.completion}


def _finished(state: Mapping[str, Any]) -> Finished:
    episode = Episode(np.asarray(state["theta"], np.float64), int(state["theta_id"]), int(state["seed"]))
    records = {name: np.asarray(array) for name, array in state["records"].items()}
    return Finished(episode, "heldout", records, np.asarray(state["completion"], np.float64))
