"""Every named sampler against its exact sampling distribution, by hand and by frequency."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from scipy import stats

from tests.helpers.spaces import POINTS, WEIGHTS, box_space, finite_space
from waker.curriculum import ComposedCurriculum, CurriculumConfig, Wanted, make_curriculum
from waker.curriculum.api import Curriculum
from waker.curriculum.registry import CURRICULA, box_samplers, curriculum_names
from waker.errors import UserError
from waker.plug_ins import is_ours

# Settings that make waker-r's marks 10, 20, 30 … and e the last credited error.
QUICK = {"reduction_start": 0, "reduction_interval": 10, "error_decay": 0.0}


def make(name: str, seed: int = 0, **settings: object) -> ComposedCurriculum:
    config = CurriculumConfig(**{**QUICK, **settings})  # type: ignore[arg-type]
    curriculum = make_curriculum(name, finite_space(), config, np.random.default_rng(seed))
    assert isinstance(curriculum, ComposedCurriculum)
    return curriculum


def credit(curriculum: Curriculum, errors: dict[int, float], step: int) -> None:
    curriculum.observe(np.array(list(errors)), np.array(list(errors.values())), step)


def dr() -> tuple[Curriculum, np.ndarray]:
    curriculum = make("dr")
    credit(curriculum, {0: 1.0, 5: 100.0}, 0)
    return curriculum, WEIGHTS


def waker_m() -> tuple[Curriculum, np.ndarray]:
    curriculum = make("waker-m")
    credit(curriculum, {0: 1.0, 3: 2.0, 5: 6.0}, 0)  # mean 3, population variance 14/3
    z = (np.array([1.0, 2.0, 6.0]) - 3.0) / (np.sqrt(14 / 3) + 1e-6)
    boltzmann = np.zeros(6)
    boltzmann[[0, 3, 5]] = np.exp(z) / np.exp(z).sum()
    return curriculum, 0.2 * WEIGHTS + 0.8 * boltzmann


def waker_r() -> tuple[Curriculum, np.ndarray]:
    curriculum = make("waker-r")
    credit(curriculum, {0: 9.0}, 0)  # the first batch is no mark
    credit(curriculum, {0: 1.0, 3: 2.0, 5: 6.0}, 10)
    credit(curriculum, {0: 1.0, 3: 3.0, 5: 3.0, 1: 7.0}, 20)  # Δ = 0, −1, 3; θ 1 has no e_prev
    # r = 0.05 Δ, mean |r| = 0.05 · 4/3, so z = Δ · 3/4; η = 0.5.
    weights = np.exp(np.array([0.0, -0.75, 2.25]) / 0.5)
    boltzmann = np.zeros(6)
    boltzmann[[0, 3, 5]] = weights / weights.sum()
    return curriculum, 0.2 * WEIGHTS + 0.8 * boltzmann


def gradual_expansion() -> tuple[Curriculum, np.ndarray]:
    curriculum = make("gradual-expansion")
    curriculum.episode_done(POINTS[1], 1, {})
    curriculum.episode_done(POINTS[4], 4, {})
    curriculum.episode_done(np.array([9.0, 9.0]), -1, {})  # outside the space
    visited = np.array([0, 0.2, 0, 0, 0.1, 0]) / 0.3
    return curriculum, 0.2 * WEIGHTS + 0.8 * visited


def hardest_oracle() -> tuple[Curriculum, np.ndarray]:
    curriculum = make("hardest-oracle")
    credit(curriculum, {0: 100.0, 5: 1.0}, 0)
    return curriculum, np.array([0, 0, 0, 0, 0, 1.0])


def reweighting_oracle() -> tuple[Curriculum, np.ndarray]:
    return make("reweighting-oracle"), 0.2 * WEIGHTS + 0.8 * np.array([0, 0, 0, 0.5, 0, 0.5])


def of_truth(name: str, **settings: object) -> tuple[ComposedCurriculum, np.ndarray]:
    """A curriculum that was told 1, 2 and 6 of θ 0, 3 and 5, and what it must make of that (waker-m's numbers)."""
    curriculum = make(name, **settings)
    credit(curriculum, {0: 9.0, 1: 0.5}, 0)  # which it must not look at
    curriculum.measured(np.array([9.0, 8, 7, 6, 5, 4]), 10)  # of an earlier model
    curriculum.measured(np.array([1.0, np.nan, np.inf, 2, np.nan, 6]), 20)
    return curriculum, waker_m()[1]


def error_oracle() -> tuple[Curriculum, np.ndarray]:
    return of_truth("error-oracle")


def regret_oracle() -> tuple[Curriculum, np.ndarray]:
    return of_truth("regret-oracle")


CASES: list[Callable[[], tuple[Curriculum, np.ndarray]]] = [
    dr,
    waker_m,
    waker_r,
    gradual_expansion,
    hardest_oracle,
    reweighting_oracle,
    error_oracle,
    regret_oracle,
]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.__name__)
def test_probabilities_are_exact(case: Callable[[], tuple[Curriculum, np.ndarray]]) -> None:
    curriculum, expected = case()
    np.testing.assert_allclose(curriculum.probabilities(), expected, rtol=1e-9, atol=1e-15)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.__name__)
