"""Every sampler of the package keeps the interface's promises; broken ones are told what is wrong."""

from __future__ import annotations

import pytest

from waker.curriculum import curriculum_names
from waker.curriculum.checker import check_curriculum

EXPERTS = {"hardest-oracle", "reweighting-oracle"}
BOX = ("dr", "waker-m", "waker-r", "plr", "robust-plr", "accel", "alp-gmm")


@pytest.mark.parametrize("name", sorted(set(curriculum_names()) - EXPERTS - {"alp-gmm"}))
def test_ours_on_a_finite_space(name: str) -> None:
    check_curriculum(name)


@pytest.mark.parametrize("name", BOX)
def test_ours_on_a_box(name: str) -> None:
    check_curriculum(name, continuous=True)
