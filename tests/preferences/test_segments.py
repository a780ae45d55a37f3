"""Segments against brute force over hand-made streams: where they lie, what belongs to them, what a model filters."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from waker.preferences.segments import (
    Segments,
    arrived,
    begins,
    candidates,
    digests,
    ended,
    held,
    joined,
    left,
    shown,
    windows,
)
from waker.replay.ring import Replay

FIELDS = {
    "x": ((), np.int64),
    "action": ((1,), np.float32),
    "task_rewards": ((1,), np.float32),
    "theta_id": ((), np.int32),
    **dict.fromkeys(("is_first", "is_last", "is_terminal"), ((), np.bool_)),
}
DIES, CUT, BREAKS = "dies", "cut", "breaks"
"""How an episode is over: by itself, by a time limit, or given up without an end."""


def stream(episodes: list[tuple[int, str]]) -> list[dict[str, float]]:
    """The records of one slot: episodes of so many steps, each of which begins with a reset."""
    records = []
    for number, (steps, how) in enumerate(episodes):
        for t in range(steps + 1):
            last = t == steps and how != BREAKS
            records.append(
                {"first": t == 0, "last": last, "terminal": last and how == DIES, "episode": number, "step": t}
            )
    return records


def replay_of(*slots: list[tuple[int, str]], size: int | None = None) -> Replay:
    streams = [stream(episodes) for episodes in slots]
    ticks = min(map(len, streams))
    replay = Replay(FIELDS, len(slots), len(slots) * (size or ticks))
    for t in range(ticks):
        now = [s[t] for s in streams]
        x = np.array([100 * r["episode"] + r["step"] for r in now])
        replay.add(
            {
                "x": x,
                "action": x[:, None] + 0.5,
                "task_rewards": x[:, None] / 10.0,
                "theta_id": np.zeros(len(now)),
                "is_first": np.array([r["first"] for r in now]),
                "is_last": np.array([r["last"] for r in now]),
                "is_terminal": np.array([r["terminal"] for r in now]),
            }
        )
    return replay


def as_set(segments: Segments) -> set[tuple[int, int, int]]:
    return set(zip(*(part.tolist() for part in segments), strict=True))


def test_a_dying_episode_gives_its_short_ends_too() -> None:
    assert as_set(candidates(replay_of([(4, DIES)]), 3)) == {(0, 0, 3), (0, 1, 3), (0, 2, 2), (0, 3, 1)}


def test_a_time_limit_gives_whole_segments_alone() -> None:
    assert as_set(candidates(replay_of([(4, CUT)]), 3)) == {(0, 0, 3), (0, 1, 3)}


def test_an_episode_shorter_than_a_segment_is_one() -> None:
    assert as_set(candidates(replay_of([(2, CUT), (3, CUT)]), 3)) == {(0, 0, 2), (0, 3, 3)}


def test_nothing_crosses_a_reset_or_the_write_head() -> None:
    assert as_set(candidates(replay_of([(2, BREAKS), (2, BREAKS)]), 2)) == {(0, 0, 2), (0, 3, 2)}
    assert as_set(candidates(replay_of([(1, BREAKS)]), 2)) == set()


def test_lost_ticks_are_not_crossed() -> None:
    replay = replay_of([(9, CUT)])
    replay.lost = [(4, 6)]
    assert as_set(candidates(replay, 2)) == {(0, 0, 2), (0, 1, 2), (0, 6, 2), (0, 7, 2)}
    some = Segments(np.array([0, 0, 0]), np.array([1, 2, 6]), np.array([2, 2, 2]))
    np.testing.assert_array_equal(held(replay, some), [True, False, True])


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.tuples(st.integers(1, 6), st.sampled_from([DIES, CUT, BREAKS])), min_size=1, max_size=6),
    st.integers(1, 5),
    st.integers(4, 30),
)
def test_candidates_are_what_the_rule_says(episodes: list[tuple[int, str]], length: int, size: int) -> None:
    replay, records, expected = replay_of(episodes, size=size), stream(episodes), set()
    for t in range(replay.first, replay.ticks):
        for steps in range(1, length + 1):
            inside = records[t + 1 : t + steps + 1]
            whole = len(inside) == steps and not any(r["first"] for r in inside)
            if not whole or records[t]["last"] or any(r["last"] for r in inside[:-1]):
                continue
            end = inside[-1]
            if steps == length or end["terminal"] or (end["last"] and records[t]["first"]):
                expected.add((0, t, steps))
    assert as_set(candidates(replay, length)) == expected


def test_rewards_are_of_the_states_arrived_in_and_actions_lead_there() -> None:
    """The replay's action[t] led *into* record t: a segment from t has those of t+1 … t+L."""
    replay = replay_of([(5, CUT), (5, CUT)])
    segment = Segments(np.array([0]), np.array([7]), np.array([3]))  # the second episode's step 1
    np.testing.assert_array_equal(arrived(replay, "x", segment)[0], [[102, 103, 104]])
    np.testing.assert_array_equal(left(replay, "x", segment)[0], [[101, 102, 103]])
    np.testing.assert_array_equal(arrived(replay, "action", segment)[0][0, :, 0], [102.5, 103.5, 104.5])
    assert arrived(replay, "task_rewards", segment)[0].sum() == pytest.approx(10.2 + 10.3 + 10.4)
    np.testing.assert_array_equal(shown(replay, ["x"], segment, 0)["x"], [101, 102, 103, 104])


