"""Curious Replay: the published rule against numbers by hand, draws against their law, and what a resume needs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.helpers import dummies
from tests.training.test_recording import of
from tests.training.test_resume import assert_same, die, interrupted
from waker.collection.family import Family
from waker.config.replay_choice import ReplayConfig
from waker.config.schema import Config
from waker.errors import UserError
from waker.evaluation.records import Measurement
from waker.replay.curious import Curious, priority
from waker.replay.ring import Replay
from waker.training.build import parts_of

RULE = ReplayConfig(choice="curious")


def ring(ticks: int, slots: int = 2, size: int = 10) -> Replay:
    replay = Replay({"code": ((), np.int64), "is_first": ((), np.bool_)}, slots, slots * size)
    more(replay, ticks)
    return replay


def more(replay: Replay, ticks: int) -> None:
    for _ in range(ticks):
        codes = 100 * np.arange(replay.slots) + replay.ticks
        replay.add({"code": codes, "is_first": np.zeros(replay.slots, bool)})


def law(curious: Curious, draws: int = 100_000) -> dict[tuple[int, int], int]:
    """How often each window was drawn, by slot and first tick."""
    slot, start = curious.draw(np.random.default_rng(0), draws)
    found: dict[tuple[int, int], int] = {}
    for key in zip(slot.tolist(), start.tolist(), strict=True):
        found[key] = found.get(key, 0) + 1
    return found


def test_the_published_rule() -> None:
    visits, losses = np.array([0, 1, 5, 30, 30]), np.array([np.nan, 10.0, 10.0, 10.0, 100.0])
    p = priority(visits, losses, RULE)
    np.testing.assert_allclose(p, [100000, 7005.015381, 1685.715381, 5.240774, 25.346016], rtol=0, atol=1e-6)
    np.testing.assert_allclose(p / p.sum(), [0.919783, 0.064431, 0.015505, 0.000048, 0.000233], rtol=0, atol=1e-6)
    assert priority(np.array([2]), np.array([-10.0]), RULE) == priority(np.array([2]), np.array([10.0]), RULE)


def test_before_anything_is_trained_on_all_windows_are_alike() -> None:
    found = law(Curious(ring(7), 4, RULE))
    assert sorted(found) == [(slot, start) for slot in (0, 1) for start in range(4)]
    assert max(abs(count - 12_500) for count in found.values()) < 4 * np.sqrt(100_000 / 8 * 7 / 8)


def test_windows_come_in_proportion_to_what_their_first_steps_have() -> None:
    curious = Curious(ring(23), 4, RULE)  # ticks 13 to 22 are held
    curious.draw(np.random.default_rng(1), 60)
    losses = np.random.default_rng(2).exponential(20.0, size=(60, 4))
    slot, start = curious._drawn
    curious.visited(losses)
    visits: dict[tuple[int, int], int] = {}
    newest: dict[tuple[int, int], float] = {}
    for b in range(60):
        for t in range(4):
            key = int(slot[b]), int(start[b]) + t
            visits[key], newest[key] = visits.get(key, 0) + 1, losses[b, t]
    starts = [(k, tick) for k in (0, 1) for tick in range(13, 20)]
    p = np.array([1e4 * 0.7 ** visits[s] + (newest[s] + 0.01) ** 0.7 if s in visits else 1e5 for s in starts])
    p /= p.sum()
    found = law(curious)
    assert set(found) <= set(starts)
    for key, chance in zip(starts, p, strict=True):
        assert abs(found.get(key, 0) - 1e5 * chance) <= 4 * np.sqrt(1e5 * chance * (1 - chance)) + 16 / 3


def test_new_steps_come_first_and_what_is_overwritten_is_forgotten() -> None:
    curious = Curious(replay := ring(10), 3, RULE)
    for seed in range(60):
        curious.draw(np.random.default_rng(seed), 8)
        curious.visited(np.ones((8, 3)))
    more(replay, 4)
    found = law(curious, 10_000)
    fresh = sum(count for (_, start), count in found.items() if start >= 10)
    assert fresh > 9_000  # two starts in each slot, at 1e5 each
    assert min(start for _, start in found) >= 4
    more(replay, 10)  # all places anew
    assert max(law(curious).values()) < 2 * min(law(curious).values())


def test_a_batch_holds_the_windows_that_were_drawn_and_none_crosses_the_head_or_what_is_lost() -> None:
    replay = ring(23)
    replay.lose(23, 26)
    more(replay, 5)  # of 21 to 30 the ticks 21, 22 and 26 to 30 are held
    curious = Curious(replay, 3, RULE)
    slot, start = curious.draw(np.random.default_rng(0), 500)
    assert set(start.tolist()) == {26, 27, 28}
    batch = replay.window(slot, start, 3)
    np.testing.assert_array_equal(batch["code"], 100 * slot[:, None] + start[:, None] + np.arange(3))
    assert batch["is_first"][:, 0].all()
    with pytest.raises(UserError, match="a window of 6 steps does not fit"):
        Curious(replay, 6, RULE).draw(np.random.default_rng(0), 1)


def test_a_restored_one_draws_the_same() -> None:
    one = Curious(replay := ring(13), 3, RULE)
    for seed in range(5):
        one.draw(np.random.default_rng(seed), 8)
        one.visited(np.random.default_rng(seed).exponential(size=(8, 3)))
    two = Curious(replay, 3, RULE)
    two.load_state_dict({key: np.copy(value) for key, value in one.state_dict().items()})
    for seed in range(5):
        for a, b in zip(
            one.draw(np.random.default_rng(seed), 8), two.draw(np.random.default_rng(seed), 8), strict=True
        ):
            np.testing.assert_array_equal(a, b)
        one.visited(np.ones((8, 3)))
        two.visited(np.ones((8, 3)))
        more(replay, 1)


def factories(config: Config, family: Family) -> dict[str, Any]:
    made = parts_of(config, family, lambda agent: Measurement([], []))
    return dict(vars(made))


@pytest.mark.parametrize("sampler", ["dr", "model-loss"])
def test_a_run_trains_by_it_and_a_killed_one_is_the_whole_one(sampler: str, tmp_path: Path) -> None:
    config = of(sampler).with_(**{"replay.choice": "curious"})
    family = Family.of(config)
    whole = dummies.run(tmp_path / "whole", config, **factories(config, family))[0]
    killed, lives = interrupted(tmp_path / "killed", config, [66], die, **factories(config, family))
    assert lives == 2
    assert_same(whole, killed)


def test_it_is_orthogonal_to_the_sampler(tmp_path: Path) -> None:
    """The same draws of θ by DR, and other batches."""
    for choice in ("uniform", "curious"):
        config = of("dr").with_(**{"replay.choice": choice})
        dummies.run(tmp_path / choice, config, **factories(config, Family.of(config)))
    rows = [next((tmp_path / choice).rglob("metrics.jsonl")).read_text() for choice in ("uniform", "curious")]
    assert rows[0] != rows[1]
