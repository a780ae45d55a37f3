"""Published rules against numbers worked out by hand, to 1e-6.

A docstring names the fault of a public implementation that the test finds.
"""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from waker.config.saved import config_from, plain
from waker.config.schema import Config
from waker.curriculum import CurriculumConfig
from waker.curriculum.api import Floats, Score
from waker.curriculum.boxes.level_buffer import LevelBuffer
from waker.curriculum.evidence import EpisodeEvidence, Evidence
from waker.curriculum.level_replay.edits import parents
from waker.curriculum.level_replay.replay_settings import LevelReplaySettings
from waker.curriculum.level_replay.table import LevelReplay, ReplayLaw
from waker.curriculum.named.alp_gmm import AlpGmm, AlpGmmSettings
from waker.curriculum.named.bidirectional_lp import BidirectionalProgress, BidirectionalSettings
from waker.curriculum.named.cenie import mixed
from waker.curriculum.named.diplr import DiplrSettings, Diversity, distance, quantiles
from waker.curriculum.named.learning_progress import LearningProgressSettings, Progress
from waker.curriculum.named.ncc import NccSettings, Weights
from waker.curriculum.named.pace import squared_norms
from waker.curriculum.named.prowl import ErrorAndChange, ProwlSettings, adversarial_score
from waker.curriculum.named.sfl import Learnability, SflSettings, learnability
from waker.curriculum.named.traced import TracedScore, TracedSettings
from waker.curriculum.priorities.mixture import Mixture
from waker.curriculum.priorities.proportional import Proportional
from waker.curriculum.priorities.rules import Boltzmann, Rank, TopK, mean_abs, zscore
from waker.curriculum.scores import advantages as formulas
from waker.curriculum.scores.credited import Credited
from waker.curriculum.scores.error_estimate import Magnitude
from waker.curriculum.scores.gaussians import Gaussians
from waker.curriculum.scores.quantities import MaxMC, OfAdvantages, OneStepTD, PerStep, per_step, quantity
from waker.curriculum.scores.simplex import ascended, generalised_learnability, projected, slope
from waker_envs.api import BoxThetaSpace, FiniteThetaSpace, Parameter

NAN = np.nan
SCORES, AGES = [0.8, 0.1, 0.5, 0.5, 0.0], [0, 4, 2, 1, 3]


def close(found: object, expected: object) -> None:
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-6)  # type: ignore[arg-type]


class Given(Score):
    """Scores that a test sets."""

    def __init__(self, scores: list[float]) -> None:
        self.scores: Floats = np.array(scores)

    def values(self) -> Floats:
        return self.scores.copy()


def line(n: int) -> FiniteThetaSpace:
    return FiniteThetaSpace([Parameter("x", "")], np.arange(float(n))[:, None])


def replayed(scores: list[float], ages: list[int], priority: Rank | Proportional, rho: float) -> LevelReplay:
    """A curriculum whose θ have these scores and were last drawn so long ago."""
    n = len(scores)
    made = LevelReplay(
        "test", line(n), tracker=Magnitude(n), score=Given(scores), priority=priority,
        law=ReplayLaw(share=1.0, fill=0.0, staleness=rho), rng=np.random.default_rng(0),
    )  # fmt: skip
    seen = ~np.isnan(np.array(scores))
    made.stale.load_state_dict({"clock": 10, "last": 10 - np.array(ages), "seen": seen})
    return made


def test_rank_and_staleness() -> None:
    """Of equal scores the lower id is ranked first (jaxued, minimax)."""
    close(Rank(0.3).distribution(np.array(SCORES)), [0.877644, 0.008639, 0.087073, 0.022538, 0.004106])
    made = replayed(SCORES, AGES, Rank(0.3), 0.3)
    close(made.replay_distribution(), [0.614351, 0.126047, 0.120951, 0.045777, 0.092874])
    close(made.probabilities(), made.replay_distribution())


def test_the_other_rule_for_ties_is_ranking_from_the_end() -> None:
    """dcd, level-replay, Syllabus and TRACED: the higher index first, which is the rule here on reversed ids."""
    target = Rank(0.3).distribution(np.array(SCORES[::-1]))
    assert target is not None
    stale = np.array(AGES) / 10
    close(0.7 * target[::-1] + 0.3 * stale, [0.614351, 0.126047, 0.075777, 0.090951, 0.092874])


