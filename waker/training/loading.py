"""From a run folder back to its agent: what is evaluated, adapted, or acts as a reference.

Called by :mod:`waker.cli`, :mod:`waker.training.adapt` and :mod:`waker.training.reference`.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch

from waker.agent.agent import Agent
from waker.collection.family import Family
from waker.config.schema import Config
from waker.errors import UserError
from waker.machine import arithmetic
from waker.machine.device import checked_device, use_threads
from waker.protocols import Player
from waker.replay.ring import Replay, record_fields
from waker.replay.store import ReplayStore
from waker.storage.checkpoint import Checkpoints
from waker.storage.run_folder import RunFolder, read_config, read_record
from waker.storage.run_search import is_kept_rows
from waker.storage.state_shapes import check_fit
from waker.terminal.notices import tell_loss
from waker.training import memory_needs


def task_player(agent: Agent) -> Player | None:
    """The agent's task policies, or None where they have not been trained yet."""
    if agent.config.train.task_policies == "after" and agent.adapter is None:
        return None
    return agent.task_player()


def recorded_arithmetic(folder: Path) -> Mapping[str, Any]:
    """What the run of a folder was last computed with (:func:`waker.machine.arithmetic.settle`)."""
    recorded = read_record(folder).get("arithmetic")
    return recorded if isinstance(recorded, dict) and "products" in recorded else arithmetic.EARLIER


def with_free_products(config: Config) -> Config:
    """The configuration for what has no setting of who multiplies: as recorded, or else whatever is fastest."""
    return dataclasses.replace(config, train=dataclasses.replace(config.train, products="auto"))


@dataclasses.dataclass(frozen=True)
class LoadedRun:
    """A run folder's newest checkpoint, ready to be evaluated or adapted.

    Attributes:
        run: the folder, with the settings of the run (and the device asked for).
        state: of the checkpoint: ``updates``, ``adapted``, ``collector`` with the agent steps, ``replay``, …
    """

    run: RunFolder
    family: Family
    agent: Agent
    state: dict[str, Any]

    @property
    def config(self) -> Config:
        """The run's settings."""
        return self.run.config

    @property
    def step(self) -> int:
        """Agent steps made until the checkpoint."""
        return int(self.state["collector"]["step"])

    @property
    def updates(self) -> int:
        """Updates of everything until the checkpoint."""
        return int(self.state["updates"])

    def replay(self, note: Callable[[str], None]) -> Replay:
        """The run's replay as the checkpoint knows it; hold the folder's lock.

        Args:
            note: told of chunks that are damaged or missing, and left out (``lost`` of the replay).

        Raises:
            ReplayLost: not enough of it is left for a window.
        """
        train = self.config.train
        replay = Replay(record_fields(self.family.spec), train.envs, train.replay, self.run.path / "replay")
        store = ReplayStore(self.run.path / "replay", replay)
        for told in store.resume(self.state["replay"], train.length, without_damaged=True):
            tell_loss(note, told)
        return replay


def without_checkpoint(folder: Path) -> str:
    """What to say of a run folder that has none: its run has not saved yet, or these are rows that a study keeps."""
    if is_kept_rows(folder):
        return (
            "holds kept rows alone: name the run's own folder; where `waker sweep --keep rows` deleted it, the run's "
            "checkpoint is gone"
        )
    return "has no checkpoint yet: run `waker train` first"


def load_run(folder: Path, note: Callable[[str], None], device: str | None = None, settle: bool = True) -> LoadedRun:
    """Load the newest whole checkpoint of a run folder; tensors only, no code of the checkpoint's is run.

    Args:
        folder: a run folder.
        note: told in one line of a damaged checkpoint that is passed over, and of what is computed with that the run
            was not.
        device: None = the run's own.
        settle: multiply as the run was last computed; False = whoever goes on with it has settled that, or will.

    Raises:
        UserError: no run folder, no checkpoint, none that is whole, or an environment that has changed since.
    """
    config = read_config(folder)
    config = dataclasses.replace(config, device=checked_device(device or config.device))
    if torch.device(config.device).type == "cpu":  # what is fast on a GPU takes many times as long here
        config = dataclasses.replace(config, train=dataclasses.replace(config.train, compile="off", precision="fp32"))
    use_threads(config.device)
    if settle:
        for change in arithmetic.settle(with_free_products(config), recorded_arithmetic(folder), advise=False)[1]:
            note(change)
    family = Family.of(config)
    family.check_unchanged(folder)
    memory_needs.check_fits(memory_needs.weights(config, family.spec), config.device)
    agent = Agent(family.spec, config)

    def use(state: dict[str, Any]) -> dict[str, Any]:
        check_fit(state["agent"], agent.state_dict(), "agent")
        agent.load_state_dict(state["agent"])
        return state

    state = Checkpoints(folder / "checkpoints", config.train.keep).newest(use, note)
    if state is None:
        raise UserError(f"{folder} {without_checkpoint(folder)}")
    return LoadedRun(RunFolder(folder, config), family, agent, state)
