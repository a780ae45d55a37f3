"""Environment slots as one thing: reset some, step others, all in one call.

The collector and evaluations are written against :class:`SlotGroup`; :func:`slot_group` makes it of slots in this
process, or of slots in worker processes (:mod:`waker.collection.worker_pool`). Both give the same numbers.
"""

from __future__ import annotations

import functools
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from waker.collection.episode import EnvironmentFailed, Episode, Play
from waker.collection.family import Family
from waker.collection.make_env import close, made
from waker.collection.slot import Slot, Step

Actions = Mapping[int, NDArray[np.float32]]
"""By slot, the agent's vector (A,)."""


class SlotGroup(ABC):
    """The slots, numbered from 0. A context manager that closes them."""

    @property
    def cpu_seconds(self) -> float:
        """Processor time that the environments have taken in processes other than this one."""
        return 0.0

    @property
    @abstractmethod
    def plays(self) -> Sequence[Play]:
        """Of each slot, its episode so far."""

    @abstractmethod
    def attempt(self, starts: Mapping[int, Episode], actions: Actions) -> dict[int, Step | EnvironmentFailed]:
        """:meth:`advance`, with failures beside the steps of the slots that did not fail."""

    @abstractmethod
    def close(self) -> None:
        """Close all environments."""

    def advance(self, starts: Mapping[int, Episode], actions: Actions) -> dict[int, Step]:
        """Reset the slots in ``starts`` and step the others that are in ``actions``.

        Args:
            starts: by slot, what it is reset to.
            actions: by slot; those of slots in ``starts`` are not used.

        Returns:
            By slot, in the order of their numbers, its step.

        Raises:
            EnvironmentFailed: of the first slot, in their order, that failed; other slots may have moved on.
        """
        steps = {}
        for i, found in self.attempt(starts, actions).items():
            if isinstance(found, EnvironmentFailed):
                raise found
            steps[i] = found
        return steps

    def replay(
        self,
        saved: Mapping[int, tuple[Episode, NDArray[np.float32]]],
        each: Callable[[int, Step], None] = lambda slot, step: None,
    ) -> dict[int, Step | EnvironmentFailed]:
        """Play saved episodes again.

        Args:
            saved: by slot, the episode and its actions (length, A).
            each: receives every step, the reset first.

        Returns:
            By slot, the last step of its episode, or why there is none.
        """
        found: dict[int, Step | EnvironmentFailed] = {}
        newest = self.attempt({i: episode for i, (episode, _) in saved.items()}, {})
        t = 0
        while newest:
            found |= newest
            steps = {i: step for i, step in newest.items() if isinstance(step, Step)}
            for i, step in steps.items():
                each(i, step)
            newest = self.attempt({}, {i: saved[i][1][t] for i in steps if t < len(saved[i][1])})
            t += 1
        return found

    def __enter__(self) -> SlotGroup:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class LocalSlots(SlotGroup):
    """Slots in this process, one after the other."""

    def __init__(self, family: Family, slots: int, env_kwargs: Mapping[str, Any], raw: bool) -> None:
        self._slots: list[Slot] = []
        try:
            for _ in range(slots):
                env = made(functools.partial(family.make, **env_kwargs), family.spec.env_id, env_kwargs)
                self._slots.append(Slot(env, family.spec, raw))
        except BaseException:
            self.close()
            raise

    @property
    def plays(self) -> Sequence[Play]:
        return [slot.play for slot in self._slots]

    def attempt(self, starts: Mapping[int, Episode], actions: Actions) -> dict[int, Step | EnvironmentFailed]:
        found: dict[int, Step | EnvironmentFailed] = {}
        for i in sorted({*starts, *actions}):
            slot = self._slots[i]
            try:
                found[i] = slot.reset(starts[i]) if i in starts else slot.step(actions[i])
            except EnvironmentFailed as failure:
                found[i] = failure
        return found

    def close(self) -> None:
        for slot in self._slots:
            close(slot.env, slot.spec.env_id)


def slot_group(
    family: Family, slots: int, processes: int = 0, env_kwargs: Mapping[str, Any] | None = None, raw: bool = False
) -> SlotGroup:
    """Make slots.

    Args:
        family: of the environments.
        slots: how many.
        processes: worker processes that they are dealt to; 0 = in this one.
        env_kwargs: constructor arguments beyond the family's own.
        raw: keep the environments' own observations in :attr:`~waker.collection.slot.Step.raw`.

    Raises:
        UserError: an environment cannot be made, or the workers cannot be started.
    """
    if processes == 0:
        return LocalSlots(family, slots, env_kwargs or {}, raw)
    from waker.collection.worker_pool import SlotProcesses  # imports multiprocessing, which few runs need

    return SlotProcesses(family, slots, processes, env_kwargs or {}, raw)