def test_rank_at_temperature_one() -> None:
    made = replayed(SCORES, AGES, Rank(1.0), 0.3)
    close(made.replay_distribution(), [0.306569, 0.196642, 0.213285, 0.132190, 0.151314])


@pytest.mark.parametrize(
    ("beta", "expected"),
    [
        (1.0, [0.126316, 0.295789, 0.218947, 0.148947, 0.210000]),
        (0.5, [0.166957, 0.282609, 0.205217, 0.135217, 0.21]),
    ],
)
def test_proportional(beta: float, expected: list[float]) -> None:
    close(replayed(SCORES, AGES, Proportional(beta), 0.7).replay_distribution(), expected)


def test_a_draw_ages_all_others() -> None:
    made = replayed(SCORES, AGES, Rank(0.3), 0.3)
    made.stale.drawn(2)
    assert made.stale.ages().tolist() == [1, 5, 0, 2, 4]
    close(made.replay_distribution(), [0.639351, 0.131047, 0.060951, 0.065777, 0.102874])


def test_unseen_theta_have_no_rank() -> None:
    """Stored as zeros and masked after the ranking, they push negative scores down: [.722910 .277090]."""
    close(Rank(0.3).distribution(np.array([-0.2, NAN, -0.5, NAN])), [0.909742, 0, 0.090258, 0])
    wrong = Rank(0.3).distribution(np.array([-0.2, 0.0, -0.5, 0.0]))
    assert wrong is not None
    close(wrong[[0, 2]] / wrong[[0, 2]].sum(), [0.722910, 0.277090])


def test_all_zero_scores_and_ages_are_uniform_over_seen() -> None:
    close(Proportional().distribution(np.array([0.0, NAN, 0.0, -1.0])), [1 / 3, 0, 1 / 3, 1 / 3])
    made = replayed([1.0, NAN, 2.0], [0, 1, 2], Rank(1.0), 1.0)
    made.stale.last[:] = made.stale.clock
    close(made.stale.distribution(), [0.5, 0, 0.5])  # minimax falls back to the law of scores
    assert Proportional().distribution(np.full(3, NAN)) is None


def test_level_replay_on_the_model_s_loss() -> None:
    made = replayed([3.0, 1.0, 2.0, 2.5], [0, 2, 5, 1], Rank(0.3), 0.3)
    close(made.replay_distribution(), [0.616884, 0.081072, 0.203342, 0.098703])


R, V = np.array([0.0, 0.0, 1.0]), np.array([0.9, 0.4, 0.8, 0.0])  # a terminal trajectory; γ = .9, λ = .8
RI, VI = np.array([1.0, 0.5, 0.2]), np.array([2.6, 1.0, 0.9, 0.8])  # an imagined one; γ = .99, λ = .95


def test_scores_of_a_real_trajectory() -> None:
    a = formulas.advantages(R, V, 0.9, 0.8)
    close(formulas.td_errors(R, V, 0.9), [-0.54, 0.32, 0.2])
    close(a, [-0.20592, 0.464, 0.2])
    close(a.mean(), 0.152693)
    close(formulas.value_l1(a), 0.289973)
    close(formulas.positive_value_loss(a), 0.221333)  # the clamp after the sum over δ, then the mean
    close(formulas.negative_advantage(a), 0.205920)  # a sum
    close(formulas.one_step_td(R, V, 0.9), 0.43)  # level-replay's line has neither γ nor the sign: .45
    close(formulas.below_best(np.array(1.0), V), 0.3)
    close(formulas.below_best(np.array(1.0), V, dense=True), 0.1)


def test_scores_of_an_imagined_rollout() -> None:
    close(formulas.lambda_returns(RI, VI, 0.99, 0.95), [2.439113, 1.477526, 0.992])
    a = formulas.advantages(RI, VI, 0.99, 0.95)
    close(a, [-0.160887, 0.477526, 0.092])
    close(formulas.positive_value_loss(a), 0.189842)
    close(formulas.value_l1(a), 0.243471)


