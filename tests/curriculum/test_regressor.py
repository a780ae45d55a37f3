"""The learned regressor: a posterior by hand, the table at known θ, the kernel where data are dense, uncertainty."""

from __future__ import annotations

import numpy as np
import pytest

from tests.helpers.spaces import box_space
from waker.curriculum import CurriculumConfig, make_curriculum
from waker.curriculum.boxes import regressor as module
from waker.curriculum.boxes.kernel import regress
from waker.curriculum.boxes.kernel_scores import KernelSettings
from waker.curriculum.boxes.regressor import _features, regressed

ONE = np.ones(1)


def line(n: int) -> np.ndarray:
    return np.linspace(0, 1, n)[:, None]


def test_the_posterior_is_the_gaussian_process_of_its_features(monkeypatch: pytest.MonkeyPatch) -> None:
    """k·(K + noise)⁻¹·y and k(x, x) − k·(K + noise)⁻¹·kᵀ, with K the features' products."""
    monkeypatch.setattr(module, "WIDTHS", (2.0,))
    monkeypatch.setattr(module, "NOISES", (0.1,))
    known, values, points = line(7), np.array([1.0, 3, 2, 5, 4, 4, 6]), np.array([[0.05], [0.5], [1.4]])
    found = regressed(points, known, values, 0.1, ONE)
    y = (values - values.mean()) / values.std()
    a, b = _features(known, 0.2), _features(points, 0.2)
    inverse = np.linalg.inv(a @ a.T + 0.1 * np.eye(7))
    np.testing.assert_allclose(found.mean, values.mean() + values.std() * (b @ a.T @ inverse @ y), rtol=1e-9)
    variance = np.diag(b @ b.T - b @ a.T @ inverse @ a @ b.T)
    np.testing.assert_allclose(found.variance, values.var() * variance, rtol=1e-6)


def test_the_evidence_is_the_density_of_the_values(monkeypatch: pytest.MonkeyPatch) -> None:
    known, y = line(5), np.array([0.3, -1.2, 0.5, 0.9, -0.4])
    phi = _features(known, 0.3)
    fit = module._fit(phi.T @ phi, phi.T @ y, float(y @ y), 5, 0.2)
    covariance = phi @ phi.T + 0.2 * np.eye(5)
    expected = -0.5 * (y @ np.linalg.inv(covariance) @ y + np.linalg.slogdet(2 * np.pi * covariance)[1])
    assert fit.evidence == pytest.approx(expected, rel=1e-9)


def test_at_known_theta_it_is_the_table() -> None:
    known = np.random.default_rng(0).uniform(size=(12, 2))
    values = np.sin(4 * known[:, 0]) + known[:, 1] ** 2
    found = regressed(known, known, values, 0.1, np.ones(2))
    np.testing.assert_allclose(found.mean, values, atol=0.02)


def test_where_data_are_dense_it_and_the_kernel_agree() -> None:
    known, points = line(200), line(50)[5:-5]
    values = np.sin(5 * known[:, 0])
    kernel = regress(points, known, values, 0.02, ONE).mean
    learned = regressed(points, known, values, 0.1, ONE).mean
    np.testing.assert_allclose(learned, kernel, atol=0.02)
    np.testing.assert_allclose(learned, np.sin(5 * points[:, 0]), atol=0.02)


def test_it_averages_out_noise_that_a_narrow_kernel_passes_on() -> None:
    rng = np.random.default_rng(3)
    known, points = rng.uniform(size=(300, 1)), line(60)[5:-5]
    values = np.sin(5 * known[:, 0]) + rng.normal(scale=0.5, size=300)
    truth = np.sin(5 * points[:, 0])
    kernel = regress(points, known, values, 0.01, ONE).mean
    learned = regressed(points, known, values, 0.1, ONE).mean
    assert np.sqrt(((learned - truth) ** 2).mean()) < 0.5 * np.sqrt(((kernel - truth) ** 2).mean())


def test_uncertainty_grows_away_from_data_and_its_interval_covers() -> None:
    rng = np.random.default_rng(5)
    known = 0.5 * rng.uniform(size=(100, 1))
    values = np.sin(8 * known[:, 0]) + rng.normal(scale=0.1, size=100)
    near, far = regressed(np.array([[0.25], [2.0]]), known, values, 0.1, ONE).variance
    assert far > 20 * near
    points = 0.5 * rng.uniform(size=(400, 1))
    found = regressed(points, known, values, 0.1, ONE)
    inside = abs(found.mean - np.sin(8 * points[:, 0])) < 3 * np.sqrt(found.variance)
    assert inside.mean() > 0.9


def test_without_values_nothing_is_known_and_equal_ones_are_themselves() -> None:
    assert np.isnan(regressed(line(3), line(2), np.array([np.nan, np.nan]), 0.1, ONE).mean).all()
    np.testing.assert_allclose(regressed(line(5), line(4), np.full(4, 7.0), 0.1, ONE).mean, 7.0)


@pytest.mark.parametrize("settings", [{"generalise": "regressor"}, {"generalise": "kernel", "optimism": 1.0}])
def test_a_sampler_finds_the_theta_of_large_error_by_it(settings: dict[str, object]) -> None:
    """Errors grow with the first coordinate: its draws lie higher than DR's."""
    space = box_space()
    own = KernelSettings(candidates=64, memory=128, **settings)  # type: ignore[arg-type]
    config = CurriculumConfig(error_decay=0.5, dr_share=0.0)
    sampler = make_curriculum("waker-m", space, config, np.random.default_rng(0), settings=own)
    unit = []
    for step in range(60):
        thetas = sampler.sample(2)
        first = (thetas.points[:, 0] - space.low[0]) / (space.high[0] - space.low[0])
        sampler.observe(thetas.ids.repeat(4), np.repeat(first, 4), step)
        unit += first.tolist()
    assert np.mean(unit[60:]) > 0.65


def test_optimism_sends_it_where_little_is_known() -> None:
    space = box_space()
    shares = []
    for optimism in (0.0, 5.0):
        own = KernelSettings(generalise="regressor", optimism=optimism, candidates=64, memory=64)
        config = CurriculumConfig(error_decay=0.5, dr_share=0.0, temperature=0.1)
        sampler = make_curriculum("waker-m", space, config, np.random.default_rng(0), settings=own)
        low = space.low + 0.3 * (space.high - space.low) * np.random.default_rng(1).uniform(size=(64, 2))
        ids = sampler.sample(64).ids
        sampler.thetas[:] = low  # type: ignore[attr-defined]
        sampler.observe(ids, np.random.default_rng(2).normal(1.0, 0.1, size=64), 0)
        points = np.concatenate([sampler._one()[None] for _ in range(30)])  # type: ignore[attr-defined]
        shares.append((((points - space.low) / (space.high - space.low)) > 0.4).any(1).mean())
    assert shares[1] > 0.9
    assert shares[1] > shares[0]
