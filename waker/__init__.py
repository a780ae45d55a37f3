"""WAKER: reward-free curricula for robust world models.

    import waker

    config = waker.preset("tiny").with_(env="GridHazards", sampler="waker-m", seed=3)
    run = waker.train(config, "runs")              # or waker.load("runs/…/seed-3")
    dream = run.imagine("green", steps=15)         # frames, rewards, values
    run.curriculum.probabilities()                 # a Series over θ
    waker.rows("runs").evaluation                  # a DataFrame of every run
    waker.compare("runs").differences              # samplers with DR, seed by seed

The environments live in :mod:`waker_envs`, which can be used without this package and without torch. Importing
``waker`` imports nothing heavy: the names of :mod:`waker.api` are imported when they are first used.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from waker.analysis import metrics as metrics
    from waker.analysis.metrics import cvar as cvar
    from waker.api import Compared as Compared
    from waker.api import Config as Config
    from waker.api import Rows as Rows
    from waker.api import Run as Run
    from waker.api import compare as compare
    from waker.api import load as load
    from waker.api import load_config as load_config
    from waker.api import preset as preset
    from waker.api import rows as rows
    from waker.api import train as train
    from waker.curriculum.registry import register_curriculum as register_curriculum
    from waker.errors import UserError as UserError
    from waker.replay.task import task as task

__version__ = "0.1.0"

_PUBLIC = {
    "Compared": "waker.api",
    "Config": "waker.config.schema",
    "Rows": "waker.api",
    "Run": "waker.run",
    "UserError": "waker.errors",
    "compare": "waker.api",
    "cvar": "waker.analysis.metrics",
    "load": "waker.api",
    "load_config": "waker.api",
    "metrics": "waker.analysis",
    "preset": "waker.api",
    "register_curriculum": "waker.curriculum.registry",
    "rows": "waker.api",
    "task": "waker.replay.task",
    "train": "waker.api",
}
"""Every public name, and the module that defines it."""

__all__ = ["__version__", *sorted(_PUBLIC)]


def __getattr__(name: str) -> Any:
    if name not in _PUBLIC:
        raise AttributeError(f"module 'waker' has no attribute {name!r}")
    if name == "metrics":
        return importlib.import_module("waker.analysis.metrics")
    return getattr(importlib.import_module(_PUBLIC[name]), name)


def __dir__() -> list[str]:
    return sorted({*_PUBLIC, *(name for name in globals() if name.startswith("__") and name.endswith("__"))})
