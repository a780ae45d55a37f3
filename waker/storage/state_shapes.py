"""Saved states: their tensors, and whether they are of the shape of what they are loaded into.

torch's own loaders copy what fits before they raise, and a plain ``copy_`` stretches a smaller tensor without a word.
Called where checkpoints are used: sessions, loaded runs, adapted policies.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from torch import Tensor


def tensors_of(tree: Any) -> Iterator[Tensor]:
    """The tensors of a state, in its order."""
    if isinstance(tree, Tensor):
        yield tree
    elif isinstance(tree, Mapping | list | tuple):
        for value in tree.values() if isinstance(tree, Mapping) else tree:
            yield from tensors_of(value)


def check_fit(saved: Any, own: Any, where: str) -> None:
    """Compare a saved state with the present one of the same object.

    What the present one does not have yet (an optimiser's state before its first step) may be there.

    Args:
        saved, own: nested mappings and lists of tensors and plain values.
        where: what it is called in the message.

    Raises:
        ValueError: a key is missing, or a tensor of another shape; the first one is named with both shapes.
    """
    if isinstance(own, Mapping):
        if not isinstance(saved, Mapping):
            raise ValueError(f"{where} is no mapping there")
        for key, value in own.items():
            if key not in saved:
                raise ValueError(f"{where}.{key} is missing there")
            check_fit(saved[key], value, f"{where}.{key}")
    elif isinstance(own, Tensor):
        if not isinstance(saved, Tensor) or saved.shape != own.shape:
            there = tuple(saved.shape) if isinstance(saved, Tensor) else type(saved).__name__
            raise ValueError(f"{where} is {there} there and {tuple(own.shape)} now")
    elif isinstance(own, list | tuple) and any(isinstance(value, Tensor) for value in own):
        if not isinstance(saved, list | tuple) or len(saved) != len(own):
            raise ValueError(f"{where} has another number of tensors there")
        for number, (theirs, ours) in enumerate(zip(saved, own, strict=True)):
            check_fit(theirs, ours, f"{where}.{number}")