def test_both_kinds_of_record_give_the_same_numbers() -> None:
    update = Evidence(
        step=0, theta_id=np.array([0]), rewards=RI[None], values=VI[None],
        returns=formulas.lambda_returns(RI, VI, 0.99, 0.95)[None],
    )  # fmt: skip
    episode = EpisodeEvidence(step=0, theta=np.zeros(1), theta_id=0, steps=3, rewards=RI, values=VI)
    task = EpisodeEvidence(
        step=0, theta=np.zeros(1), theta_id=0, steps=3, task_rewards=R, task_values=V, discount=0.9, trace=0.8
    )
    pvl = OfAdvantages(formulas.positive_value_loss)
    close(pvl.of_update(update), [0.189842])
    close(pvl.of_episode(episode), 0.189842)
    close(OfAdvantages(formulas.positive_value_loss, task=True).of_episode(task), 0.221333)
    close(OneStepTD().of_update(update), [OneStepTD().of_episode(episode)])


def mc_episode(theta_id: int, total: float, values: list[float]) -> EpisodeEvidence:
    """A terminal episode whose return is ``total``, all of it earned at once."""
    v, rewards = np.array([*values, 0.0]), np.zeros(len(values))
    rewards[0] = total
    return EpisodeEvidence(step=0, theta=np.zeros(1), theta_id=theta_id, steps=len(values), rewards=rewards, values=v)


def test_max_mc_keeps_its_maximum() -> None:
    """minimax overwrites R* by the last rollout's maximum; it and jaxued begin at 0, above any negative return."""
    literal, dense = MaxMC(2), MaxMC(2, dense=True)
    for kind in (literal, dense):
        kind.of_episode(mc_episode(0, 6.0, [2.6, 1.0, 0.9]))
    close(literal.of_episode(mc_episode(0, 0.5, [2.6, 1.0, 0.9])), 4.5)
    close(dense.of_episode(mc_episode(0, 0.5, [2.6, 1.0, 0.9])), 3.4)
    close(MaxMC(1).of_episode(mc_episode(0, -2.0, [-1.0, -1.0])), -1.0)
    fading = MaxMC(1, decay=0.9)
    for expected in (6.0, 5.4, 4.86):
        fading.of_episode(mc_episode(0, 6.0 if expected == 6.0 else 0.0, [0.0]))
        close(fading.best, [expected])


def test_the_same_theta_twice_in_a_batch_keeps_the_larger_return() -> None:
    """A plain assignment by index would keep the last."""
    quantity = MaxMC(1)
    rewards = np.array([[5.0], [1.0]])
    found = quantity.of_update(
        Evidence(step=0, theta_id=np.array([0, 0]), rewards=rewards, values=np.array([[1.0, 0.0], [2.0, 0.0]]))
    )
    close(found, [4.0, 3.0])


def played(theta_id: int, losses: list[float]) -> EpisodeEvidence:
    return EpisodeEvidence(
        step=0, theta=np.zeros(1), theta_id=theta_id, steps=len(losses), loss=np.array(losses)
    )  # fmt: skip


def test_an_episode_s_score_is_the_mean_over_all_its_steps() -> None:
    """TRACED and Syllabus merge an episode's pieces without dividing by steps; their running mean gives 1.1 here."""
    score = Credited(2, PerStep("loss"), "episode")
    score.learn_episode(played(0, [2.0] * 10 + [4.0] * 10))
    close(score.values()[0], 3.0)
    score.learn_episode(played(0, [7.0] * 5))
    close(score.values()[0], 7.0)
    assert "whole" not in {field.name for field in dataclasses.fields(EpisodeEvidence)}  # there are no pieces


def test_the_timeline_of_a_level_buffer() -> None:
    """jaxued: eviction by P, which protects the stale, not by score; the clock counts refused levels, too."""
    buffer = LevelBuffer(1, 3, Rank(1.0), 0.3)
    a, b, c, d, e = np.arange(5.0)[:, None]
    for theta, score in ((a, 0.2), (b, 0.5), (c, 0.1)):
        buffer.insert(theta, score)
    close(buffer.distribution(), [0.390909, 0.481818, 0.127273])
    assert buffer.insert(d, 0.3) == 2
    assert (buffer.stamps.tolist(), buffer.clock) == ([1, 2, 4], 4)  # a new level is young, whatever was there before
    close(buffer.distribution(), [0.307273, 0.501818, 0.190909])
    assert buffer.insert(e, 0.05) == -1
    assert buffer.clock == 5
    close(buffer.distribution(), [0.277273, 0.494318, 0.228409])
    buffer.touch(buffer.slot(b))
    assert (buffer.stamps.tolist(), buffer.clock) == ([1, 6, 4], 6)
    close(buffer.distribution(), [0.341558, 0.381818, 0.276623])


