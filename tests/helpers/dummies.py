"""A learner of a few numbers for tests of the runtime: it has everything that a resume can get wrong.

Weights, an optimiser with momentum, a recurrent player, sampled actions and noise in the update: whatever of these
a checkpoint forgot would change every later number.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from tests.helpers.families import family_of
from waker.config.schema import Config, EvalConfig, TrainConfig
from waker.curriculum import CurriculumConfig, Wanted, make_curriculum
from waker.evaluation.records import Measurement
from waker.protocols import Learner, Player, PlayerState
from waker.specs import EnvSpec
from waker.storage.run_folder import RunFolder, run_folder
from waker.terminal.progress import Progress
from waker.training.loop import Outcome, train
from waker.training.parts import Parts
from waker_envs.testing import HardTheta

NAMES = ("left", "right", "explorer")


class Credit(NamedTuple):
    theta_id: Tensor
    error: Tensor


class DummyPlayer:
    def __init__(self, agent: DummyAgent) -> None:
        self.agent = agent

    @property
    def names(self) -> tuple[str, ...]:
        return NAMES

    def initial(self, n: int) -> PlayerState:
        return {"memory": torch.zeros(n, 2)}

    def act(
        self,
        observation: Mapping[str, NDArray[Any]],
        is_first: NDArray[np.bool_],
        state: PlayerState,
        member: NDArray[np.int64],
        deterministic: bool,
    ) -> tuple[NDArray[np.float32], PlayerState]:
        assert (member == NAMES.index("explorer")).all()
        memory = torch.where(torch.from_numpy(is_first)[:, None], 0.0, state["memory"])
        memory = 0.5 * memory + torch.from_numpy(observation["observation"])
        with torch.no_grad():
            action = torch.tanh(self.agent.net(memory) + torch.randn(len(is_first), 1))
        return action.numpy(), {"memory": memory}


class DummyAgent:
    """Learns to predict the observation after the next from noisy observations, for no good reason."""

    def __init__(self, spec: EnvSpec) -> None:
        self.spec = spec
        self.net = torch.nn.Linear(2, 1)
        self.optimizer = torch.optim.Adam(self.net.parameters(), lr=0.01)
        self.adapted = 0

    def update(self, batch: dict[str, Tensor]) -> tuple[Credit, dict[str, Tensor]]:
        seen = batch["observation"]
        predicted = self.net(seen + 0.1 * torch.randn_like(seen))[..., 0]
        error = (predicted - batch["task_rewards"][..., 0]) ** 2
        loss = error.mean()
        self.optimizer.zero_grad()
        loss.backward()
        self.optimizer.step()
        metrics = {"loss/model": loss, "reward_loss": self.net.weight.detach().reshape(-1)}
        return Credit(batch["theta_id"].reshape(-1), error.detach().reshape(-1)), metrics

    def adapt_update(self, batch: dict[str, Tensor]) -> dict[str, Tensor]:
        self.adapted += 1
        return {"loss": batch["observation"].mean() + torch.rand(())}

    def forget_adaptation(self) -> None:
        self.adapted = 0

    def explorer(self) -> Player:
        return DummyPlayer(self)

    def state_dict(self) -> dict[str, Any]:
        return {"net": self.net.state_dict(), "optimizer": self.optimizer.state_dict(), "adapted": self.adapted}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.net.load_state_dict(state["net"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.adapted = state["adapted"]


def evaluate(agent: Learner) -> Measurement:
    """Rows that depend on weights and chance."""
    assert isinstance(agent, DummyAgent)
    row = {"task": "left", "return": agent.net.weight.sum().item() + torch.rand(()).item()}
    return Measurement([row], [{"theta_id": 0, "value": agent.net.bias.sum().item()}])


def measure(agent: Learner, wanted: Wanted, step: int) -> NDArray[np.float64]:
    """A number a θ that depends on the weights, the step and torch's chance."""
    assert isinstance(agent, DummyAgent)
    return agent.net.weight.detach().numpy().sum() * np.arange(5.0) + torch.rand(5).numpy() + step % 7


def config(sampler: str = "waker-m", **train: Any) -> Config:
    """A run of a fraction of a second on :class:`HardTheta`."""
    small = TrainConfig(
        steps=400, prefill=100, envs=3, train_every=10, batch=4, length=5, replay=300, save_every=90, log_every=3
    )
    return Config(
        env="waker/test-Hard-v0",
        seed=7,
        curriculum=CurriculumConfig(sampler=sampler, memory_updates=5),
        train=replace(small, **train),
        evaluation=EvalConfig(every=150),
    )


def parts(config: Config, **changes: Any) -> Parts:
    """The factories of a dummy run."""
    family = family_of(HardTheta, env_id=config.env)
    made = Parts(
        family=family,
        make_curriculum=lambda rng: make_curriculum(
            config.curriculum.sampler, family.space, config.curriculum, rng, 20
        ),
        make_agent=lambda: DummyAgent(family.spec),
        evaluate=evaluate,
        measure=measure,
    )
    return replace(made, **changes)


class Quiet(Progress):
    """Shows nothing and remembers notes; may call something at every step."""

    def __init__(self, at: Any = None) -> None:
        super().__init__("test", 1, quiet=True)
        self.notes: list[str] = []
        self.at = at

    def note(self, text: str) -> None:
        self.notes.append(text)

    def update(self, step: int, updates: int, theta: Any, phase: str = "") -> None:
        if self.at is not None:
            self.at(step, updates)


def run(root: Path, config: Config, progress: Progress | None = None, **changes: Any) -> tuple[Path, Outcome]:
    """Train a dummy run under ``root``; its folder and how it ended."""
    made = parts(config, **changes)
    folder = RunFolder.open(run_folder(root, config), config, made.family.space.names, made.family.spec.tasks)
    return folder.path, train(made, folder, progress or Quiet())
