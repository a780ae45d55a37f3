"""Level replay over a finite space: exact laws by frequency, staging, ages inside a call, cost over very many θ."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from tests.helpers.spaces import finite_space, joint_space, plane_space
from waker.curriculum import CurriculumConfig, LevelReplay, Magnitude, Proportional, Rank, ReplayLaw, make_curriculum
from waker.curriculum.api import Floats, Ints, Score
from waker.curriculum.evidence import EpisodeEvidence, Evidence
from waker.curriculum.level_replay.replay_settings import LevelReplaySettings
from waker.curriculum.level_replay.staleness import Staleness
from waker.curriculum.named.accel import AccelSettings
from waker.curriculum.named.traced import TracedSettings
from waker_envs.api import FiniteThetaSpace

Z4 = 4.0


def episode(space: FiniteThetaSpace, theta_id: int, reward: float, kind: Any = "trained") -> EpisodeEvidence:
    return EpisodeEvidence(
        step=0, theta=space.points[theta_id], theta_id=theta_id, steps=1, kind=kind,
        rewards=np.array([reward]), values=np.zeros(2), loss=np.array([reward]),
    )  # fmt: skip


def level_replay(name: str = "plr", seed: int = 0, space: FiniteThetaSpace | None = None, **settings: Any) -> Any:
    kind = AccelSettings if name == "accel" else LevelReplaySettings
    made = kind(**settings)
    return make_curriculum(
        name, space or finite_space(), CurriculumConfig(), np.random.default_rng(seed), settings=made
    )


def scored(name: str = "plr", **settings: Any) -> Any:
    """Four of six θ with scores, last drawn at different times."""
    made = level_replay(name, **settings)
    for theta_id, reward in ((0, 1.0), (2, 3.0), (3, 3.0), (5, 0.5)):
        made.learn_episode(episode(made.space, theta_id, reward, "staged" if name != "plr" else "trained"))
    for theta_id in (5, 2, 1, 0, 3):
        made.stale.drawn(theta_id)
    return made


@pytest.mark.parametrize("priority", ["rank", "proportional"])
def test_a_hundred_thousand_draws_follow_the_exact_law(priority: str) -> None:
    made = scored(priority=priority, staleness=0.3, replay=0.5)
    weights = np.array([3.0, 1, 1, 2, 1, 4]) ** (-1 / 0.3)  # ranks: 2, 3 tie, and the lower id is first
    if priority == "proportional":
        weights = np.array([1.0, 0, 3, 3, 0, 0.5]) ** (1 / 0.3)
    weights[[1, 4]] = 0.0
    ages = np.array([1, 0, 3, 0, 0, 4])
    expected = 0.5 * made.space.weights + 0.5 * (0.7 * weights / weights.sum() + 0.3 * ages / ages.sum())
    np.testing.assert_allclose(made.probabilities(), expected, rtol=0, atol=1e-12)
    n, counts, ages_then = 100_000, np.zeros(6), made.stale.state_dict()
    for _ in range(n):
        counts[made._next()[0]] += 1  # without the ages that a draw changes
    np.testing.assert_array_equal(made.stale.state_dict()["last"], ages_then["last"])
    assert (abs(counts - n * expected) < Z4 * np.sqrt(n * expected * (1 - expected))).all()


def test_every_draw_of_a_call_ages_the_others() -> None:
    """Only by age: two θ drawn in one call cannot be the same one before the other has been drawn."""
    made = level_replay(staleness=1.0, replay=1.0, fill=0.0)
    for theta_id in (1, 4):
        made.learn_episode(episode(made.space, theta_id, 1.0))
    made.stale.drawn(4)
    ids = made.sample(6).ids.tolist()
    assert ids == [1, 4, 1, 4, 1, 4]


def test_nothing_is_replayed_before_enough_theta_have_a_score() -> None:
    made = level_replay(fill=0.5, replay=1.0)
    for theta_id in (0, 1):
        made.learn_episode(episode(made.space, theta_id, 1.0))
    np.testing.assert_array_equal(made.probabilities(), made.space.weights)
    made.learn_episode(episode(made.space, 2, 1.0))
    assert made.probabilities()[3:].sum() == 0


def test_the_proportionate_schedule_replays_with_the_filled_share() -> None:
    made = level_replay(fill=0.0, replay=0.5, schedule="proportionate")
    assert made.replay_share() == 0
    made.learn_episode(episode(made.space, 0, 1.0))
    assert made.replay_share() == pytest.approx(1 / 6)


def test_a_theta_s_first_score_finds_it_young() -> None:
    made = level_replay(fill=0.0)
    made.learn_episode(episode(made.space, 0, 1.0))
    made.sample(9)
    made.learn_episode(episode(made.space, 4, 1.0))
    assert made.stale.ages()[4] == 0


def test_robust_level_replay_stages_new_theta_alone() -> None:
    """The episodes of DR are staged; with p = 1 none is. Before there is anything to replay all are trained on."""
    made = level_replay("robust-plr", replay=0.5, fill=0.0)
    made.sample(50)
    assert not made.staged.any()
    for theta_id in range(6):
        made.learn_episode(episode(made.space, theta_id, 1.0 + theta_id, "staged"))
    made.sample(2_000)
    assert made.staged.mean() == pytest.approx(0.5, abs=0.05)
    assert not scored("robust-plr", replay=1.0, fill=0.0).staged.any()


def test_children_of_accel_come_next_and_are_staged() -> None:
    made = scored("accel", fill=0.0, replay=1.0, edits=1)
    for parent in (0, 5):
        made._awaited[parent] += 1  # drawn by _replayed
        made.learn_episode(episode(made.space, parent, 1.0))
        child = made._children[-1]
        assert child in made.space.neighbour_ids(parent)
    assert made.probabilities()[made._children[0]] == 1.0
    waiting = list(made._children)
    ids = made.sample(4).ids.tolist()
    assert ids[:2] == waiting
    assert made.staged.tolist() == [True, True, False, False]


def test_parents_of_a_batch_differ() -> None:
    """A batch of replayed θ gives each a child: none of them is slot 0 again and again."""
    made = scored("accel", fill=0.0, replay=1.0, batch=3)
    made._awaited[[0, 2, 5]] = 1  # drawn by _replayed
    for parent in (0, 2):
        made.learn_episode(episode(made.space, parent, 1.0))
        assert made._children == []
    made.learn_episode(episode(made.space, 5, 1.0))
    near = [set(made.space.neighbour_ids(p).tolist()) for p in (0, 2, 5)]
    assert [child in of for child, of in zip(made._children, near, strict=True)] == [True] * 3


def test_staged_and_held_out_episodes_have_no_children() -> None:
    made = scored("accel", fill=0.0)
    made._awaited[0] = 2
    for kind in ("staged", "heldout"):
        made.learn_episode(episode(made.space, 0, 1.0, kind))
    assert made._children == []


@pytest.mark.parametrize("name", ["accel", "traced"])
def test_only_replayed_theta_have_children_and_nothing_is_staged_before(name: str) -> None:
    """Before enough θ have a score all are of DR and trained on: these are nobody's parents."""
    made: Any = make_curriculum(
        name,
        finite_space(),
        CurriculumConfig(),
        np.random.default_rng(0),
        settings=SETTINGS[name](fill=0.5, replay=0.8),
    )
    drawn: list[int] = []
    while (made.probabilities() == made.space.weights).all():
        (theta_id,) = made.sample(1).ids.tolist()
        assert not made.staged.any()
        made.learn_episode(scored_episode(made.space, theta_id))
        assert made._children == []
        drawn.append(theta_id)
    seen = {"child": 0, "replayed": 0, "new": 0}
    for _ in range(200):
        waiting, awaited = list(made._children), made._awaited.sum()
        (theta_id,) = made.sample(1).ids.tolist()
        (staged,) = made.staged.tolist()
        what = "child" if waiting else "replayed" if made._awaited.sum() > awaited else "new"
        assert staged == (what != "replayed")
        seen[what] += 1
        made.learn_episode(scored_episode(made.space, theta_id, "staged" if staged else "trained"))
        assert len(made._children) == (1 if what == "replayed" else max(0, len(waiting) - 1))
    assert seen["child"] == pytest.approx(seen["replayed"], abs=1) and seen["new"] > 0
    made._awaited[:] = 0
    made.learn_episode(scored_episode(made.space, drawn[0]))  # of DR, drawn before there was a replay
    assert len(made._children) <= 1