def test_the_weakest_level_is_the_one_of_smallest_p() -> None:
    """Level 4 has the lowest score, but is stale; 3 is replaced (ties: lower index first)."""
    buffer = LevelBuffer(1, 5, Rank(0.3), 0.3)
    for i, score in enumerate(SCORES):
        buffer.insert(np.array([float(i)]), score)
    buffer.stamps[:] = buffer.clock - np.array(AGES)
    close(buffer.distribution(), [0.614351, 0.126047, 0.120951, 0.045777, 0.092874])
    assert buffer.insert(np.array([9.0]), 0.4) == -1  # 3 has .5
    buffer.stamps[:] = buffer.clock - np.array(AGES)
    assert buffer.insert(np.array([9.0]), 0.5) == 3


def test_a_score_that_is_no_number_is_never_inserted() -> None:
    buffer, score = LevelBuffer(1, 2, Rank(1.0), 0.3), Credited(2, PerStep("loss"), "episode")
    for bad in (NAN, -np.inf, np.inf):
        assert buffer.insert(np.zeros(1), bad) == -1
        score.learn_episode(played(0, [bad] * 3))
    assert buffer.size == 0
    assert np.isnan(score.values()).all()
    score.learn_episode(played(0, [2.0] * 3))
    score.learn_episode(played(0, [NAN] * 3))
    close(score.values()[0], 2.0)


def test_parents_of_accel() -> None:
    """dcd's "easy" takes the smallest keys, the hardest; before that its argsort gave slot 0 for every child."""
    returns = np.array([0.9, 0.2, 0.7, 0, 0.5, 0.95, 0.1, 0.6])
    loss = np.array([0.05, 0.3, 0.1, 0.02, 0.4, 0.01, 0.25, 0.1])
    key = returns - loss
    close(key, [0.85, -0.1, 0.6, -0.02, 0.1, 0.94, -0.15, 0.5])
    assert parents(key, "lowest-regret").tolist() == [6, 1, 3, 4, 6, 1, 3, 4]
    assert parents(key, "highest-regret").tolist() == [5, 0, 2, 7, 5, 0, 2, 7]
    assert parents(key, "batch").tolist() == list(range(8))


def visits(losses: list[list[float]], **settings: object) -> Progress:
    score = Progress(line(3), PerStep("loss"), LearningProgressSettings(**settings))  # type: ignore[arg-type]
    for row in losses:
        score.learn(Evidence(step=0, theta_id=np.arange(3), loss=np.array(row)))
    return score


def test_learning_progress() -> None:
    losses = [[1, 1, 1], [0.8, 1, 1.1], [0.5, 1, 1.3]]
    both = visits(losses, direction="both")
    close(both.fast, [0.932, 1, 1.039])
    close(both.slow, [0.99302, 1, 1.00399])
    close(both.values(), [0.06102, 0, 0.03501])
    close(Proportional().distribution(both.values()), [0.635426, 0, 0.364574])
    close(Proportional().distribution(visits(losses).values()), [1, 0, 0])


def test_learning_progress_counts_visits_not_steps() -> None:
    """An update with many steps of θ is one visit of their mean."""
    score = Progress(line(2), PerStep("loss"), LearningProgressSettings())
    score.learn(Evidence(step=0, theta_id=np.array([0, 0, 1, -1]), loss=np.array([1.0, 3, 5, 9])))
    close(score.fast, [2, 5])
    score.learn(Evidence(step=0, theta_id=np.array([0, 0]), loss=np.array([0.0, 2])))
    close(score.fast, [1.9, 5])