def test_frequencies_follow_the_probabilities(case: Callable[[], tuple[Curriculum, np.ndarray]]) -> None:
    curriculum, expected = case()
    n = 50_000
    ids, theta = curriculum.sample(n)
    np.testing.assert_array_equal(theta, POINTS[ids])
    counts = np.bincount(ids, minlength=6)
    possible = expected > 0
    assert counts[~possible].sum() == 0
    if possible.sum() > 1:
        assert stats.chisquare(counts[possible], n * expected[possible]).pvalue > 1e-4
    assert curriculum.table()["episodes"].tolist() == counts.tolist()


@pytest.mark.parametrize("name", ["waker-m", "waker-r", "gradual-expansion", "dr", "error-oracle", "regret-oracle"])
def test_a_fresh_sampler_is_dr(name: str) -> None:
    np.testing.assert_array_equal(make(name).probabilities(), WEIGHTS)


def test_waker_r_is_dr_until_a_reduction_is_known() -> None:
    curriculum = make("waker-r", reduction_start=100)
    for step in (0, 50, 100, 109):
        credit(curriculum, {0: 1.0 + step, 5: 2.0}, step)
        np.testing.assert_array_equal(curriculum.probabilities(), WEIGHTS)
    credit(curriculum, {0: 1.0, 5: 1.0}, 110)
    assert curriculum.probabilities()[0] > WEIGHTS[0]


def test_gradual_expansion_counts_its_own_samples_as_visits() -> None:
    curriculum = make("gradual-expansion", seed=3, dr_share=0.0)
    first = int(curriculum.sample(1).ids[0])
    expected = np.zeros(6)
    expected[first] = 1.0
    np.testing.assert_array_equal(curriculum.probabilities(), expected)
    assert (curriculum.sample(200).ids == first).all()


@pytest.mark.parametrize("n", [0, 1, 7])
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.__name__)
def test_sample_returns_n(case: Callable[[], tuple[Curriculum, np.ndarray]], n: int) -> None:
    ids, points = case()[0].sample(n)
    assert ids.shape == (n,)
    assert points.shape == (n, 2)


def test_samples_are_copies_of_the_points() -> None:
    curriculum = make("dr")
    curriculum.sample(20).points[:] = -1
    np.testing.assert_array_equal(curriculum.space.points, POINTS)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.__name__)
def test_every_sampler_tracks_the_magnitude(case: Callable[[], tuple[Curriculum, np.ndarray]]) -> None:
    curriculum, _ = case()
    curriculum.observe(np.array([[2, -1], [2, 4]]), np.array([[1.0, np.nan], [3.0, 5.0]], np.float32), 1000)
    estimates = curriculum.estimates()
    assert estimates is not None
    assert estimates[[2, 4]].tolist() == [3.0, 5.0]  # decay 0: the last one; id −1 is ignored, whatever its error


