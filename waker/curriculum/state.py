"""Parts of a curriculum's state: the random generator, the identity of its θ space, prefixes of nested parts.

Used by :mod:`waker.curriculum.composed` and :mod:`waker.curriculum.boxes.continuous`.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import numpy as np

from waker.curriculum.api import State
from waker.errors import UserError
from waker_envs.api import FiniteThetaSpace, ThetaSpace


def pack_rng(rng: np.random.Generator) -> str:
    """A generator's state as JSON (its integers have 128 bits: too many for an array)."""
    return json.dumps(rng.bit_generator.state, default=lambda array: array.tolist())


def unpack_rng(rng: np.random.Generator, packed: str) -> None:
    """Put a generator into a packed state.

    Raises:
        UserError: the state is of another kind of generator.
    """
    state = json.loads(packed)
    own = rng.bit_generator.state["bit_generator"]
    if state["bit_generator"] != own:
        raise UserError(f"the saved curriculum used a {state['bit_generator']} generator, this one has {own}")
    rng.bit_generator.state = state


def space_state(space: ThetaSpace) -> State:
    """What identifies a space: the names of its parameters, and its points where it is finite."""
    points = space.points.copy() if isinstance(space, FiniteThetaSpace) else np.zeros((0, space.dim))
    return {"space.names": ",".join(space.names), "space.points": points}


def check_state(saved: Mapping[str, Any], own: State) -> None:
    """Check that a saved state fits a curriculum, before anything is changed.

    Args:
        saved: the state to load.
        own: the curriculum's present state: the same keys, and arrays of the same shape.

    Raises:
        UserError: another sampler, another θ space, or a state that is not whole.
    """
    if saved.get("sampler") != own["sampler"]:
        raise UserError(f"the saved curriculum is {saved.get('sampler')!r}, this run uses {own['sampler']!r}")
    if saved.get("space.names") != own["space.names"]:
        raise UserError(f"the saved curriculum has θ ({saved.get('space.names')}), this run has ({own['space.names']})")
    points, own_points = np.asarray(saved.get("space.points", ())), own["space.points"]
    if points.shape != own_points.shape:
        raise UserError(f"the saved curriculum has {len(points)} θ, this run's space has {len(own_points)}")
    if not np.allclose(points, own_points, rtol=0, atol=1e-9):
        at = int(np.argmax((abs(points - own_points) > 1e-9).any(1)))
        raise UserError(f"the saved θ {at} is {points[at].tolist()}, this run's is {own_points[at].tolist()}")
    missing, extra = sorted(own.keys() - saved.keys()), sorted(saved.keys() - own.keys())
    if missing or extra:
        raise UserError(f"the saved curriculum is not whole: missing keys {missing}, unknown keys {extra}")
    for key, value in own.items():
        if isinstance(value, np.ndarray) and np.shape(saved[key]) != value.shape:
            raise UserError(f"the saved curriculum's {key} has shape {np.shape(saved[key])}, not {value.shape}")


def with_prefix(prefix: str, state: Mapping[str, Any]) -> State:
    """The state of a part under ``prefix.``."""
    return {f"{prefix}.{key}": value for key, value in state.items()}


def part(prefix: str, state: Mapping[str, Any]) -> State:
    """The part of a state under ``prefix.``, without the prefix."""
    return {key.removeprefix(f"{prefix}."): value for key, value in state.items() if key.startswith(f"{prefix}.")}