def scored_episode(space: FiniteThetaSpace, theta_id: int, kind: Any = "trained") -> EpisodeEvidence:
    return replace(episode(space, theta_id, 1.0 + theta_id, kind), transition_loss=np.ones(1))


SETTINGS = {"accel": AccelSettings, "traced": TracedSettings}


def test_domains_share_replays_alike() -> None:
    space = joint_space((6, 3))
    made = level_replay(space=space, fill=0.0, replay=1.0)
    for theta_id in (0, 1, 2, 7):
        made.learn_episode(episode(space, theta_id, 1.0 + theta_id))
    for theta_id in (0, 7, 1, 2):
        made.stale.drawn(theta_id)
    p = made.probabilities()
    assert p[:6].sum() == pytest.approx(0.5)
    assert p[7] == pytest.approx(0.5)
    counts = np.bincount([made._next()[0] for _ in range(20_000)], minlength=9)
    assert (abs(counts - 20_000 * p) < Z4 * np.sqrt(20_000 * p * (1 - p)) + 1e-9).all()


def test_staleness_equals_its_definition_after_any_history() -> None:
    rng, size = np.random.default_rng(0), 50
    groups = rng.integers(3, size=size)
    groups[:3] = [0, 1, 2]
    stale, seen, last = Staleness(size, groups), np.zeros(size, bool), np.zeros(size, int)
    for clock in range(1, 300):
        ids = rng.choice(size, 4, replace=False)
        flags = rng.random(4) < 0.7
        last[ids[flags & ~seen[ids]]] = clock - 1
        seen[ids] = flags
        stale.mark(ids, flags)
        drawn = int(rng.integers(size))
        stale.drawn(drawn)
        last[drawn] = clock
        ages = np.where(seen, clock - last, 0)
        sums = np.bincount(groups, weights=ages, minlength=3)
        expected = ages / np.maximum(sums, 1)[groups] / np.count_nonzero(sums)
        np.testing.assert_allclose(stale.distribution(), expected, atol=1e-12)
    n, counts = 40_000, np.zeros(size)
    for _ in range(n):
        counts[stale.draw(rng)] += 1
    assert (abs(counts - n * expected) < Z4 * np.sqrt(n * expected * (1 - expected)) + 1e-9).all()


