"""A run over very many θ, with environments and a learner that cost next to nothing: what is left is the curriculum."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from tests.helpers import dummies
from tests.helpers.families import family_of
from waker.config.schema import Config
from waker.curriculum import make_curriculum
from waker.evaluation.records import Measurement
from waker.storage.run_folder import RunFolder, run_folder
from waker.training.parts import Parts
from waker.training.session import Session
from waker_envs.api import FiniteThetaSpace, Parameter
from waker_envs.testing import HardTheta

HARD = 30


def space_of(size: int) -> FiniteThetaSpace:
    """``size`` θ on a square, the last ``HARD`` of them hard."""
    points = np.stack(divmod(np.arange(float(size)), np.ceil(np.sqrt(size))), 1)
    parameters = [Parameter("row", "of the square"), Parameter("column", "of the square")]
    return FiniteThetaSpace(parameters, points, hard=points[-HARD:])


class ManyThetas(HardTheta):
    """:class:`HardTheta` without waves, over a space that is given."""

    space: FiniteThetaSpace

    def __init__(self, task: str | None = None, render_mode: str | None = None) -> None:
        super().__init__(task, render_mode)
        self.theta_space = self.space

    def begin(self, theta: Any) -> Any:
        return super().begin(np.zeros(1))


def parts(config: Config, size: int) -> Parts:
    """The factories of a run over ``size`` θ; the θ of every hundredth id are those whose model error is measured."""
    env = type("ManyThetas", (ManyThetas,), {"space": space_of(size)})
    family = family_of(env, env_id=config.env)
    return Parts(
        family=family,
        make_curriculum=lambda rng: make_curriculum(
            config.curriculum.sampler, env.space, config.curriculum, rng, config.train.batch * config.train.length
        ),
        make_agent=lambda: dummies.DummyAgent(family.spec),
        evaluate=lambda agent: Measurement(),
        measured=range(0, size, max(1, size // 100)),
    )


def session(root: Path, size: int, **train: Any) -> Session:
    """A run under ``root``, ready to collect."""
    config = dummies.config(steps=10**6, prefill=600, **{"log_every": 1, "batch": 4, "length": 5, **train})
    made = parts(config, size)
    folder = RunFolder.open(run_folder(root, config), config, made.family.space.names, made.family.spec.tasks)
    return Session(made, folder, dummies.Quiet())
