"""The same episodes are seen to be the same, and whether a curriculum chose them is told by what there is."""

from __future__ import annotations

import numpy as np
import pandas as pd

from tests.helpers.rows import numbers
from waker.analysis.conclusion import conclusion
from waker.analysis.improvement import improvements
from waker.analysis.paired import paired_differences, pairs
from waker.analysis.same_data import ALL_UNCHOSEN, nothing_told, same_data_notes, without_same


def played(sampler: str, thetas: list[int], seed: int = 0) -> pd.DataFrame:
    about = {"sampler": sampler, "explorer": "e", "seed": seed}
    return pd.DataFrame(
        [{**about, "theta_id": i, "theta_x": i / 2, "episode_seed": n, "length": 5} for n, i in enumerate(thetas)]
    )


def estimates(*samplers: str, value: float = 1.0) -> pd.DataFrame:
    return pd.DataFrame([{"sampler": s, "estimate": value} for s in samplers], columns=["sampler", "estimate"])


def notes(*parts: pd.DataFrame, curriculum: pd.DataFrame | None = None) -> list[str]:
    return same_data_notes(pd.concat(parts), estimates() if curriculum is None else curriculum)


def test_samplers_that_played_the_same_as_dr_have_chosen_nothing() -> None:
    both = played("dr", [1, 2, 3]), played("waker-m", [1, 2, 3])
    assert notes(*both) == [ALL_UNCHOSEN]
    assert notes(*both, curriculum=estimates("waker-m")) == [ALL_UNCHOSEN]  # dr played them too


def test_one_other_episode_in_one_seed_is_a_choice() -> None:
    assert notes(played("dr", [1, 2, 3]), played("waker-m", [1, 2, 4])) == []
    second = played("dr", [5, 5], 1), played("waker-m", [5, 6], 1)
    assert notes(played("dr", [1, 2]), played("waker-m", [1, 2]), *second) == []


def test_seeds_that_only_one_has_count_for_nothing() -> None:
    assert notes(played("dr", [1, 2]), played("waker-m", [1, 2]), played("dr", [7], 1)) == [ALL_UNCHOSEN]
    assert notes(played("dr", [1, 2]), played("waker-m", [1, 2], 1)) == []


def test_some_of_the_samplers_are_named() -> None:
    told = notes(played("dr", [1]), played("waker-m", [1]), played("waker-r", [2]))
    assert told == ["dr and waker-m have the same data so far: no episode was chosen by a curriculum yet"]


def test_two_curricula_that_agree_have_chosen_once_they_estimate() -> None:
    both = played("waker-m [a]", [1, 2]), played("waker-m [b]", [1, 2])
    assert notes(*both, curriculum=estimates("waker-m [a]", value=np.nan)) == [ALL_UNCHOSEN]
    assert notes(*both, curriculum=estimates("waker-m [a]")) == ["all samplers have the same data so far"]


def test_nothing_played_is_nothing_alike() -> None:
    assert same_data_notes(pd.DataFrame(), pd.DataFrame()) == []


def test_samplers_with_the_baseline_s_data_are_not_tested_and_the_headline_says_so() -> None:
    values = {"dr": [1.0, 2.0, 3.0], "plr": [1.1, 2.3, 2.9], "plr [a, dr]": [1.0, 2.5, 3.0], "m": [2.0, 2.9, 4.2]}
    rows = pairs(numbers({name: {"all": found} for name, found in values.items()}), "dr").rows
    note = same_data_notes(pd.concat([played(n, [1]) for n in values if n != "m"] + [played("m", [2])]), estimates())[0]
    left = without_same(rows, "dr", {"d": [note]})
    assert set(left["sampler"]) == {"m"}
    tests = paired_differences(left)
    assert set(tests["tests"]) == {1} and set(paired_differences(rows)["tests"]) == {3}
    assert conclusion(tests, "dr", notes=[note, "another"]).endswith(f" {note}.")
    assert len(without_same(rows, "m", {"d": [note]})) == len(rows)  # the baseline has data of its own


def test_where_all_samplers_have_the_same_data_nothing_is_tested_but_adapted_policies() -> None:
    values = {"dr": [1.0, 2.0, 3.0], "m": [1.0, 2.5, 3.0], "m (adapted)": [2.0, 2.9, 4.2]}
    table = numbers({name: {"all": found, "a": found} for name, found in values.items()})
    rows, better = pairs(table, "dr").rows, improvements(table)
    for note in (ALL_UNCHOSEN, "all samplers have the same data so far", "dr and m have the same data so far"):
        assert set(without_same(rows, "dr", {"d": [note]})["sampler"]) == {"m (adapted)"}
        assert set(without_same(better, "dr", {"d": [note]})["sampler"]) == {"m (adapted)"}
        assert nothing_told(["another", note]) == f"Nothing can be told of the samplers: {note}."
    assert set(better["sampler"]) == {"m", "m (adapted)"}
    assert nothing_told(["another"]) == ""


def test_runs_without_an_episode_that_has_ended_have_the_same_data() -> None:
    begun = [{"sampler": s, "explorer": "e", "seed": 0, "estimate": 0.1} for s in ("dr", "waker-m", "waker-r")]
    assert same_data_notes(pd.DataFrame(), pd.DataFrame(begun)) == [ALL_UNCHOSEN]
    told = same_data_notes(played("waker-r", [1]), pd.DataFrame(begun))
    assert told == ["dr and waker-m have the same data so far: no episode was chosen by a curriculum yet"]
