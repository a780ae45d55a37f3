"""The experiment of translated preferences: rooms there, what translation keeps, and its smallest run."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from experiments.translation import (
    ARMS,
    BY_DEMONSTRATIONS,
    LENGTH,
    RESULTS,
    SLIP,
    Family,
    action_shares,
    advantages,
    believed,
    family_a,
    family_b,
    fit_head,
    joined,
    labels,
    looks,
    play,
    returns,
    shares,
    soft_share,
    summary,
    translated,
    wrong_labels,
)
from waker.preferences.translation import Translator
from waker_envs.grids.layouts import HAZARD, LEFT, RIGHT, TILES, WALL


def test_the_summary_has_students_intervals_over_seeds() -> None:
    found = [(40, "all stages", 0, 0.7), (41, "all stages", 0, 0.8), (42, "all stages", 0, 0.9)]
    found += [(40, "without data", 0, 0.6), (41, "without data", 0, 0.7), (42, "without data", 0, 0.8)]
    of = summary(pd.DataFrame(found, columns=["seed", "arm", "labels", "share"])).set_index("arm")
    reach = 4.302653 * 0.1 / 3**0.5
    assert of.loc["all stages", ["share", "low", "high"]].tolist() == pytest.approx([0.8, 0.8 - reach, 0.8 + reach])
    assert of.loc["without data", ["more", "more_low", "more_high"]].tolist() == pytest.approx([0.1] * 3)


def test_the_committed_summary_is_of_the_committed_rows() -> None:
    made = summary(pd.read_csv(RESULTS / "rows.csv"))
    pd.testing.assert_frame_equal(made, pd.read_csv(RESULTS / "summary.csv"), atol=6e-5, check_dtype=False)


@pytest.fixture(scope="module")
def a() -> Family:
    return family_a(sizes=(3, 4), densities=(0.0, 0.2), slips=(0.0, 0.1))


@pytest.fixture(scope="module")
def there(a: Family) -> Translator:
    return looks(20, a.classes, round(a.rooms.seen.shape[1] ** 0.5))


def test_rooms_there_are_mirrored_and_slippery(a: Family, there: Translator) -> None:
    b = family_b(a, there)
    np.testing.assert_allclose(b.rooms.move.sum(-1), 1.0, atol=1e-12)
    for kind in (HAZARD, WALL, *TILES):
        np.testing.assert_array_equal((b.rooms.kinds == kind)[:, there.cells], a.rooms.kinds == kind)
    # One step to the right here is one to the left there, missed with probability SLIP · (1 − 1/5) at most.
    assert there.actions[RIGHT] == LEFT
    for room, cell in np.argwhere(a.rooms.kinds != HAZARD):
        likely = a.rooms.move[room, RIGHT, cell].argmax()
        chance = b.rooms.move[room, LEFT, there.cells[cell], there.cells[likely]]
        assert chance >= 1.0 - SLIP + SLIP / 5.0 - 1e-12


def test_the_best_policy_here_is_good_there_and_random_actions_are_not(a: Family, there: Translator) -> None:
    b = family_b(a, there)
    uniform = np.full((*a.rooms.kinds.shape, 5), 0.2)
    carried = there.policy(np.eye(5)[advantages(a).argmax(1)])
    own = np.eye(5)[advantages(b).argmax(1)]
    assert soft_share(b, b.rooms.move, None, own) > 0.99
    assert soft_share(b, b.rooms.move, None, carried) > 0.85
    assert soft_share(b, b.rooms.move, None, uniform) < 0.2


def test_the_true_reward_plans_what_is_nearly_best(a: Family) -> None:
    uniform = np.full((*a.rooms.kinds.shape, 5), 0.2)
    assert soft_share(a, a.rooms.move, a.reward, uniform) > 0.9


def test_segments_earn_what_they_arrive_in_and_end_on_hazards(a: Family) -> None:
    played = play(a, None, 500, LENGTH, np.random.default_rng(0))
    by_hand = [
        sum(a.reward[room, cells[t + 1]] for t in range(length))
        for room, cells, length in zip(played.room, played.cells, played.length, strict=True)
    ]
    assert returns(a, played) == pytest.approx(by_hand)
    assert (played.length < LENGTH).any()
    ended = played.length < LENGTH
    last = np.take_along_axis(played.cells, played.length[:, None], 1)[:, 0]
    assert (a.rooms.kinds[played.room, last][ended] == HAZARD).all()


def test_translated_segments_earn_the_same_there(a: Family, there: Translator) -> None:
    played = play(a, None, 500, LENGTH, np.random.default_rng(1))
    np.testing.assert_array_equal(returns(a, played), returns(family_b(a, there), translated(played, there)))


def test_only_true_translators_of_rewards_contradict_nothing(a: Family) -> None:
    found = {(row["translator"], row["score"]): row for row in wrong_labels(20, a, 2_000)}
    assert (found["true", "return"]["opposite"], found["true", "return"]["tie"]) == (0.0, 0.0)
    assert found["true", "regret"]["opposite"] > 0.01  # other dynamics
    assert found["blue for green", "return"]["opposite"] > 0.01
    assert found["blue for green", "return"]["tie"] > 0.1


def test_pairs_stay_pairs_when_they_are_joined(a: Family) -> None:
    rng = np.random.default_rng(2)
    one, other = play(a, None, 6, LENGTH, rng), play(a, None, 10, LENGTH, rng)
    both = np.append(labels(returns(a, one)), labels(returns(a, other)))
    np.testing.assert_array_equal(labels(returns(a, joined(one, other))), both)


def test_what_is_believed_comes_to_the_truth(a: Family) -> None:
    prior = np.full_like(a.rooms.move, 1.0 / a.rooms.move.shape[-1])
    rng = np.random.default_rng(3)
    few, many = (believed(prior, play(a, None, n, LENGTH, rng)) for n in (20, 20_000))
    start = a.rooms.starts[:, None, :, None]
    assert np.abs((many - a.rooms.move) * start).max() < 0.2
    assert np.abs((many - a.rooms.move) * start).sum() < 0.2 * np.abs((few - a.rooms.move) * start).sum()


def test_action_shares_by_hand(a: Family) -> None:
    played = play(a, None, 1, 1, np.random.default_rng(4))
    found = action_shares(played, (*a.rooms.kinds.shape, 5))
    here = found[played.room[0], played.cells[0, 0]]
    assert here[played.actions[0, 0]] == pytest.approx(1.2 / 2.0)
    assert sorted(here)[0] == pytest.approx(0.2 / 2.0)
    assert found.sum(-1) == pytest.approx(np.ones(a.rooms.kinds.shape))


def test_a_head_learns_what_it_is_told(a: Family) -> None:
    played = play(a, None, 400, LENGTH, np.random.default_rng(5))
    label = labels(returns(a, played))
    reward = fit_head(a, played, label, 150, 0)
    guessed = labels(returns(a._replace(reward=reward), played))
    untied = label != 0.5
    assert (guessed == label)[untied].mean() > 0.9


def test_the_smallest_run_has_a_row_of_every_arm(a: Family) -> None:
    rows = list(shares(20, [0, 10], 5, a))
    assert [row["arm"] for row in rows] == [BY_DEMONSTRATIONS, *ARMS, *ARMS]
    assert all(0.0 <= row["share"] <= 1.0 + 1e-9 for row in rows)
    by_arm = {(row["arm"], row["labels"]): row["share"] for row in rows}
    assert by_arm["without translated preferences", 0] == by_arm[BY_DEMONSTRATIONS, 0]