def test_shorter_segments_are_marked_behind_their_end() -> None:
    replay = replay_of([(5, DIES)])
    some = Segments(np.array([0, 0]), np.array([0, 3]), np.array([3, 2]))
    values, inside = arrived(replay, "x", some)
    np.testing.assert_array_equal(values, [[1, 2, 3], [4, 5, 5]])
    np.testing.assert_array_equal(inside, [[1, 1, 1], [1, 1, 0]])
    np.testing.assert_array_equal(ended(replay, some), [False, True])


def test_a_full_ring_is_read_where_records_lie_now() -> None:
    replay = replay_of([(9, CUT), (3, DIES)], size=7)
    for slot, tick, length in as_set(candidates(replay, 2)):
        one = Segments(np.array([slot]), np.array([tick]), np.array([length]))
        whole = [100 * r["episode"] + r["step"] for r in stream([(9, CUT), (3, DIES)])]
        assert arrived(replay, "x", one)[0][0, :length].tolist() == whole[tick + 1 : tick + length + 1]


def test_a_window_begins_at_the_reset_or_so_many_records_before() -> None:
    replay = replay_of([(3, CUT), (8, CUT)])
    assert begins(replay, Segments(np.array([0, 0]), np.array([2, 9]), np.array([1, 1]))).tolist() == [0, 4]
    some = Segments(np.array([0, 0]), np.array([5, 10]), np.array([2, 2]))
    records, place = windows(replay, some, 5)
    np.testing.assert_array_equal(records["x"], [[100, 101, 102, 103, 103], [104, 105, 106, 107, 108]])
    np.testing.assert_array_equal(place, [1, 2])
    assert records["is_first"][:, 0].all() and not records["is_first"][:, 1:].any()
    assert not replay.arrays["is_first"][0, 8]  # the replay itself is as it was


def test_a_window_is_never_shorter_than_its_segment() -> None:
    records, place = windows(replay_of([(8, CUT)]), Segments(np.array([0]), np.array([2]), np.array([4])), 2)
    np.testing.assert_array_equal(records["x"], [[2, 3, 4, 5, 6]])
    assert place == [0]


def test_digests_see_what_is_shown_and_not_the_rewards() -> None:
    replay = replay_of([(5, CUT)])
    one, two = (Segments(np.array([0]), np.array([t]), np.array([2])) for t in (0, 1))
    before = digests(replay, one, two)
    assert before != digests(replay, two, one)
    replay.arrays["task_rewards"][0, 1] += 1.0
    assert digests(replay, one, two) == before
    replay.arrays["x"][0, 5] += 1
    assert digests(replay, one, two) == before
    replay.arrays["x"][0, 3] += 1
    assert digests(replay, one, two) != before


def test_joined() -> None:
    one = Segments(np.array([0]), np.array([1]), np.array([2]))
    assert as_set(joined([one, one._replace(tick=np.array([4]))])) == {(0, 1, 2), (0, 4, 2)}