def test_bidirectional_learning_progress() -> None:
    """The slow average follows the *new* fast one; a θ never solved is left out."""
    score = BidirectionalProgress(4, BidirectionalSettings())
    for rates in ([0, 0.2, 0.9, 0], [0.1, 0.5, 0.9, 0], [0.4, 0.5, 0.2, 0]):
        score.evaluated(np.array(rates, np.float64))
        if score.progress().any():
            continue
        close(Proportional().distribution(score.values()), [0, 0.5, 0.5, 0])  # the first evaluation: none progresses
    close(score._numbers[1], [0.049, 0.07125, 0.54, 0])
    close(score._numbers[2], [0.0058, 0.0105, 0.594, 0])
    close(score.progress(), [0.266925, 0.321262, 0.015882, 0])
    close(Proportional().distribution(score.values()), [0.405552, 0.464640, 0.129809, 0])


def test_alp_gmm() -> None:
    """The seventh episode is the first that can have progress."""
    space = BoxThetaSpace([Parameter("x", "")], [0.0], [1.0])
    sampler = AlpGmm(space, AlpGmmSettings(), np.random.default_rng(0))
    known = [(0, 1), (0.2, 1), (0.4, 2), (0.6, 2), (0.8, 3), (1, 3), (0.45, 2.6)]
    for theta, y in known:
        losses = np.array([float(y)])
        sampler.learn_episode(EpisodeEvidence(step=0, theta=np.array([theta]), theta_id=-1, steps=1, loss=losses))
    close(sampler._rows[:7, -1], [0, 0, 0, 0, 0, 0, 0.6])
    sampler._fit.weights[:3] = 1 / 3
    sampler._fit.means[:3, -1] = [0.1, 0.3, 0.6]
    close(sampler.choice()[:4], [0.1, 0.3, 0.6, 0])
    sampler._fit.means[:, -1] = 0.0
    close(sampler.choice()[:4], [1 / 3, 1 / 3, 1 / 3, 0])


def test_traced() -> None:
    """The bonus of co-learnability goes to the θ trained in the cycle before, until they are scored again."""
    score = TracedScore(3, TracedSettings(scale="raw"))
    for theta_id, terms in enumerate([(0.6, 0.0), (0.7, 0.0), (0.4, 0.0)]):
        score.scored(theta_id, np.array(terms))
    score._trained[0] = True
    score.end_cycle()  # all were scored for the first time: it counts 0
    close(score.values(), [0.6, 0.7, 0.4])
    for theta_id, terms in enumerate([(0.4, 0.05), (0.1, 0.5), (0.3, 0.2)]):
        score.scored(theta_id, np.array(terms))
    close(score.values(), [0.45, 0.6, 0.5])
    score.end_cycle()
    close(score.values(), [0.5, 0.6, 0.5])
    close(Rank(1.0).distribution(score.values()), [0.272727, 0.545455, 0.181818])
    score.scored(0, np.array([0.4, 0.05]))
    close(score.values(), [0.45, 0.6, 0.5])


def test_cenie() -> None:
    mixture = Gaussians(np.array([0.6, 0.4]), np.array([[0.0], [3.0]]), np.array([[1.0], [0.25]]))
    levels = [[0.0, 0.5], [3.0, 2.5], [6.0, -3.0]]
    novelty = np.array([-mixture.log_density(np.array(x)[:, None]).mean() for x in levels])
    close(novelty, [1.492261, 1.361481, 12.256115])
    regret = np.array([0.2, 0.9, 0.5])
    close(Rank(0.3).distribution(novelty), [0.088197, 0.022829, 0.888974])
    close(Rank(0.3).distribution(regret), [0.022829, 0.888974, 0.088197])
    law = mixed(novelty, regret, 0.5, 0.3)
    close(law, [0.055513, 0.455901, 0.488586])
    made = replayed(law.tolist(), [3, 1, 0], Proportional(), 0.3)
    close(made.replay_distribution(), [0.263859, 0.394131, 0.342010])
    full = Gaussians(mixture.weights, mixture.means, mixture.covariances[:, :, None])
    close(full.log_density(np.array(levels[2])[:, None]), mixture.log_density(np.array(levels[2])[:, None]))


def test_pace() -> None:
    changes = np.array([[0.1, -0.2], [0.3, 0.0], [0.0, 0.05]])
    twice = np.stack([changes, changes], 1)
    for halves in (True, False):
        close(squared_norms(twice, halves), [0.05, 0.09, 0.0025])
    close(Rank(0.3).distribution(squared_norms(twice)), [0.088197, 0.888974, 0.022829])


