"""Adapted policies, whatever they were adapted by, and how a saved state is loaded into fresh ones."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Protocol, TypeVar

from waker.behaviour.actor_critic import ActorCriticStack
from waker.evaluation.pieces import subject_of
from waker.protocols import Player
from waker.storage.checkpoint import Checkpoints
from waker.storage.state_shapes import check_fit
from waker.training.loading import LoadedRun


class Adapted(Protocol):
    """Adapted policies, whatever they were adapted by."""

    tasks: tuple[str, ...]
    updates: int

    @property
    def policies(self) -> ActorCriticStack: ...

    def player(self) -> Player: ...

    def state_dict(self) -> dict[str, Any]: ...

    def load_state_dict(self, state: Mapping[str, Any]) -> None: ...


A = TypeVar("A", bound=Adapted)


def digest_of(adapter: Adapted) -> str:
    """What tells a policy from the same one trained anew or further: the first 64 bits of a digest of its state."""
    return subject_of(adapter.state_dict())[:16]


def load_into(adapter: A, loaded: LoadedRun, folder: Path, note: Callable[[str], None]) -> A | None:
    """Fresh policies with the state of one adapted folder; None where no checkpoint has been saved yet."""

    def use(state: dict[str, Any]) -> bool:
        check_fit(state["adapter"], adapter.state_dict(), "policies")
        adapter.load_state_dict(state["adapter"])
        return True

    checkpoints = Checkpoints(folder / "checkpoints", loaded.config.train.keep)
    return adapter if checkpoints.newest(use, note) else None
