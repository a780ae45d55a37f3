"""Each library's convention there and back, and where states and actions lie in its arrays."""

from __future__ import annotations

import json
import pickle
from pathlib import Path

import numpy as np
import pytest

from tests.helpers.asked import answered, family, replay
from waker.errors import UserError
from waker.preferences import converters as c
from waker.preferences.table import pairs_of

LABELS = np.array([1.0, 0.0, 0.5, np.nan, 1.0])
LEFT_OUT = np.array([True, True, True, False, True])


def test_imitation_says_the_probability_of_the_first() -> None:
    found, kept = c.imitation_labels(LABELS)
    assert found.dtype == np.float32
    np.testing.assert_array_equal(found, [1.0, 0.0, 0.5, 1.0])
    np.testing.assert_array_equal(kept, LEFT_OUT)
    np.testing.assert_array_equal(c.from_imitation(found, kept), LABELS)
    soft = np.array([0.25, np.nan])
    np.testing.assert_array_equal(c.from_imitation(*c.imitation_labels(soft)), soft)


def test_bpref_says_the_index_of_the_winner() -> None:
    found, kept = c.bpref_labels(LABELS)
    np.testing.assert_array_equal(found, [[0], [1], [-1], [0]])
    np.testing.assert_array_equal(c.from_bpref(found, kept), LABELS)
    with pytest.raises(UserError, match="B-Pref has no label for a probability"):
        c.bpref_labels([0.7])


def test_ipl_says_that_the_second_is_preferred() -> None:
    found, kept = c.ipl_labels(LABELS)
    np.testing.assert_array_equal(found, [0.0, 1.0, 0.5, 0.0])
    np.testing.assert_array_equal(c.from_ipl(found, kept), LABELS)


def test_trl_says_it_by_its_keys_and_has_no_ties() -> None:
    first, second = [f"a{i}" for i in range(5)], [f"b{i}" for i in range(5)]
    rows, kept = c.trl_rows(LABELS, first, second, "which?")
    assert rows == [
        {"prompt": "which?", "chosen": "a0", "rejected": "b0"},
        {"prompt": "which?", "chosen": "b1", "rejected": "a1"},
        {"prompt": "which?", "chosen": "a4", "rejected": "b4"},
    ]
    back = c.from_trl(rows, kept, first, second)
    np.testing.assert_array_equal(back, [1.0, 0.0, np.nan, np.nan, 1.0])
    with pytest.raises(UserError, match="of other segments than those of query 1"):
        c.from_trl([rows[0], rows[0], rows[2]], kept, first, second)


def test_the_three_conventions_contradict_each_other() -> None:
    """A 1 is the first for one of them, and the second for the others."""
    ones = [1.0]
    assert c.imitation_labels(ones)[0] == [1.0] and c.bpref_labels(ones)[0] == [[0]] and c.ipl_labels(ones)[0] == [0.0]


def test_another_number_of_labels_is_refused() -> None:
    with pytest.raises(UserError, match="2 labels are given for 4 answers"):
        c.from_bpref([0, 1], LEFT_OUT)


def test_fragments_have_one_state_more_than_actions_and_earn_the_truth() -> None:
    frame = answered()
    fragments = c.imitation_fragments(replay(), family().spec, pairs_of(frame), task=0)
    for row, (first, second) in zip(frame.to_dict("records"), fragments, strict=True):
        for side, part in ((1, first), (2, second)):
            slot, tick, length = (row[f"{name}_{side}"] for name in ("slot", "tick", "length"))
            assert len(part.obs["agent"]) == length + 1 and len(part.acts) == len(part.rews) == length
            assert part.rews.sum() == row[f"score_{side}"]
            arrays = replay().arrays
            np.testing.assert_array_equal(part.obs["agent"], arrays["agent"][slot, tick : tick + length + 1])
            np.testing.assert_array_equal(part.acts, arrays["action"][slot, tick + 1 : tick + length + 1])
            assert part.terminal == bool(arrays["is_terminal"][slot, tick + length])


def test_bpref_has_the_state_beside_the_action_taken_in_it() -> None:
    pairs, spec = pairs_of(answered(40)), family().spec
    arrays, kept = c.bpref_pairs(replay(), spec, pairs)
    which = int(np.flatnonzero(kept)[0])
    assert arrays["sa_1"].shape == (kept.sum(), 4, sum(key.size for key in spec.observation) + spec.action.dim)
    assert not kept.all()  # some segments ended early, and have no place in an array
    slot, tick = int(pairs.first.slot[which]), int(pairs.first.tick[which])
    step = arrays["sa_1"][0, 0]
    np.testing.assert_array_equal(step[-spec.action.dim :], replay().arrays["action"][slot, tick + 1])
    at, place = 0, {}
    for key in spec.observation:
        place[key.name] = step[at : at + key.size]
        at += key.size
    row, column = (int(half.argmax()) for half in np.split(place["agent"], 2))
    np.testing.assert_array_equal([row, column], replay().arrays["agent"][slot, tick])


def test_texts_tell_states_and_actions() -> None:
    pairs = pairs_of(answered())
    first = json.loads(c.as_texts(replay(), family().spec, pairs.first)[0])
    length, slot, tick = (int(x[0]) for x in (pairs.first.length, pairs.first.slot, pairs.first.tick))
    assert len(first["states"]["agent"]) == length + 1
    taken = replay().arrays["action"][slot, tick + 1 : tick + length + 1].argmax(-1)
    assert first["actions"] == taken.tolist()


class _Trap:
    """What a pickle may do when it is loaded."""

    sprung = False

    def __reduce__(self) -> tuple[type, tuple[()]]:
        return _Spring, ()


class _Spring:
    def __init__(self) -> None:
        _Trap.sprung = True


def test_files_hold_no_pickles_and_none_is_run(tmp_path: Path) -> None:
    labels, _ = c.bpref_labels(LABELS)
    c.write_arrays(tmp_path / "b.npz", {"labels": labels})
    np.testing.assert_array_equal(c.read_arrays(tmp_path / "b.npz")["labels"], labels)
    with pytest.raises(UserError, match="objects"):
        c.write_arrays(tmp_path / "c.npz", {"infos": np.array([{}], object)})
    np.savez(tmp_path / "trap.npz", allow_pickle=True, obs=np.array([_Trap()], object))
    (tmp_path / "trap.pkl").write_bytes(pickle.dumps(_Trap()))
    _Trap.sprung = False
    for name in ("trap.npz", "trap.pkl"):
        with pytest.raises(UserError, match="cannot be read"):
            c.read_arrays(tmp_path / name)
    assert not _Trap.sprung