def test_pace_of_two_halves_is_unbiased() -> None:
    """The squared norm of a mean gradient of n samples is too large by tr(Σ)/n: noise looks like learning."""
    rng = np.random.default_rng(0)
    gradients = np.array([0.3, -0.1]) + rng.normal(size=(200_000, 2, 2))
    assert squared_norms(gradients).mean() == pytest.approx(0.1, abs=0.02)
    assert squared_norms(gradients, halves=False).mean() == pytest.approx(0.1 + 2 * 0.5, abs=0.02)


def test_diplr() -> None:
    samples = [np.array(x)[:, None] for x in ([0.0, 1, 2], [0.0, 1, 3], [5.0, 6, 7])]
    found = np.array([quantiles(x, 3, np.ones((1, 1))) for x in samples])
    matrix = np.array([distance(one, found) for one in found])
    close(matrix, [[0, 0.333333, 5], [0.333333, 0, 4.666667], [5, 4.666667, 0]])
    score = Diversity(3, DiplrSettings(memory=3, steps=3, directions=1))
    score._directions[:] = 0.0
    score._directions[0] = 1.0
    for i, x in enumerate(samples):
        score.learn_episode(EpisodeEvidence(step=0, theta=np.zeros(1), theta_id=i, steps=3, features=x))
    close(score.values(), [0.333333, 0.333333, 4.666667])
    close(Rank(0.3).distribution(score.values()), [0.088197, 0.022829, 0.888974])


def test_prowl() -> None:
    loss, flow, change = np.array([2.0, 4, 6]), np.array([1.0, 1, 4]), np.array([0, 0.5, -0.5])
    close(adversarial_score(loss, change, flow, 0.1), [-1.295456, 0.429289, 0.866166])
    score = ErrorAndChange(3, ProwlSettings(raw_change=True))
    for step, losses in ((0, [2.0, 3.5, 6.5]), (10, [2.0, 4, 6])):
        for i, x in enumerate(losses):
            heldout_round(score, step, i, [x - 0.5, x + 0.5])
    close(score.values(), adversarial_score(loss, change))


def heldout_round(score: Credited, step: int, theta_id: int, losses: list[float]) -> None:
    """A round of measuring all held-out episodes of a θ."""
    for k, loss in enumerate(losses):
        of = {"step": step, "theta": np.zeros(1), "theta_id": theta_id, "steps": 2, "kind": "heldout"}
        score.learn_episode(EpisodeEvidence(**of, left=len(losses) - 1 - k, loss=np.full(2, loss)))


def test_a_held_out_score_is_of_the_present_model_alone() -> None:
    """The mean over a θ's episodes in the newest round: earlier rounds' numbers are of models that are gone."""
    score = Credited(2, PerStep("loss"), "heldout", ring=3)
    assert (score.needs.heldout_each, score.needs.kinds) == (3, {"heldout"})
    heldout_round(score, 0, 0, [8.0])
    close(score.values(), [8, NAN])
    heldout_round(score, 10, 0, [4.0, 2.0])
    close(score.values(), [3, NAN])
    heldout_round(score, 20, 0, [1.0, NAN, 0.0])
    close(score.values(), [0.5, NAN])
    heldout_round(score, 30, 0, [NAN])
    close(score.values(), [0.5, NAN])


def test_a_round_is_one_visit() -> None:
    score = Progress(line(1), PerStep("loss"), LearningProgressSettings(credit="heldout"))
    heldout_round(score, 0, 0, [1.0, 3.0])
    heldout_round(score, 10, 0, [0.0, 2.0])
    close(score.fast, [1.9])


def test_held_out_progress_waits_for_half_of_the_theta() -> None:
    """Else the first θ with a loss would get all but DR's share; then θ without one have the mean progress."""
    score = Progress(line(4), PerStep("loss"), LearningProgressSettings(credit="heldout"))
    heldout_round(score, 0, 0, [1.0])
    heldout_round(score, 10, 0, [0.0])
    close(score.values(), [NAN] * 4)
    heldout_round(score, 10, 2, [1.0])
    close(score.values(), [0.09, 0.045, 0, 0.045])
    close(score.at(np.array([1, 0])), [0.045, 0.09])