class Counted(Score):
    """A score of very many θ that counts how many of them are read."""

    def __init__(self, size: int) -> None:
        self.scores, self.read = np.full(size, np.nan), 0

    def observe(self, theta_id: Ints, error: Floats, step: int) -> Ints:
        self.scores[theta_id] = error
        return np.unique(theta_id)

    def at(self, theta_id: Ints) -> Floats:
        self.read += len(theta_id)
        return self.scores[theta_id]

    def values(self) -> Floats:
        self.read += len(self.scores)
        return self.scores.copy()


@pytest.mark.parametrize("priority", [Rank(0.3), Proportional(1.0)], ids=["rank", "proportional"])
def test_an_update_and_a_draw_read_no_more_with_more_theta(priority: Any) -> None:
    """10⁵ θ: only those credited are read again; an episode's draw reads none, staleness included."""
    size, rng = 100_000, np.random.default_rng(0)
    score, law = Counted(size), ReplayLaw(0.8, 0.0, staleness=0.3)
    made = LevelReplay(
        "test", plane_space(size), tracker=Magnitude(size), score=score, priority=priority, law=law, rng=rng
    )
    made.observe(np.arange(size), rng.exponential(size=size), 0)
    made.sample(1)
    score.read = 0
    for _ in range(200):
        made.observe(rng.integers(size, size=800), rng.exponential(size=800), 0)
        made.sample(1)
    assert score.read <= 200 * 800 + 2 * size  # and seldom all of them, when a pool of the highest is made anew


@pytest.mark.parametrize("name", ["model-loss", "learning-progress", "plr"])
def test_a_record_of_an_update_reads_no_more_with_more_theta(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Scores of 10⁵ θ are read whole once, when draws are first made, not at every update."""
    size, rng, read = 100_000, np.random.default_rng(0), []
    settings = LevelReplaySettings(score="loss", credit="imagined") if name == "plr" else None
    made: Any = make_curriculum(name, plane_space(size), CurriculumConfig(), rng, settings=settings)
    inner = made.score.values
    monkeypatch.setattr(made.score, "values", lambda: read.append(size) or inner())
    made.learn(Evidence(step=0, theta_id=np.arange(size), loss=rng.exponential(size=size)))
    for step in range(100):
        made.learn(Evidence(step=step, theta_id=rng.integers(size, size=800), loss=rng.exponential(size=800)))
        made.sample(1)
    assert len(read) <= 4