def test_settings_change_the_distribution() -> None:
    errors = {0: 1.0, 3: 2.0, 5: 6.0}
    rank, top, hot = (
        make("waker-m", priority="rank", rank_temperature=1.0, dr_share=0.0),
        make("waker-m", priority="top-k", top_k=2, dr_share=0.5),
        make("waker-m", temperature=1e9, dr_share=0.0),
    )
    for curriculum in (rank, top, hot):
        credit(curriculum, errors, 0)
    np.testing.assert_allclose(rank.probabilities(), np.array([2, 0, 0, 3, 0, 6]) / 11)
    np.testing.assert_allclose(top.probabilities(), 0.5 * WEIGHTS + 0.5 * np.array([0, 0, 0, 0.5, 0, 0.5]))
    np.testing.assert_allclose(hot.probabilities(), np.array([1, 0, 0, 1, 0, 1]) / 3, atol=1e-8)


def test_oracles_of_the_truth_take_waker_m_s_settings() -> None:
    top, _ = of_truth("error-oracle", priority="top-k", top_k=2, dr_share=0.5)
    np.testing.assert_allclose(top.probabilities(), 0.5 * WEIGHTS + 0.5 * np.array([0, 0, 0, 0.5, 0, 0.5]))
    hot, _ = of_truth("regret-oracle", temperature=1e9, dr_share=0.0)
    np.testing.assert_allclose(hot.probabilities(), np.array([1, 0, 0, 1, 0, 1]) / 3, atol=1e-8)


@pytest.mark.parametrize(
    ("name", "settings", "metrics"),
    [
        ("error-oracle", {}, ("one_step_tv", "observation_nll_1")),
        ("error-oracle", {"oracle_error": "open_loop_tv_10"}, ("open_loop_tv_10",)),
        ("regret-oracle", {}, ("planned_regret_mean",)),
        ("regret-oracle", {"oracle_regret": "worst"}, ("planned_regret_worst",)),
    ],
)
def test_what_oracles_of_the_truth_ask_for(name: str, settings: dict[str, str], metrics: tuple[str, ...]) -> None:
    asked = make(name, oracle_interval=30, oracle_episodes=3, **settings).wanted
    assert asked == Wanted(metrics, every=30, episodes=3)


def test_others_ask_for_nothing() -> None:
    assert make("waker-m").wanted is None


def test_a_measurement_of_another_space_is_refused() -> None:
    with pytest.raises(ValueError, match=r"shape \(5,\), this space has 6"):
        make("error-oracle").measured(np.zeros(5), 0)


@pytest.mark.parametrize("wrong", [{"metrics": ()}, {"every": 0}, {"episodes": 0}])
def test_what_nobody_can_measure_cannot_be_asked_for(wrong: dict[str, object]) -> None:
    with pytest.raises(ValueError, match="at least"):
        Wanted(**{"metrics": ("one_step_tv",), "every": 1, "episodes": 1, **wrong})  # type: ignore[arg-type]


def test_staleness_counts_episodes_since_the_last_sample() -> None:
    curriculum = make("waker-m", priority="top-k", top_k=2, staleness=1.0, dr_share=0.0)
    credit(curriculum, {3: 2.0, 5: 2.0}, 0)
    last = [int(curriculum.sample(1).ids[0]) for _ in range(6)]
    # The one sampled last has age 0, so the other one is certain: they alternate.
    assert set(last) == {3, 5}
    assert all(a != b for a, b in pairwise(last))


def test_the_table_has_a_row_per_theta() -> None:
    curriculum, expected = waker_m()
    table = curriculum.table()
    assert table["theta_id"].tolist() == list(range(6))
    assert list(table) == [
        "theta_id", "theta_size", "theta_slip", "probability", "estimate", "score", "episodes", "credits",
    ]  # fmt: skip
    row = {name: column[3] for name, column in table.items()}
    assert (row["theta_size"], row["theta_slip"], row["estimate"], row["credits"]) == (4.0, 0.1, 2.0, 1)
    assert np.isnan(table["estimate"][1])
    np.testing.assert_allclose(table["probability"], expected)
    assert waker_r()[0].table()["score"][5] == pytest.approx(0.15)  # the reduction, not the magnitude


