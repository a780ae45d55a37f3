"""Spaces of several domains: every sampler gives each the same weight and looks at scores inside each alone."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from tests.helpers.spaces import joint_space
from waker.curriculum import ComposedCurriculum, CurriculumConfig, Mixture, make_curriculum
from waker.curriculum.priorities.rules import Boltzmann, Rank, Restrict, TopK, each_domain_alike
from waker.errors import UserError
from waker_envs.api import FiniteThetaSpace, Parameter

SPACE = joint_space()
FIRST, SECOND = np.arange(777), np.arange(777, 812)
GROUPS = SPACE.groups
# The second domain's errors are a thousand times larger: across domains they must not be compared.
ERRORS = np.concatenate([np.random.default_rng(0).gamma(2.0, 1.0, 777), np.random.default_rng(1).gamma(2.0, 1e3, 35)])


def make(name: str, **settings: object) -> ComposedCurriculum:
    quick = {"reduction_start": 0, "reduction_interval": 10, "error_decay": 0.0}
    config = CurriculumConfig(**{**quick, **settings})  # type: ignore[arg-type]
    curriculum = make_curriculum(name, SPACE, config, np.random.default_rng(0))
    assert isinstance(curriculum, ComposedCurriculum)
    return curriculum


def softmax(z: np.ndarray) -> np.ndarray:
    weights = np.exp(z - z.max())
    return weights / weights.sum()


def zscore(x: np.ndarray) -> np.ndarray:
    return (x - x.mean()) / (x.std() + 1e-6)


def halves(p: np.ndarray) -> list[float]:
    return [float(p[FIRST].sum()), float(p[SECOND].sum())]


def test_dr_is_each_domain_s_half() -> None:
    p = make("dr").probabilities()
    np.testing.assert_allclose(p[FIRST], 0.5 / 777)
    np.testing.assert_allclose(p[SECOND], 0.5 / 35)


def test_waker_m_takes_z_inside_each_domain() -> None:
    curriculum = make("waker-m")
    curriculum.observe(np.arange(812), ERRORS, 0)
    expected = np.concatenate([softmax(zscore(ERRORS[FIRST])) / 2, softmax(zscore(ERRORS[SECOND])) / 2])
    np.testing.assert_allclose(curriculum.probabilities(), 0.2 * SPACE.weights + 0.8 * expected, rtol=1e-9)


def test_one_domain_s_scale_changes_nothing_in_the_other() -> None:
    curriculum, other = make("waker-m", dr_share=0.0), make("waker-m", dr_share=0.0)
    curriculum.observe(np.arange(812), ERRORS, 0)
    other.observe(np.arange(812), np.where(np.arange(812) < 777, ERRORS, 5.0 + ERRORS / 7), 0)
    np.testing.assert_allclose(curriculum.probabilities(), other.probabilities(), rtol=1e-5)  # 1e-6 beside std


def test_memory_in_updates_is_the_same_in_every_domain() -> None:
    """Of 1554 samples an update, each domain gets half: one for each θ of the first, 22.2 for each of the second."""
    memory, updates = 40.0, 40
    config = CurriculumConfig(memory_updates=memory, sampler="waker-m")
    curriculum = make_curriculum("waker-m", SPACE, config, np.random.default_rng(0), samples_per_update=2 * 777)
    curriculum.observe(np.arange(812), np.ones(812), 0)  # e = 1; from here on every error is 0
    for update in range(updates):
        rest = (np.arange(777) + 777 * update) % 35  # over 35 updates, as many for each
        curriculum.observe(np.concatenate([FIRST, 777 + rest]), np.zeros(2 * 777), update)
    np.testing.assert_allclose(curriculum.estimates(), np.exp(-updates / memory), rtol=1e-3)


def test_waker_r_scales_reductions_inside_each_domain() -> None:
    curriculum = make("waker-r", dr_share=0.0)
    curriculum.observe(np.arange(812), ERRORS, 0)
    curriculum.observe(np.arange(812), ERRORS, 10)  # the first mark
    after = 0.5 * ERRORS + np.arange(812) / 812
    curriculum.observe(np.arange(812), after, 20)
    r = 0.05 * (ERRORS - after)
    expected = [softmax(r[ids] / abs(r[ids]).mean() / 0.5) / 2 for ids in (FIRST, SECOND)]
    np.testing.assert_allclose(curriculum.probabilities(), np.concatenate(expected), rtol=1e-9)


@pytest.mark.parametrize("name", ["waker-m", "waker-r"])
@pytest.mark.parametrize(
    "settings",
    [{"priority": "boltzmann"}, {"priority": "rank"}, {"priority": "top-k", "top_k": 10}, {"staleness": 0.7}],
    ids=lambda s: "-".join(map(str, s.values())),
)
def test_each_domain_keeps_half_under_every_setting(name: str, settings: dict[str, object]) -> None:
    curriculum = make(name, **settings)
    for step, scale in ((0, 1.0), (10, 1.0), (20, 0.4)):
        curriculum.observe(np.arange(812), scale * ERRORS, step)
        curriculum.sample(50)
    assert halves(curriculum.probabilities()) == pytest.approx([0.5, 0.5], abs=1e-12)


def test_rank_and_top_k_count_inside_each_domain() -> None:
    best = [ids[np.argsort(-ERRORS[ids])] for ids in (FIRST, SECOND)]
    rank, top = Rank(0.5, GROUPS).distribution(ERRORS), TopK(3, GROUPS).distribution(ERRORS)
    assert rank is not None
    assert top is not None
    for ids in best:
        weights = np.arange(1, len(ids) + 1) ** -2.0
        np.testing.assert_allclose(rank[ids], weights / weights.sum() / 2, rtol=1e-12)
        np.testing.assert_allclose(top[ids[:3]], 1 / 6)
        assert not top[ids[3:]].any()


def test_a_domain_without_a_score_yet_waits_for_dr() -> None:
    scores = np.where(np.arange(812) < 777, ERRORS, np.nan)
    for priority in (Boltzmann(1.0, groups=GROUPS), Rank(0.1, GROUPS), TopK(3, GROUPS)):
        p = priority.distribution(scores)
        assert p is not None
        assert halves(p) == pytest.approx([1.0, 0.0])
    curriculum = make("waker-m")
    curriculum.observe(FIRST, ERRORS[FIRST], 0)
    assert halves(curriculum.probabilities()) == pytest.approx([0.9, 0.1])


def test_gradual_expansion_expands_in_both_domains_alike() -> None:
    curriculum = make("gradual-expansion", dr_share=0.0)
    for theta_id in (0, 1, 2, 800):
        curriculum.episode_done(SPACE.points[theta_id], theta_id, {})
    p = curriculum.probabilities()
    np.testing.assert_allclose(p[[0, 1, 2, 800]], [1 / 6, 1 / 6, 1 / 6, 1 / 2])
    assert p.sum() == pytest.approx(1)


def test_reweighting_gives_each_domain_half_and_shares_it_among_its_hard_ones() -> None:
    space = FiniteThetaSpace(
        SPACE.parameters,
        SPACE.points,
        SPACE.weights,
        hard=SPACE.points[[0, 1, 2, 3, 800]],
        groups=GROUPS,
        group_names=SPACE.group_names,
    )
    config = CurriculumConfig(dr_share=0.0)
    p = make_curriculum("reweighting-oracle", space, config, np.random.default_rng(0)).probabilities()
    assert p is not None
    np.testing.assert_allclose(p[[0, 1, 2, 3, 800]], [1 / 8] * 4 + [1 / 2])


def test_without_a_hardest_the_oracle_says_so() -> None:
    with pytest.raises(UserError, match="'hardest-oracle' needs a θ space that names its hardest"):
        make("hardest-oracle")


def test_draws_follow() -> None:
    curriculum = make("waker-m")
    curriculum.observe(np.arange(812), ERRORS, 0)
    drawn = curriculum.sample(20_000).points
    first = int((drawn[:, 0] == 0).sum())
    assert stats.binomtest(first, 20_000, 0.5).pvalue > 1e-4


def test_staleness_is_shared_alike() -> None:
    groups = np.array([0, 0, 0, 1])
    target, weights = np.array([0.25, 0.25, 0.0, 0.5]), np.full(4, 0.25)
    q = Mixture(0.0, 1.0, groups).mix(target, weights, np.array([1, 3, 9, 2]))
    np.testing.assert_allclose(q, [1 / 8, 3 / 8, 0, 1 / 2])


def test_restrict_and_the_shares_by_hand() -> None:
    groups = np.array([0, 0, 1, 1, 2])
    weights = np.array([1.0, 3.0, 2.0, 0.0, 0.0])
    np.testing.assert_allclose(each_domain_alike(weights, groups), [1 / 8, 3 / 8, 1 / 2, 0, 0])
    np.testing.assert_allclose(each_domain_alike(weights, None), weights / 6)
    assert each_domain_alike(np.zeros(5), groups) is None
    scores = np.array([np.nan, 1.0, 1.0, 1.0, 1.0])
    np.testing.assert_allclose(Restrict(weights, groups).distribution(scores), [0, 1 / 2, 1 / 2, 0, 0])


@pytest.mark.parametrize(
    ("groups", "names", "suites"),
    [
        ([0, 1], ["a", "b"], {}),  # one for each point
        ([0.0, 1.0, 1.0], ["a", "b"], {}),  # integers
        ([0, 0, 2], ["a", "b", "c"], {}),  # b has no θ
        ([0, 1, 1], ["a"], {}),
        ([0, 1, 1], ["a", "a"], {}),
        (None, ["a"], {}),
        ([0, 1, 1], ["a", "b"], {"far": [[9.0]]}),  # whose suite is it?
    ],
)
def test_domains_that_do_not_fit_are_refused(groups: object, names: list[str], suites: dict[str, object]) -> None:
    with pytest.raises(ValueError, match=r"group|domain"):
        FiniteThetaSpace(
            [Parameter("x", "")],
            [[0.0], [1.0], [2.0]],
            groups=groups,  # type: ignore[arg-type]
            group_names=names,
            suites=suites,  # type: ignore[arg-type]
        )
