"""What the checks of a sampler have in common: how it is made and driven, and how a failure is told.

Used by :mod:`waker.curriculum.checker`. Everything has fixed seeds: a verdict is the same every time.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any, NoReturn

import numpy as np

from waker.curriculum.api import Curriculum, State
from waker.curriculum.kit.world import World, small_box, small_space
from waker_envs.api import ThetaSpace

Factory = Callable[[ThetaSpace, np.random.Generator], Curriculum]
STRIDES = (10, 1_700)
"""Agent steps between two updates of a made-up run: few, and so many that intervals of ten thousand end in it."""


class CurriculumCheckError(AssertionError):
    """A promise is broken; the message says which, what was seen, and what to do."""


class Kit:
    """A sampler under check.

    Args:
        factory: makes it.
        continuous: on a box of θ, in place of a finite space.
    """

    def __init__(self, factory: Factory, continuous: bool) -> None:
        self.factory, self.continuous = factory, continuous
        self.space: ThetaSpace = small_box() if continuous else small_space()
        self.world = World(self.space)

    def made(self, seed: int = 0, space: ThetaSpace | None = None) -> Any:
        """A fresh one."""
        return self.factory(self.space if space is None else space, np.random.default_rng(seed))

    def driven(self, steps: int = 9, seed: int = 0, world: World | None = None, stride: int = 10) -> Any:
        """One after some of a run."""
        curriculum, world = self.made(seed), world or self.world
        for step in range(steps):
            world.step(curriculum, stride * step)
        return curriculum


def law_of(curriculum: Any) -> np.ndarray[Any, Any] | None:
    """Its probabilities, copied; None for a continuous space."""
    p = curriculum.probabilities()
    return None if p is None else np.array(p, np.float64)


def readings(curriculum: Any) -> dict[str, Any]:
    """All that can be read of it, copied: probabilities, estimates and the columns of its table."""
    found = {"probabilities()": curriculum.probabilities(), "estimates()": curriculum.estimates()}
    found |= {f"table()[{name!r}]": column for name, column in curriculum.table().items()}
    return {name: None if value is None else np.array(value) for name, value in found.items()}


def same(one: Any, two: Any, message: str) -> None:
    """Fail where two arrays differ by more than rounding."""
    if one is not None and not alike(one, two):
        fail(f"{message}: {np.asarray(one)} beside {np.asarray(two)}")


def alike(one: Any, two: Any) -> bool:
    """Whether two arrays are the same but for rounding."""
    one, two = np.asarray(one), np.asarray(two)
    if one.dtype.kind in "fc":
        return bool(np.allclose(one, two, rtol=1e-9, atol=1e-12, equal_nan=True))
    return bool(np.array_equal(one, two))


def fail(message: str) -> NoReturn:
    """The verdict."""
    raise CurriculumCheckError(message)


def through_a_file(state: Mapping[str, Any]) -> State:
    """As a checkpoint would hold it: arrays of numbers, and JSON."""
    restored: State = {}
    for key, value in state.items():
        if isinstance(value, np.ndarray):
            if value.dtype.kind not in "biuf":
                fail(f"state_dict()[{key!r}] is an array of {value.dtype}; checkpoints hold numbers and JSON scalars")
            restored[key] = value.copy()
        elif isinstance(value, str | int | float | bool):
            restored[key] = json.loads(json.dumps(value))
        else:
            fail(f"state_dict()[{key!r}] is a {type(value).__name__}; checkpoints hold arrays and JSON scalars")
    return restored