def test_words_of_settings_are_joined_by_hyphens_and_old_files_are_read() -> None:
    name = "transition-loss"
    assert LearningProgressSettings(of=name).of == AlpGmmSettings(of=name).of == LevelReplaySettings(score=name).score
    assert per_step(name).field == quantity(name, 3).field == "transition_loss"  # type: ignore[attr-defined]
    saved = plain(Config(curriculum=CurriculumConfig("learning-progress", settings={"of": "transition_loss"})))
    assert config_from(saved).curriculum.settings == {"of": "transition-loss"}


def test_sfl() -> None:
    """A level without a finished episode is not among the best (argsort puts NaN last, which is the top)."""
    successes, episodes = np.array([0.0, 3, 5, 9, 10, 5]), np.full(6, 10.0)
    scores = learnability(successes, episodes, unbiased=False)
    close(scores, [0, 0.21, 0.25, 0.09, 0, 0.25])
    close(learnability(successes, episodes), [0, 0.233333, 0.277778, 0.1, 0, 0.277778])
    best = TopK(2).distribution(scores)
    assert best is not None
    close(0.5 / 6 + 0.5 * best, [0.083333, 0.083333, 0.333333, 0.083333, 0.083333, 0.333333])
    scores = learnability(np.array([1.0, 0, 0]), np.array([2.0, 0, 1]))
    assert np.isnan(scores[1])
    close(TopK(1).distribution(scores), [1, 0, 0])


@pytest.mark.parametrize("solved", [1.0, 0.5])
def test_a_success_is_a_task_that_is_done_and_no_fraction_of_it(solved: float) -> None:
    """Half-done tasks alone would have p(1−p) = .25, the highest there is; here they are failures, or successes."""
    sfl = Learnability(2, SflSettings(every=10, solved=solved))
    lp = BidirectionalProgress(2, BidirectionalSettings(every=10, solved=solved))
    for step in (1, 2, 3, 4, 10):
        for theta_id, success in ((0, 0.5), (1, float(step > 2))):
            record = EpisodeEvidence(step=step, theta=np.zeros(1), theta_id=theta_id, steps=1, success=success)
            for score in (sfl, lp):
                if step < 10:
                    score.learn_episode(record)
    last = EpisodeEvidence(step=10, theta=np.zeros(1), theta_id=0, steps=1, success=NAN)
    for score in (sfl, lp):
        score.learn_episode(last)
    close(sfl.values(), [0, 1 / 3])
    close(lp._numbers[0], [0.0 if solved == 1.0 else 0.75, 0.5])  # the baseline, at most .75


def test_generalised_learnability() -> None:
    """The public code uses the variance as the deviation: [0 .088093 0 .225207]."""
    returns = np.array([[0.0, 0, 0, 0, 0], [1, 0, 1, 0, 1], [2, 2, 2, 2, 2], [4, 0, 4, 0, 2]])
    close(generalised_learnability(returns.mean(1), returns.std(1), 5), [0, 0.081923, 0, 0.227534])


def ncc_update(weights: Weights, returns: list[list[float]], ids: list[int]) -> None:
    weights.learn(
        Evidence(
            step=0, theta_id=np.array(ids), sampled_returns=np.array(returns), sampled_returns_id=np.array(ids)
        )
    )  # fmt: skip


def test_learnability_of_ncc_is_over_all_returns_of_theta_between_two_steps() -> None:
    """Of each start state alone, μ and v would be over the states of one update, and a lone one would have v = 0."""
    score = Weights(5, NccSettings(every=10))
    ncc_update(score, [[0.0, 0], [4, 0], [7, 7]], [0, 3, -1])
    ncc_update(score, [[1.0, 0], [2, 2], [4, 0], [0, 0]], [1, 2, 3, 0])
    ncc_update(score, [[1.0, 0], [2, 2], [2, 2]], [1, 2, 3])
    all_returns = [[0.0] * 4, [1, 0, 1, 0], [2.0] * 4, [4, 0, 4, 0, 2, 2]]
    m, sigma = (np.array([f(np.array(x)) for x in all_returns]) for f in (np.mean, np.std))
    expected = [*generalised_learnability(m, sigma, 2), NAN]
    close(score._returns.learnability(), expected)
    close(score._returns.learnability(), expected)  # θ without new returns keep theirs
    ncc_update(score, [[5.0, 5]], [0])
    assert score._returns.learnability()[0] == 0
    close(score._returns._moments[0, 0], 5)  # and newer ones are not mixed with those of an earlier model


