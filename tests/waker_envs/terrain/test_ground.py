"""Profiles of ground against plain loops and values by hand; scans and clearance against brute force."""

from __future__ import annotations

import math

import numpy as np
import pytest

from waker_envs.terrain.ground import MEAN, POINTS, SCAN_POINTS, SCAN_SPACING, SUNK, Ground
from waker_envs.terrain.noise import noise_height, staircase, value_noise

PEAK = 0.9


def drawn(
    kind: str = "noise", amplitude: float = 1.0, length: float = 0.3, seed: int = 0, authors: bool = False
) -> Ground:
    ground = Ground(PEAK, authors)
    ground.draw(np.random.default_rng(seed), kind, amplitude, length)  # type: ignore[arg-type]
    return ground


def slow_noise(x: float, length: float, lattice: list[float]) -> float:
    i = math.floor(x / length)
    share = (1 - math.cos(math.pi * (x / length - i))) / 2
    return lattice[i] * (1 - share) + lattice[i + 1] * share


def test_noise_is_that_of_a_plain_loop() -> None:
    lattice = np.random.default_rng(1).uniform(-1, 1, 40)
    x = np.linspace(0, 9.9, 777)
    expected = [slow_noise(float(v), 0.35, lattice.tolist()) for v in x]
    np.testing.assert_allclose(value_noise(x, 0.35, lattice), expected, rtol=0, atol=1e-12)


def test_noise_by_hand() -> None:
    lattice = np.array([1.0, -1.0, 0.5, 0.0])
    x = np.array([0.0, 0.5, 1.0, 2.0, 2.5])  # length-scale 1: on the lattice, and halfway, where the cosine is ½
    np.testing.assert_allclose(value_noise(x, 1.0, lattice), [1.0, 0.0, -1.0, 0.5, 0.25], atol=1e-12)
    np.testing.assert_allclose(noise_height(x, 0.5, 1.0, lattice), [0.75, 0.5, 0.25, 0.625, 0.5625], atol=1e-12)


def test_stairs_by_hand() -> None:
    x = np.array([0.0, 0.39, 0.41, 0.79, 0.81, 1.19, 1.21, 1.59, 1.61])
    assert staircase(x, 0.4, 0.4).tolist() == [0, 0, 0.5, 0.5, 1, 1, 0.5, 0.5, 0]
    assert staircase(np.array([0.9, 1.5, 2.9, 3.1]), 1.0, 2.0).tolist() == [0, 0, 0.5, 1]


def test_stairs_of_an_episode_are_as_long_and_tall_as_they_should_be() -> None:
    ground = drawn("stairs")
    inside = ground.profile[100:-100]  # away from the blend into the plains
    assert set(np.unique(inside)) == {0.0, 0.5, 1.0}
    edges = np.flatnonzero(np.diff(inside))
    np.testing.assert_allclose(np.diff(edges) * ground.spacing, 0.4, atol=1.5 * ground.spacing)
    assert np.abs(np.diff(inside)[edges]).tolist() == [0.5] * len(edges)


@pytest.mark.parametrize("amplitude", [0.0, 0.4, 1.0])
def test_the_amplitude_bounds_the_hills(amplitude: float) -> None:
    profile = drawn(amplitude=amplitude).profile
    assert profile.shape == (POINTS,)
    assert np.abs(profile - 0.5).max() <= 0.5 * amplitude + 1e-12
    if amplitude:
        assert np.ptp(profile) > 0.8 * amplitude


def test_the_length_scale_is_the_distance_between_turning_points() -> None:
    for length in (0.2, 1.0, 2.0):
        ground = drawn(length=length)
        slope = np.sign(np.diff(ground.profile[100:-100]))
        turns = np.count_nonzero(np.diff(slope[slope != 0]))
        lattice = (POINTS - 200) * ground.spacing / length
        # Of three values drawn alike the middle one is the largest or smallest with probability 2/3.
        assert turns / lattice == pytest.approx(2 / 3, abs=0.2)


def test_the_seed_draws_the_ground_and_the_published_one_is_fixed() -> None:
    assert not np.array_equal(drawn(seed=0).profile, drawn(seed=1).profile)
    assert np.array_equal(drawn(seed=3).profile, drawn(seed=3).profile)
    assert np.array_equal(drawn(seed=0, authors=True).profile, drawn(seed=1, authors=True).profile)
    assert not np.array_equal(drawn(length=0.3, authors=True).profile, drawn(length=0.5, authors=True).profile)


def test_published_length_scales_come_out_twice_as_long() -> None:
    """FACTS: a half-width was taken for a width. The same values lie twice as far apart."""
    ours, theirs = Ground(PEAK), drawn(length=0.5, authors=True)
    assert (ours.half, theirs.half) == (50.0, 100.0)
    slope = np.sign(np.diff(theirs.profile[100:-100]))
    turns = np.count_nonzero(np.diff(slope[slope != 0]))
    assert turns / ((POINTS - 200) * theirs.spacing / 1.0) == pytest.approx(2 / 3, abs=0.2)


def test_beyond_its_ends_the_ground_is_level_without_a_step() -> None:
    ground = drawn()
    level = MEAN * PEAK - SUNK
    assert ground.height(np.array([-400.0, -50.0, 50.0, 51.0])).tolist() == pytest.approx([level] * 4)
    assert ground.profile[0] == ground.profile[-1] == MEAN


def test_heights_are_those_of_the_profile() -> None:
    ground = drawn()
    x = np.arange(POINTS) * ground.spacing - ground.half
    np.testing.assert_allclose(ground.height(x), ground.profile * PEAK - SUNK, atol=1e-9)
    middle = ground.height(float(x[700] + x[701]) / 2)
    assert float(middle) == pytest.approx((ground.profile[700] + ground.profile[701]) / 2 * PEAK - SUNK)


@pytest.mark.parametrize("authors", [False, True])
@pytest.mark.parametrize("x", [0.0, 3.017, -20.6, 49.9, -50.3, 99.97, 120.0, -250.0])
def test_a_scan_is_the_height_at_its_points(x: float, authors: bool) -> None:
    ground = drawn(authors=authors)
    points = x + (np.arange(SCAN_POINTS) - SCAN_POINTS // 2) * SCAN_SPACING
    np.testing.assert_allclose(ground.scan(x), ground.height(points), atol=1e-9)


def test_clearance_is_the_smallest_gap() -> None:
    """Against every point of two capsules' surfaces."""
    rng = np.random.default_rng(4)
    for seed in range(20):
        ground = drawn(seed=seed, length=0.2)
        ends = rng.uniform(-0.5, 0.5, (2, 2, 2)) + np.array([0.0, 1.0])
        radii = np.array([0.05, 0.09])
        share, angle = np.meshgrid(np.linspace(0, 1, 401), np.linspace(0, 2 * np.pi, 721), indexing="ij")
        gaps = []
        for (a, b), r in zip(ends, radii, strict=True):
            centre = a + share[..., None] * (b - a)
            x, z = centre[..., 0] + r * np.cos(angle), centre[..., 1] + r * np.sin(angle)
            gaps.append((z - ground.height(x)).min())
        assert ground.clearance(0.0, ends, radii) == pytest.approx(min(gaps), abs=2e-3)
