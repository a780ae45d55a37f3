"""All environment slots of a collector as one thing: reset some, step the others, all in one call.

The collector is written against :class:`SlotGroup`; :func:`slot_group` makes it of slots in this process, or of slots
in worker processes (:mod:`waker.collection.worker_pool`). Both give the same numbers.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from waker.collection.make_env import close, made
from waker.collection.slot import EnvironmentFailed, Episode, MakeEnv, Slot, Step
from waker.specs import EnvSpec

Start = tuple[NDArray[np.float64], int, int]
"""θ (D,), its id and the episode's seed: what a slot is reset to."""


class SlotGroup(Protocol):
    """The slots, numbered from 0."""

    @property
    def episodes(self) -> Sequence[Episode]:
        """Of each slot, the episode under way."""

    @property
    def cpu_seconds(self) -> float:
        """Processor time that the environments have taken in processes other than this one."""

    def advance(self, starts: Mapping[int, Start], actions: NDArray[np.float32]) -> list[Step]:
        """Reset the slots in ``starts`` and step all others.

        Args:
            starts: by slot.
            actions: the agent's vectors (slots, A); those of slots in ``starts`` are not used.

        Returns:
            Of each slot, its step.

        Raises:
            EnvironmentFailed: of the first slot, in their order, that failed; other slots may have moved on.
        """

    def rebuild(self, states: Mapping[int, Mapping[str, Any]]) -> dict[int, Step | EnvironmentFailed]:
        """Play saved episodes again.

        Args:
            states: by slot, of :meth:`~waker.collection.slot.Episode.state_dict`.

        Returns:
            By slot, the last step of its episode, or why there is none.
        """

    def close(self) -> None:
        """Close all environments."""


class LocalSlots:
    """Slots in this process, one after the other."""

    cpu_seconds = 0.0

    def __init__(self, make_env: MakeEnv, spec: EnvSpec, slots: int) -> None:
        self._spec = spec
        self._slots: list[Slot] = []
        try:
            for _ in range(slots):
                self._slots.append(Slot(made(make_env, spec.env_id), spec))
        except BaseException:
            self.close()
            raise

    @property
    def episodes(self) -> Sequence[Episode]:
        """See :class:`SlotGroup`, as for all below."""
        return [slot.episode for slot in self._slots]

    def advance(self, starts: Mapping[int, Start], actions: NDArray[np.float32]) -> list[Step]:
        return [slot.reset(*starts[i]) if i in starts else slot.step(actions[i]) for i, slot in enumerate(self._slots)]

    def rebuild(self, states: Mapping[int, Mapping[str, Any]]) -> dict[int, Step | EnvironmentFailed]:
        found: dict[int, Step | EnvironmentFailed] = {}
        for i, state in states.items():
            try:
                found[i] = self._slots[i].rebuild(state)
            except EnvironmentFailed as failure:
                found[i] = failure
        return found

    def close(self) -> None:
        for slot in self._slots:
            close(slot.env, self._spec.env_id)


def slot_group(make_env: MakeEnv, spec: EnvSpec, slots: int, processes: int) -> SlotGroup:
    """Slots in so many worker processes; 0 = in this one.

    Raises:
        UserError: an environment cannot be made, or the workers cannot be started.
    """
    if processes == 0:
        return LocalSlots(make_env, spec, slots)
    from waker.collection.worker_pool import SlotProcesses  # imports multiprocessing, which few runs need

    return SlotProcesses(make_env, spec, slots, processes)
