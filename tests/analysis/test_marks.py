"""Nominal steps: what the seeds of a study share, and where updates stand that take no step."""

from __future__ import annotations

import pandas as pd

from waker.analysis.marks import at_marks, learner_steps

SETTINGS = {
    "train.steps": 100,
    "train.train_every": 10,
    "train.prefill": 20,
    "train.envs": 1,
    "train.length": 5,
    "evaluation.every": 50,
}


def test_measurements_of_other_seeds_share_the_step_that_they_were_due_at() -> None:
    for late in (0, 3, 7):
        rows = pd.DataFrame({"step": [50 + late, 50 + late, 100 + late], "updates": [3, 3, 8], "metric": "tv"})
        assert at_marks(rows, SETTINGS)["step"].tolist() == [50, 50, 100]


def test_a_run_that_went_on_has_its_first_end_where_the_others_have_theirs() -> None:
    longer = {**SETTINGS, "train.steps": 200, "evaluation.every": 0}
    rows = pd.DataFrame({"step": [103, 103, 204], "updates": [8, 8, 18], "metric": "tv"})
    assert at_marks(rows, longer, {103: 100})["step"].tolist() == [100, 100, 200]
    assert at_marks(rows, {**longer, "evaluation.every": 80}, {103: 100})["step"].tolist() == [100, 100, 200]
    learner = rows.drop(columns="metric")  # a log is due by its updates, wherever the run had ended
    assert at_marks(learner, longer, {103: 100})["step"].tolist() == at_marks(learner, longer)["step"].tolist()


def test_two_steps_that_would_become_one_stay() -> None:
    rows = pd.DataFrame({"step": [50, 60], "updates": [3, 4], "metric": "tv"})
    assert at_marks(rows, SETTINGS)["step"].tolist() == [50, 60]


def test_runs_without_settings_keep_their_steps() -> None:
    rows = pd.DataFrame({"step": [53, 104], "updates": [3, 8], "metric": "tv"})
    assert at_marks(rows, {})["step"].tolist() == [53, 104]
    assert at_marks(pd.DataFrame(), SETTINGS).empty


def test_updates_behind_the_last_step_go_on_at_the_training_s_rate() -> None:
    rows = pd.DataFrame({"step": [23, 44, 103, 103, 103], "updates": [1, 3, 9, 11, 14]})
    assert learner_steps(rows, SETTINGS).tolist() == [20, 40, 100, 120, 150]


def test_without_settings_the_rate_is_the_rows_own() -> None:
    rows = pd.DataFrame({"step": [20, 40, 100, 100], "updates": [2, 4, 10, 12]})
    assert learner_steps(rows, {}).tolist() == [20, 40, 100, 120]


def test_a_run_of_one_row_stays_where_it_is() -> None:
    assert learner_steps(pd.DataFrame({"step": [7], "updates": [3]}), {}).tolist() == [7]
