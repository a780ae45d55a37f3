"""What tables call a sampler whose credit is not the published one."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

import pytest

from waker.config.presets import PRESETS
from waker.curriculum.labels import called, sampler_label, sampler_name


@pytest.mark.parametrize(
    ("explorer", "suffix"),
    [
        ({}, ""),  # from before there was a choice
        ({"credit": "imagined", "credit_steps": 0, "credit_first": True}, ""),  # the authors' switch
        ({"credit": "replayed", "credit_steps": 0}, " (replayed credit)"),
        ({"credit": "imagined", "credit_steps": 1}, " (credit of 1 step)"),
        ({"credit": "imagined", "credit_steps": 5}, " (credit of 5 steps)"),
    ],
)
def test_a_variant_says_so(explorer: dict[str, Any], suffix: str) -> None:
    for sampler in ("waker-m", "waker-r"):
        assert sampler_label(sampler, explorer) == sampler + suffix
        assert sampler_name(sampler + suffix) == sampler
    for other in ("dr", "gradual-expansion", "somebody's (own)"):  # they choose by no credit, or by a rule of their own
        assert sampler_label(other, explorer) == sampler_name(other) == other


def test_which_presets_credit_as_published() -> None:
    variants = {
        name for name, make in PRESETS.items() if sampler_label("waker-m", asdict(make().explorer)) != "waker-m"
    }
    assert variants == {"laptop", "grid"}


def test_a_name_means_its_variants_and_a_label_itself() -> None:
    labels = ["dr", "waker-m (replayed credit)", "waker-r", "waker-r (replayed credit)"]
    assert called("waker-m", labels) == ["waker-m (replayed credit)"]
    assert called("waker-r", labels) == ["waker-r"]
    assert called("waker-r (replayed credit)", labels) == ["waker-r (replayed credit)"]
    assert called("wakr-r", labels) == []
    assert called("waker-m", ["waker-m (replayed credit)", "waker-m (credit of 2 steps)"]) == [
        "waker-m (replayed credit)",
        "waker-m (credit of 2 steps)",
    ]
