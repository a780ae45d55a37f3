"""Errors a user can cause name the nearest valid choice, in one line."""

from __future__ import annotations

import numpy as np
import pytest

from waker.errors import UserError, too_large, unknown, unknown_ending

NAMES = ["dr", "waker-m", "waker-r", "hardest-oracle"]


@pytest.mark.parametrize(
    ("written", "nearest"),
    [
        ("wakerm", "waker-m"),
        ("WAKER-R", "waker-r"),
        ("hardest", "hardest-oracle"),
        ("drr", "dr"),
        ("oracle", "hardest-oracle"),
    ],
)
def test_the_nearest_name_is_offered(written: str, nearest: str) -> None:
    message = str(unknown("sampler", written, NAMES))
    assert message.startswith(f"unknown sampler {written!r}; did you mean '{nearest}")
    assert "\n" not in message
    assert all(name in message for name in NAMES)


@pytest.mark.parametrize("written", ["foo", "", "x", "zzzzzzzz"])
def test_what_is_near_to_nothing_gets_the_list_alone(written: str) -> None:
    assert str(unknown("sampler", written, NAMES)) == f"unknown sampler {written!r} (valid: {', '.join(sorted(NAMES))})"


def test_the_beginning_of_a_longer_name_may_be_misspelt() -> None:
    valid = ["dr", "waker-m (replayed credit)"]
    assert "did you mean 'waker-m (replayed credit)'?" in str(unknown("sampler", "waker-x", valid))


def test_of_a_long_list_without_a_near_name_examples_are_shown() -> None:
    message = str(unknown("key", "zzz", [f"k{i:02}" for i in range(99)]))
    assert message == "unknown key 'zzz'; 99 are known, as k00, k33, k66"


def test_the_last_part_of_dotted_names_is_meant_for_each_of_them() -> None:
    valid = ["model.lr", "a.b.lr", "model.lrs"]
    assert str(unknown_ending("setting", "lr", valid)) == "unknown setting 'lr'; did you mean 'model.lr' or 'a.b.lr'?"
    assert "did you mean 'model.lrs'" in str(unknown_ending("setting", "modellrs", valid))


def test_a_long_list_is_not_printed() -> None:
    message = str(unknown("key", "k7x", [f"k{i}" for i in range(100)]))
    assert "'k7'" in message
    assert len(message) < 80


def test_nothing_to_choose_from() -> None:
    assert "none to choose from" in str(unknown("preset", "x", []))


def test_a_user_error_is_a_value_error() -> None:
    with pytest.raises(ValueError, match="unknown a 'b'"):
        raise unknown("a", "b", ["c"])
    assert issubclass(UserError, ValueError)


def test_numpys_words_for_sizes_beyond_memory_are_told_as_such() -> None:
    for shape in ((2**62, 8), (2**65,)):
        with pytest.raises((ValueError, OverflowError)) as caught:
            np.empty(shape)
        assert "memory" in str(too_large(caught.value)) or "too large" in str(too_large(caught.value))
    assert too_large(ValueError("another")) is None