def test_bad_credits_are_refused_before_anything_changes() -> None:
    curriculum, _ = waker_m()
    before = curriculum.estimates()
    with pytest.raises(UserError, match=r"size=5, slip=0\.1\) is not finite at step 77"):
        curriculum.observe(np.array([0, 5]), np.array([1.0, np.inf]), 77)
    with pytest.raises(ValueError, match="theta_id 6 is beyond this space's 6 θ"):
        curriculum.observe(np.array([6]), np.array([1.0]), 0)
    with pytest.raises(ValueError, match=r"shape \(2, 1\) but error has \(2,\)"):
        curriculum.observe(np.array([[0], [1]]), np.array([1.0, 2.0]), 0)
    np.testing.assert_array_equal(curriculum.estimates(), before)


def test_an_empty_batch_is_nothing() -> None:
    curriculum, expected = waker_m()
    curriculum.observe(np.zeros(0, np.int64), np.zeros(0), 0)
    curriculum.observe(np.array([-1]), np.array([5.0]), 0)
    np.testing.assert_allclose(curriculum.probabilities(), expected)


def test_continuous_dr_is_the_space_s_own() -> None:
    space = box_space()
    curriculum = make_curriculum("dr", space, CurriculumConfig(), np.random.default_rng(0))
    ids, theta = curriculum.sample(20_000)
    assert (ids == -1).all()
    for d, (low, width) in enumerate([(3.0, 2.0), (0.0, 0.2)]):
        assert stats.kstest(theta[:, d], stats.uniform(low, width).cdf).pvalue > 1e-4
    curriculum.observe(np.array([-1]), np.array([1.0]), 0)
    curriculum.episode_done(theta[0], -1, {})
    assert curriculum.probabilities() is None
    assert curriculum.estimates() is None
    assert curriculum.table() == {}


def test_continuous_oracles() -> None:
    config, rng = CurriculumConfig(), np.random.default_rng(0)
    hardest = make_curriculum("hardest-oracle", box_space(), config, rng).sample(100).points
    assert (hardest == POINTS[5]).all()
    n = 20_000
    theta = make_curriculum("reweighting-oracle", box_space(), config, rng).sample(n).points
    counts = [int((theta == POINTS[i]).all(1).sum()) for i in (3, 5)]
    assert stats.chisquare([*counts, n - sum(counts)], [0.4 * n, 0.4 * n, 0.2 * n]).pvalue > 1e-4


@pytest.mark.parametrize("name", ["gradual-expansion", "error-oracle", "regret-oracle", "model-loss", "traced"])
def test_tables_need_a_finite_space(name: str) -> None:
    with pytest.raises(UserError, match=f"'{name}' needs a finite θ space.*'dr'"):
        make_curriculum(name, box_space(), CurriculumConfig(), np.random.default_rng(0))


def test_what_runs_on_a_box_is_listed_in_the_message_and_on_its_page() -> None:
    ours = [name for name in curriculum_names() if is_ours(CURRICULA.registered.get(name))]
    runs = []
    for name in ours:
        with contextlib.suppress(UserError):
            make_curriculum(name, box_space(), CurriculumConfig(), np.random.default_rng(0))
            runs.append(name)
    assert [name for name in box_samplers() if name in ours] == runs
    with pytest.raises(UserError) as refused:
        make_curriculum("cenie", box_space(), CurriculumConfig(), np.random.default_rng(0))
    assert re.findall(r"'([^']+)'", str(refused.value)) == ["cenie", *box_samplers()]
    page = (Path(__file__).parents[2] / "docs" / "curricula.md").read_text(encoding="utf-8")
    listed = page.split("### On a continuous space\n")[1].split("All others need")[0].split(" run: ")[1]
    assert re.findall(r"`([^`]+)`", listed) == runs


@pytest.mark.parametrize("name", ["hardest-oracle", "reweighting-oracle"])
def test_oracles_need_an_expert(name: str) -> None:
    for space in (finite_space(experts=False), box_space(experts=False)):
        with pytest.raises(UserError, match=f"'{name}' needs a θ space that names"):
            make_curriculum(name, space, CurriculumConfig(), np.random.default_rng(0))
