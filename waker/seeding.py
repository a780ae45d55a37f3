"""All random numbers come from a seed through the streams made here.

Every purpose has its own stream, so that drawing more from one of them (say, the number of sampled batches) does not
change another (say, the episodes' seeds). Purposes are told apart in two ways, whose numbers no change may move:

- :func:`seed_for` and :func:`generator_for`, for a training run: by place in a fixed list, as a checkpoint saves the
  state of each stream by name.
- :func:`stream`, for an evaluation: by the text of the purpose, as suites and sources of trajectories are named by
  families and settings, and one that is added must not change the episodes of the others.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
import torch

_PURPOSES = ("episodes", "curriculum", "replay", "actions", "torch", "evaluation", "oracle", "evidence", "heldout")
"""The order is part of every run's reproducibility: append, never insert."""


def seed_for(seed: int, purpose: str, *more: int) -> int:
    """A 63-bit seed for one purpose of a run; ``more`` (a step, a worker) splits it further."""
    sequence = np.random.SeedSequence(seed, spawn_key=(_PURPOSES.index(purpose), *more))
    return int(sequence.generate_state(1, np.uint64)[0] >> 1)


def generator_for(seed: int, purpose: str) -> np.random.Generator:
    """The generator of one purpose of a run."""
    return np.random.default_rng(np.random.SeedSequence(seed, spawn_key=(_PURPOSES.index(purpose),)))


def stream(seed: int, purpose: str) -> np.random.Generator:
    """The generator of one purpose of an evaluation."""
    return np.random.default_rng(np.random.SeedSequence(seed, spawn_key=(zlib.crc32(purpose.encode()),)))


@dataclass(frozen=True)
class Streams:
    """The numpy generators of a run, one a purpose.

    Attributes:
        episodes: seeds of training episodes.
        curriculum: handed to the curriculum, which keeps its state in its own ``state_dict``.
        replay: which windows make a batch.
        actions: uniform random actions before the first update.
    """

    episodes: np.random.Generator
    curriculum: np.random.Generator
    replay: np.random.Generator
    actions: np.random.Generator

    @classmethod
    def from_seed(cls, seed: int) -> Streams:
        """Fresh streams."""
        return cls(*(generator_for(seed, f.name) for f in fields(cls)))

    def state_dict(self) -> dict[str, Any]:
        """JSON-able states of all generators."""
        return {f.name: getattr(self, f.name).bit_generator.state for f in fields(self)}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continue every generator where ``state_dict`` left it."""
        for f in fields(self):
            getattr(self, f.name).bit_generator.state = state[f.name]


def torch_state() -> dict[str, Any]:
    """The states of torch's global generators (CPU, and every CUDA device in use)."""
    cuda = torch.cuda.get_rng_state_all() if torch.cuda.is_available() and torch.cuda.is_initialized() else []
    return {"cpu": torch.get_rng_state(), "cuda": list(cuda)}


def load_torch_state(state: Mapping[str, Any]) -> None:
    """Continue torch's global generators; CUDA's only where the same number of devices is present."""
    torch.set_rng_state(state["cpu"])
    if state["cuda"] and torch.cuda.is_available() and len(state["cuda"]) == torch.cuda.device_count():
        torch.cuda.set_rng_state_all(state["cuda"])


@contextmanager
def preserved_torch() -> Iterator[None]:
    """Put torch's streams back after the block, so that (say) an evaluation leaves training's as they were."""
    before = torch_state()
    try:
        yield
    finally:
        load_torch_state(before)


@contextmanager
def torch_seed(seed: int) -> Iterator[None]:
    """:func:`preserved_torch` for a block that begins with this seed and records no gradients."""
    with preserved_torch(), torch.no_grad():
        torch.manual_seed(seed)
        yield