def test_a_lone_theta_has_no_learnability() -> None:
    """With v floored at 1e-12 its density was 4·10⁵: one usable start state took all weight."""
    close(generalised_learnability(np.array([3.0]), np.array([0.7]), 8), [0])
    close(generalised_learnability(np.array([3.0, 3.0]), np.array([0.7, 0.1]), 8), [0, 0])
    score = Weights(2, NccSettings(every=1))
    ncc_update(score, [[3.0, 4.0]], [0])
    close(score._squares, 0.1 + 0.032**2)  # the entropy's gradient alone


def test_weights_of_ncc_move_within_a_thousand_updates() -> None:
    rng, score = np.random.default_rng(0), Weights(18, NccSettings())
    mean, spread = rng.normal(size=18), np.linspace(0.2, 2.0, 18)
    for _ in range(1_000):
        ids = rng.integers(18, size=16)
        score.learn(
            Evidence(
                step=0, theta_id=ids, sampled_returns_id=ids,
                sampled_returns=mean[ids, None] + spread[ids, None] * rng.normal(size=(16, 8)),
            )
        )  # fmt: skip
    y = score.values()
    assert y.sum() == pytest.approx(1.0)
    assert y.max() > 1.5 / 18 and y.min() < 0.7 / 18
    best = generalised_learnability(mean, spread, 8)
    assert np.corrcoef(y, best)[0, 1] > 0.8


def test_ascent_of_ncc() -> None:
    scores, y = np.array([0.25, 0.16, 0.09, 0]), np.full(4, 0.25)
    close(ascended(y, slope(y, scores, 0.05), 0.5, 1e-5), [0.3125, 0.2675, 0.2325, 0.1875])
    for _ in range(4_000):
        y = ascended(y, slope(y, scores, 0.05), 0.05, 1e-5)
    close(y, [0.824539, 0.136295, 0.033610, 0.005556])
    close(projected(np.array([3.0, 0, 0]), 0.1), [0.8, 0.1, 0.1])


@pytest.mark.parametrize("least", [0.0, 1e-5, 0.01, 0.02])
@pytest.mark.parametrize("spread", [1e-4, 0.1, 30.0])
def test_a_projection_is_the_nearest_point(least: float, spread: float) -> None:
    """By the conditions of optimality: one shift for all that lie above the least, no smaller one for those on it."""
    rng = np.random.default_rng(0)
    for _ in range(20):
        y = 1 / 50 + spread * rng.normal(size=50)
        y[:5] = y[5]  # ties
        found = projected(y, least)
        assert found.sum() == pytest.approx(1.0, abs=1e-12) and (found >= least - 1e-12).all()
        above = found > least + 1e-9
        shifts = (y - found)[above]
        if above.any():
            np.testing.assert_allclose(shifts, shifts[0], atol=1e-9 * max(1.0, spread))
            assert (y[~above] - least <= shifts[0] + 1e-9 * max(1.0, spread)).all()


def test_waker_by_the_same_numbers() -> None:
    close(Boltzmann(1.0).distribution(np.array([1.0, 2, 4])), [0.069872, 0.155781, 0.774346])
    close(Boltzmann(0.5, "mean-abs").distribution(np.array([0.1, -0.05, 0.03])), [0.906035, 0.006105, 0.087860])
    close(zscore(np.array([1.0, 2, 4])), [-1.069044, -0.267261, 1.336305])
    close(mean_abs(np.array([0.1, -0.05, 0.03])), [1.666667, -0.833333, 0.5])
    for priority, scores, law in (
        (Boltzmann(1.0), [1.0, 2, 4], [0.122565, 0.191292, 0.686144]),
        (Boltzmann(0.5, "mean-abs"), [0.1, -0.05, 0.03], [0.791495, 0.071551, 0.136955]),
    ):
        own = priority.distribution(np.array(scores))
        assert own is not None
        close(Mixture(0.2).mix(own, np.full(3, 1 / 3), np.zeros(3, int)), law)
    tracker = Magnitude(3)
    tracker.observe(np.array([2, 2, 2]), np.array([4.0, 3.0, 5.0]), 0)
    assert tracker.values()[2] == pytest.approx(4.00000001, abs=1e-9)
