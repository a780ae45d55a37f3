"""Tasks of a user's own, whole: an optimum gives regret, actions may be seen, and comparisons show all policies."""

from __future__ import annotations

import itertools
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

import waker_envs
from tests.helpers.families import family_of
from tests.helpers.tiny import RUN
from tests.plugin_example.corridor_example import Corridor
from tests.replay.test_relabel import SPEC, filled, task
from waker.analysis.numbers import compare_runs
from waker.behaviour.player import RandomPlayer
from waker.cli import main
from waker.config.schema import EvalConfig
from waker.errors import BLEMISHED
from waker.evaluation.rollouts import evaluate
from waker.evaluation.setup import Setup
from waker.replay.relabel import TaskFunction, actions_of, load_task, relabelled
from waker.specs import ActionSpec, EnvSpec
from waker.storage.tables import read_rows
from waker_envs.tabular import TabularMDP, best_return

TASKS = """
import numpy as np

from waker import task
from waker_envs.tabular import best_return


def optimum(env, theta, seed):
    table = env.tabular(theta, seed)
    return best_return(table, corner(table.states), ending=0.0)


@task(optimal_return=optimum)
def corner(observation):
    # One point for each step in the upper left corner, if no hazard (class 3) is there.
    return ((observation["agent"] == 0).all(-1) & (observation["cells"][..., 0] != 3)).astype("float32")


def broken(env, theta, seed):
    raise ValueError("no idea")


@task(optimal_return=broken)
def still(observation, action):
    return (action == 4).astype("float32")
"""


@pytest.fixture
def folder(finished: Path, tmp_path: Path) -> Path:
    shutil.copytree(finished / RUN, tmp_path / "runs" / RUN)
    (tmp_path / "tasks.py").write_text(TASKS)
    return tmp_path / "runs" / RUN


@pytest.mark.parametrize("theta", [(3, 0.2, 0.1), (4, 0.0, 0.0), (5, 0.1, 0.1)])
def test_the_best_return_is_that_of_the_family_where_it_has_the_task(theta: tuple[float, ...]) -> None:
    env: Any = waker_envs.make("GridHazards").unwrapped
    for seed, (k, name) in itertools.product((1, 5), enumerate(env.tasks)):
        table = env.tabular(np.array(theta), seed)
        cell = table.states["agent"] @ np.array([env.frame, 1])
        tile = table.states["cells"][0] == env.n_classes - len(env.tasks) + k
        earned = tile[cell].astype(float)
        assert earned.sum() == 1
        assert best_return(table, earned, ending=0.0) == pytest.approx(env.optimal_return(np.array(theta), name, seed))
    with pytest.raises(ValueError, match="the table has"):
        best_return(table, np.zeros(1))


def test_an_end_that_pays_is_worth_going_to() -> None:
    """Two states: stay (pays 0.5) or leave, which ends the episode; three steps."""
    move = np.array([[[1.0, 0.0], [0.0, 1.0]], [[0.0, 0.0], [0.0, 0.0]]])
    table = TabularMDP(np.arange(2), move, np.zeros((1, 2, 2)), 0, 3)
    with pytest.raises(ValueError, match="may end before its time"):
        best_return(table, np.array([0.5, 0.0]))
    assert best_return(table, np.array([0.5, 0.0]), ending=0.0) == 1.5
    assert best_return(table, np.array([0.5, 0.0]), ending=2.0) == 3.0  # two steps of 0.5, then the end


