"""Where the ground's values lie: lattices and their spacing, the published ground's sequence, ends, windows."""

from __future__ import annotations

import math

import numpy as np
import pytest

from waker_envs.terrain.ground import MEAN, POINTS, Ground, Kind

PEAK = 0.9


def drawn(seed: int, length: float = 0.5, kind: Kind = "noise", *, authors: bool = False) -> Ground:
    ground = Ground(PEAK, authors)
    ground.draw(np.random.default_rng(seed), kind, 1.0, length)
    return ground


@pytest.mark.parametrize("length", [0.5, 1.0, 2.0])
def test_all_turning_points_lie_on_one_lattice(length: float) -> None:
    # Value noise has its extremes at lattice points and nowhere else: as phases of the lattice they all agree.
    for seed in range(3):
        ground = drawn(seed, length)
        turns = 60 + np.flatnonzero(np.diff(np.sign(np.diff(ground.profile[60:-60])))) + 1
        agreement = abs(np.exp(2j * math.pi * turns * ground.spacing / length).mean())
        assert len(turns) > 0.4 * 94 / length
        assert agreement > math.cos(2 * math.pi * 0.6 * ground.spacing / length)


def test_where_between_two_lattice_points_the_robot_starts_is_drawn() -> None:
    phases = []
    for seed in range(40):
        ground = drawn(seed, 2.0)
        turn = 60 + np.flatnonzero(np.diff(np.sign(np.diff(ground.profile[60:-60]))))[0] + 1
        phases.append((turn * ground.spacing - ground.half) % 2.0)
    assert np.histogram(phases, 4, (0, 2))[0].min() >= 3


def test_published_grounds_share_one_sequence_at_all_length_scales() -> None:
    one, other = drawn(0, 0.5, authors=True), drawn(1, 1.0, authors=True)
    np.testing.assert_allclose(one.profile[100:900], other.profile[200:1800:2], atol=1e-12)


@pytest.mark.parametrize("seed", [0, 1])
def test_published_stairs_have_long_plateaus_and_short_treads(seed: int) -> None:
    ground = drawn(seed, kind="stairs", authors=True)
    inner = ground.profile[100:-100]
    edges = np.flatnonzero(np.diff(inner))
    levels, lengths = inner[edges[:-1] + 1], np.diff(edges) * ground.spacing
    np.testing.assert_allclose(lengths[levels == 0.5], 0.75, atol=1.01 * ground.spacing)
    np.testing.assert_allclose(lengths[levels != 0.5], 2.4, atol=1.01 * ground.spacing)


@pytest.mark.parametrize("authors", [False, True])
@pytest.mark.parametrize("kind", ["noise", "stairs"])
def test_there_is_no_cliff_where_the_field_meets_the_plains(kind: Kind, authors: bool) -> None:
    ground = drawn(7, 0.3, kind, authors=authors)
    assert ground.profile[0] == ground.profile[-1] == MEAN
    steepest = abs(np.diff(ground.profile)).max()
    for end in (ground.profile[:40], ground.profile[-40:]):
        assert abs(np.diff(end)).max() <= steepest


def test_a_window_is_the_stretch_of_profile_from_a_cell_on() -> None:
    ground = drawn(0)
    np.testing.assert_array_equal(ground.window(300, 120), ground.profile[300:421])
    beyond = ground.window(POINTS - 50, 120)
    np.testing.assert_array_equal(beyond[:50], ground.profile[-50:])
    assert (beyond[50:] == MEAN).all()
    for cell in (-5000, 5000):
        assert ground.window(cell, 120).tolist() == [MEAN] * 121
