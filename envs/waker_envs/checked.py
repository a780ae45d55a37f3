"""What callers hand in (numbers, counts, one of several names), checked: what does not fit is told in one line.

Used by :mod:`waker_envs.api` and the spaces of θ, and by the families for actions and arguments.
"""

from __future__ import annotations

import reprlib
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray


def shown(value: Any) -> str:
    """A value in an error message: short, on one line."""
    return " ".join(reprlib.repr(value).split())


def raw_numbers(value: Any) -> NDArray[Any] | None:
    """``value`` as an array of its own type; None where it holds anything but real numbers, or is ragged.

    A tensor of torch counts whatever its device and its gradient; of a type that numpy has not, bfloat16, as float32.
    """
    try:
        array = np.asarray(value)
    except (ValueError, TypeError, RuntimeError):  # ragged; or a tensor that numpy cannot read
        try:
            array = np.asarray(_readable(value))
        except (ValueError, TypeError, RuntimeError):
            return None
    return array if array.dtype.kind in "biuf" else None


def _readable(value: Any) -> Any:
    """``value`` with every tensor in it as an array. It is known by its methods, as this package goes without torch."""
    if isinstance(value, list | tuple):
        return [_readable(entry) for entry in value]
    if not (hasattr(value, "detach") and hasattr(value, "cpu")):
        return value
    value = value.detach().cpu()
    try:
        return np.asarray(value)
    except TypeError:
        return np.asarray(value.float())


def as_numbers(value: Any) -> NDArray[np.float64] | None:
    """``value`` as float64 of its own shape; None where it holds anything but real numbers, or is ragged."""
    array = raw_numbers(value)
    return None if array is None else array.astype(np.float64, copy=False)


def checked_numbers(
    what: str, value: Any, dim: int, of: str = "", error: type[ValueError] = ValueError
) -> NDArray[np.float64]:
    """Finite numbers as float64, shape (dim,); may share memory with ``value``.

    Args:
        what: begins the message: "the action".
        of: what the entries stand for, if that helps: " for (amplitude, length_scale)".
        error: raised where ``value`` does not fit.

    Raises:
        ValueError: as ``error``: no numbers, another shape, or a number that is not finite.
    """
    array = as_numbers(value)
    if array is None:
        raise error(f"{what} must have shape ({dim},){of} and be numbers, got {shown(value)}")
    if array.shape != (dim,):
        raise error(f"{what} must have shape ({dim},){of}, got {array.shape}")
    if not np.isfinite(array).all():
        raise error(f"{what} is not finite: {array.tolist()}")
    return array


def checked_picture(what: str, value: Any, like: NDArray[np.uint8] | None = None) -> NDArray[np.uint8]:
    """A picture as an array of its own, (height, width, 3) uint8, neither of them 0.

    Other types are refused, not rounded: of numbers in [0, 1] nothing but black would be left.

    Args:
        what: begins the message: "render()".
        like: a picture of the same film, whose size it must have.

    Raises:
        ValueError: it is none.
    """
    array = raw_numbers(value)
    wanted = "must give a picture: uint8 of shape (height, width, 3)"
    if array is None:
        raise ValueError(f"{what} {wanted}, not {shown(value)}")
    if array.dtype != np.uint8 or array.ndim != 3 or array.shape[2] != 3 or not array.size:
        raise ValueError(f"{what} {wanted}, not {array.dtype} of shape {array.shape}")
    if like is not None and array.shape != like.shape:
        raise ValueError(f"{what} must give pictures of one size, not {like.shape[:2]} and then {array.shape[:2]}")
    return array.copy()


def check_names(what: str, names: Iterable[Any], error: type[Exception] = ValueError) -> None:
    """Refuse names that no table could hold; every other text is a name.

    Args:
        what: begins the message: "task", "parameter".
        error: raised where one does not fit.

    Raises:
        ValueError: as ``error``: one is no text, no valid Unicode, or there twice.
    """
    seen: set[str] = set()
    for name in names:
        if not isinstance(name, str):
            raise error(f"{what} {shown(name)} is of type {type(name).__name__}; its name must be text")
        try:
            name.encode()
        except UnicodeEncodeError:
            raise error(f"{what} {shown(name)} is no valid Unicode; give it another name") from None
        if name in seen:
            raise error(f"{what} {shown(name)} is there twice; names must be different")
        seen.add(name)


def checked_index(what: str, value: Any, n: int) -> int:
    """One of the whole numbers 0 … n − 1, also as an array of one number.

    Raises:
        ValueError: it is none.
    """
    array = as_numbers(value)
    if array is None or array.size != 1 or not (0 <= (index := array.item()) < n and index == int(index)):
        raise ValueError(f"{what} must be a whole number from 0 to {n - 1}, got {shown(value)}")
    return int(index)


def checked_count(name: str, value: Any) -> int:
    """An argument that must be a whole number of at least 1.

    Raises:
        ValueError: it is none.
    """
    if isinstance(value, bool) or not isinstance(value, (int, np.integer)) or value < 1:
        raise ValueError(f"{name} must be a whole number of at least 1, got {shown(value)}")
    return int(value)


def check_choice(name: str, value: Any, choices: Sequence[str]) -> None:
    """Refuse an argument that is not one of ``choices``, at least two, whatever its type.

    Raises:
        ValueError: it is not; the message lists them.
    """
    if not isinstance(value, str) or value not in choices:
        listed = f"{', '.join(map(repr, choices[:-1]))} or {choices[-1]!r}"
        raise ValueError(f"{name} must be {listed}, got {shown(value)}")