def test_a_task_with_an_optimum_has_a_regret(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source = f"{folder.parents[4] / 'tasks.py'}:corner"
    assert main(["adapt", str(folder), "--task-module", source, "--updates", "2"]) == 0
    assert main(["evaluate", str(folder)]) == 0
    rows = read_rows(folder / "evaluation.parquet").query("task == 'corner'")
    assert set(rows["policy"]) == {"learned", "random"}
    env = waker_envs.make("GridHazards")
    for _, row in rows[rows["suite"] == "dr"].head(3).iterrows():
        theta = row[["theta_size", "theta_hazards", "theta_slip"]].to_numpy(float)
        table = env.tabular(theta, int(row["episode_seed"]))
        safe = table.states["cells"][:, 0] != 3
        wanted = best_return(table, (table.states["agent"] == 0).all(-1) & safe, ending=0.0)
        assert row["optimal_return"] == pytest.approx(wanted)
    assert (rows["return"] <= rows["optimal_return"] + rows["length"]).all()
    capsys.readouterr()
    assert main(["compare", str(folder), "--csv", str(folder / "c.csv")]) == 0
    found = pd.read_csv(folder / "c.csv").query("task == 'corner' and quantity == 'mean_regret'")
    assert len(found) == 1 and np.isfinite(found["mean"]).all()


def test_an_optimum_that_fails_costs_itself_alone(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source = f"{folder.parents[4] / 'tasks.py'}:still"
    assert main(["adapt", str(folder), "--task-module", source, "--updates", "2"]) == 0
    capsys.readouterr()
    assert main(["evaluate", str(folder)]) == BLEMISHED
    told = capsys.readouterr().err
    assert "optimal_return of task still failed at" in told and "ValueError: no idea" in told
    rows = read_rows(folder / "evaluation.parquet").query("task == 'still'")
    assert len(rows) and rows["optimal_return"].isna().all()
    assert rows["return"].between(0, rows["length"]).all()


def test_a_function_of_actions_is_given_those_that_led_there_in_an_episode() -> None:
    def predicted(observation: dict[str, np.ndarray], action: np.ndarray) -> np.ndarray:
        """1 where the cell is where the action leads from the cell before."""
        cell, length = observation["observation"][..., 0], observation["observation"][..., 1]
        moved = np.clip(cell[:, :-1] + np.array([0, -1, 1])[action[:, 1:]], 0, length[:, 1:] - 1)
        return np.concatenate([np.zeros_like(cell[:, :1]), moved == cell[:, 1:]], 1).astype(np.float32)

    family = family_of(Corridor)
    few = EvalConfig(episodes=12, suite_episodes=1, model_episodes=1, horizon=2, samples=4)
    player = RandomPlayer(family.spec.action, np.random.default_rng(0), ("predicted",))
    function = TaskFunction("predicted", "here.py:predicted", predicted)
    rows = pd.DataFrame(evaluate(Setup(family, few), player, ["predicted"], rewards={"predicted": function}, slots=3))
    still = rows[rows["theta_wind"] == 0]
    assert len(still) > 2
    assert (still["return"] == still["length"] - 1).all()


def test_a_function_of_actions_is_given_those_of_the_replay() -> None:
    replay = filled(11)
    ticks = np.arange(replay.first, 11)
    chosen = np.random.default_rng(3).integers(2, size=(2, len(ticks)))
    replay.arrays["action"][:, ticks % replay.size] = np.eye(2, dtype=np.float32)[chosen]
    got = relabelled(replay, SPEC, [task(lambda o, a: 10 * a + o["place"][..., 0] % 100)])
    rewards = got.read(got.first, got.ticks)["task_rewards"][..., 0]
    np.testing.assert_array_equal(rewards, (10 * chosen + ticks) * (ticks % 5 != 0))


def test_actions_are_in_the_environments_units() -> None:
    spec = EnvSpec("test", (), ActionSpec(2, False, (0.0, -2.0), (1.0, 2.0)), ("a",))
    vectors = np.array([[[-1.0, 0.0], [1.0, 1.0]]], np.float32)
    np.testing.assert_allclose(actions_of(spec, vectors), [[[0.0, 0.0], [1.0, 2.0]]])
    assert actions_of(SPEC, np.eye(2, dtype=np.float32)[None]).tolist() == [[0, 1]]


@pytest.mark.parametrize(
    ("text", "sees"),
    [("lambda o: o", False), ("lambda o, a: o", True), ("lambda o, scale=2.0: o", False), ("max", False)],
)
def test_a_second_argument_is_the_action(text: str, sees: bool, tmp_path: Path) -> None:
    (tmp_path / "t.py").write_text(f"f = {text}\n")
    assert load_task(f"{tmp_path / 't.py'}:f").sees_actions is sees


def test_adapted_policies_stand_beside_their_run(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Those of all tasks of the run have a number over all; those of some have none, and take none from others."""
    assert main(["compare", str(folder), "--csv", str(folder / "before.csv")]) == 0
    before = pd.read_csv(folder / "before.csv")
    for tasks, tables in ((["green"], {"green"}), (["green", "blue", "red"], {"green", "blue", "red", "all"})):
        assert main(["adapt", str(folder), "--tasks", *tasks, "--updates", "2"]) == 0
        assert main(["evaluate", str(folder)]) == 0
        capsys.readouterr()
        page = ["--page", str(folder / "page.html")] * (len(tasks) > 1)
        assert main(["compare", str(folder), "--csv", str(folder / "after.csv"), *page]) == 0
        assert "waker-m (adapted)" in capsys.readouterr().out
        after = pd.read_csv(folder / "after.csv")
        own = after[after["sampler"] == "waker-m"].reset_index(drop=True)
        pd.testing.assert_frame_equal(own, before)
        adapted = after[after["sampler"] == "waker-m (adapted)"]
        assert set(adapted["task"]) == tables
        rows = read_rows(folder / "evaluation.parquet").query("policy == 'adapted' and suite == 'dr'")
        worth = rows["exact_value"].fillna(rows["return"])[rows["task"] == "green"]
        shown = adapted.query("task == 'green' and quantity == 'mean_return'")["mean"].item()
        assert shown == pytest.approx(worth.mean())
    numbers = pd.read_csv(folder / "page-numbers.csv").query("sampler == 'waker-m (adapted)'")
    assert len(numbers) and set(numbers["run"]) == {"/".join(folder.parts[-4:])}  # each is traced to its run


def test_runs_without_own_policies_and_several_domains_are_compared_as_before() -> None:
    identity = {"domain": "d", "sampler": "dr", "explorer": "e", "seed": 0, "step": 5, "suite": "dr", "theta_id": 0}
    episode = {"theta_x": 0.0, "episode_seed": 1, "return": 1.0, "completion": np.nan, "optimal_return": np.nan}
    rows = [{**identity, **episode, "task": task, "policy": "adapted"} for task in "ab"]
    none = compare_runs(pd.DataFrame(rows), pd.DataFrame(), pd.DataFrame()).numbers
    assert none.empty
    rows.append({**identity, **episode, "task": "a", "policy": "learned", "return": 3.0})
    numbers = compare_runs(pd.DataFrame(rows), pd.DataFrame(), pd.DataFrame()).numbers
    mean = numbers.query("quantity == 'mean_return'").set_index(["sampler", "task"])["value"].to_dict()
    assert mean == {
        ("dr", "a"): 3.0,
        ("dr (adapted)", "a"): 1.0,
        ("dr (adapted)", "b"): 1.0,
        ("dr", "all"): 3.0,
        ("dr (adapted)", "all"): 1.0,
    }
