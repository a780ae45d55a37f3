"""Named configurations to measure, and the data they are measured on. For :mod:`experiments.bench` and other scripts.

Updates are timed on synthetic records: the numbers in a batch do not change what an update costs, and so no renderer
and no physics is needed. Steps per second are measured on the real environment.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from waker.collection.family import Family
from waker.config.presets import preset
from waker.config.schema import CompileChoice, Config, PrecisionChoice, ProductsChoice
from waker.errors import unknown
from waker.specs import ActionSpec, EnvSpec, ObservationKey
from waker_envs.api import FiniteThetaSpace, Parameter, ThetaSpace


@dataclass(frozen=True)
class Workload:
    """One configuration to measure.

    Attributes:
        name, summary: for tables.
        config: the run's settings, with its real environment.
        spec: what updates are timed on; None = the environment's own.
        thetas: points of the synthetic θ space that updates are credited to; 0 = the environment's own space.
        updates: timed updates where the user names no number; one more is made first to warm up.
        loop_updates: updates of the training loop for its steps/s; 0 = the loop is not run (hours at paper size).
    """

    name: str
    summary: str
    config: Config
    spec: EnvSpec | None = None
    thetas: int = 0
    updates: int = 50
    loop_updates: int = 0

    def resolved(self) -> tuple[EnvSpec, ThetaSpace]:
        """What the learner sees, and θ.

        Raises:
            UserError: the environment is needed and cannot be made.
        """
        if self.spec is not None and self.thetas:
            return self.spec, line_of_thetas(self.thetas)
        family = Family.of(self.config)
        return self.spec or family.spec, line_of_thetas(self.thetas) if self.thetas else family.space


def changed(
    chosen: Workload,
    compiled: CompileChoice = "off",
    precision: PrecisionChoice = "fp32",
    chunk: int | None = None,
    env_processes: int | None = None,
    products: ProductsChoice = "auto",
) -> Workload:
    """The workload with other ``train.compile``, ``train.precision`` or ``train.products``, ``behaviour.chunk`` or
    ``train.env_processes``.

    None = its own.
    """
    config = chosen.config
    if env_processes is not None:
        config = replace(config, train=replace(config.train, env_processes=env_processes))
    if chunk is not None:
        config = replace(config, behaviour=replace(config.behaviour, chunk=chunk))
    train = replace(config.train, compile=compiled, precision=precision, products=products)
    return replace(chosen, config=replace(config, train=train))


def line_of_thetas(n: int) -> FiniteThetaSpace:
    """A finite space of n points on a line."""
    parameter = Parameter("level", "a number that stands for an environment")
    return FiniteThetaSpace([parameter], np.arange(n, dtype=np.float64)[:, None])


WALKER = EnvSpec(
    "waker/TerrainWalker-v0",
    (ObservationKey("image", "image", (64, 64, 3), "uint8"),),
    ActionSpec(6, False, (-1.0,) * 6, (1.0,) * 6),
    ("stand", "walk", "run", "walk-backward", "flip"),
)
"""TerrainWalker as the learner sees it (docs/method.md, Domains): pictures, six joints, five tasks."""
WALKER_THETAS = 777
"""21 amplitudes × 37 length scales."""


def paper_walker() -> Workload:
    """The published update: five task policies online, all 800 start states, H = 15, ten heads, fp32."""
    config = replace(preset("authors"), env=WALKER.env_id)
    return Workload("paper-walker", "the published update at its size", config, WALKER, WALKER_THETAS, updates=2)


def small_walker() -> Workload:
    """The same work with 200 units a layer, 16 × 16 latents and a third of the channels."""
    base, units = paper_walker().config, (200,) * 4
    model = replace(
        base.model,
        deter=200,
        hidden=200,
        stoch=16,
        classes=16,
        cnn_depth=16,
        encoder_units=units,
        decoder_units=units,
        head_units=units,
    )
    behaviour = replace(base.behaviour, actor_units=units, critic_units=units, chunk=400)
    config = replace(base, model=model, behaviour=behaviour, explorer=replace(base.explorer, units=units))
    return Workload("small-walker", "the published update, 200 units a layer", config, WALKER, WALKER_THETAS, updates=3)


def laptop_grid() -> Workload:
    """Preset ``laptop`` on GridHazards."""
    return Workload("laptop-grid", "preset laptop on GridHazards", preset("laptop"), updates=150, loop_updates=150)


def control() -> Workload:
    """Preset ``control`` on TerrainWalker's vector observations."""
    return Workload("control", "preset control on TerrainWalker", preset("control"), updates=50, loop_updates=50)


def default() -> Workload:
    """Preset ``default`` on GridHazards."""
    return Workload("default", "preset default on GridHazards", preset("default"), updates=3)


def tiny() -> Workload:
    """Preset ``tiny`` on GridHazards: to try the command out."""
    return Workload("tiny", "preset tiny on GridHazards", preset("tiny"), updates=10, loop_updates=4)


WORKLOADS: dict[str, Callable[[], Workload]] = {
    "paper-walker": paper_walker,
    "small-walker": small_walker,
    "laptop-grid": laptop_grid,
    "control": control,
    "default": default,
    "tiny": tiny,
}
"""Name → workload, as ``--config`` takes it."""


def workload(name: str) -> Workload:
    """The workload called ``name``.

    Raises:
        UserError: there is none; the message names the nearest.
    """
    if name not in WORKLOADS:
        raise unknown("configuration", name, WORKLOADS)
    return WORKLOADS[name]()
