"""What ``import waker`` offers: its names, one run made and looked into, and that looking changes nothing."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

import waker
from tests.helpers.synthetic import write_run
from waker.api import marks
from waker.cli import main
from waker.storage.run_folder import RunFolder

NAMES = {
    "Compared",
    "Config",
    "Rows",
    "Run",
    "UserError",
    "__version__",
    "compare",
    "cvar",
    "load",
    "load_config",  # the counterpart of --config: settings of a run, or of a file, to start from
    "metrics",
    "preset",
    "register_curriculum",
    "rows",
    "task",  # decorates a task function of a user's own file, so it must be found where a user looks
    "train",
}
"""They stay: who takes one away breaks other people's scripts."""


def settings(seed: int = 3, **changes: object) -> waker.Config:
    steps = {"train.steps": 200, "evaluation.every": 100, "train.log_every": 2}
    return waker.preset("tiny").with_(env="GridHazards", sampler="waker-m", seed=seed, **{**steps, **changes})


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> waker.Run:
    return waker.train(settings(), str(tmp_path_factory.mktemp("api") / "runs"))


def test_the_public_names_stay() -> None:
    assert set(waker.__all__) == NAMES
    assert {name for name in dir(waker) if not (name.startswith("__") and name.endswith("__"))} == {
        *NAMES - {"__version__"}
    }
    assert set(dir(waker)) >= NAMES
    for name in NAMES:
        assert getattr(waker, name) is not None
    with pytest.raises(AttributeError, match="no attribute 'tarin'"):
        waker.tarin  # noqa: B018


def test_importing_it_imports_nothing_heavy() -> None:
    code = "import sys, waker; print({'torch', 'pandas', 'gymnasium', 'numpy'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"


def test_what_is_no_configuration_is_refused_in_a_line(tmp_path: Path) -> None:
    with pytest.raises(waker.UserError, match=r"config must be a waker.Config, as waker.preset gives one, not 'tiny'"):
        waker.train("tiny", tmp_path)  # type: ignore[arg-type]


def test_settings_are_changed_by_name() -> None:
    config = settings(explorer="random", steps=500, model={"deter": 8}, sinks=["jsonl"])
    assert (config.train.steps, config.explorer.name, config.curriculum.sampler) == (500, "random", "waker-m")
    assert (config.model.deter, config.sinks) == (8, ("jsonl",))
    assert config.with_(explorer={"heads": 3}).explorer.heads == 3
    assert config.with_(train=config.train) == config


def test_settings_of_plug_ins_are_changed_by_their_own_names(tmp_path: Path) -> None:
    """As on the command line; in a file of settings too."""
    config = settings().with_(sampler="plr", explorer="rnd", **{"curriculum.plr.beta": 0.5, "explorer.rnd.size": 8})
    assert (config.curriculum.settings, config.explorer.settings) == ({"beta": 0.5}, {"size": 8})
    assert config.with_(**{"curriculum.plr.rho": 0.2}).curriculum.settings == {"beta": 0.5, "rho": 0.2}
    assert config.with_(sampler="ncc", **{"curriculum.ncc.every": 3}).curriculum.settings == {"every": 3}
    assert config.with_(**{"sinks.wandb.project": "p"}).sink_settings == {"wandb.project": "p"}
    assert config.with_(**{"curriculum.plr.heldout-every": 3}).curriculum.settings["heldout_every"] == 3
    with pytest.raises(waker.UserError, match="curriculum.ncc.every is a setting of ncc, and the sampler here is plr"):
        config.with_(**{"curriculum.ncc.every": 3})
    (tmp_path / "mine.yaml").write_text("preset: tiny\nsampler: plr\ncurriculum.plr.beta: 0.5\n")
    assert waker.load_config(tmp_path / "mine.yaml").curriculum.settings == {"beta": 0.5}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"sampler": "waker-n"}, "unknown sampler 'waker-n'; did you mean 'waker-m'"),
        ({"lr": 3.0}, "unknown setting 'lr'; did you mean 'model.optimizer.lr' or 'behaviour.actor_opt"),
        ({"train.stepz": 1}, "unknown setting 'train.stepz'; did you mean 'train.steps'"),
        ({"seed.x": 1}, "unknown setting 'seed.x'"),
        ({"model": 3}, "model takes a mapping of its settings or a ModelConfig, not 3"),
        ({"train.replay": 10}, "train.replay = 10 holds fewer than"),
        ({"train.batch": 0}, "train.batch"),
        ({"device": "quantum"}, "unknown device 'quantum'"),
    ],
)
def test_it_refuses_what_the_command_line_refuses(change: dict[str, object], message: str, tmp_path: Path) -> None:
    with pytest.raises(waker.UserError, match=message):
        waker.train(settings().with_(**change), tmp_path / "runs")
    assert not (tmp_path / "runs").exists()


def test_presets_are_checked() -> None:
    with pytest.raises(waker.UserError, match="unknown preset 'tini'; did you mean 'tiny'"):
        waker.preset("tini")
    assert waker.preset("paper", env="TerrainWalker", sampler="dr").curriculum.sampler == "dr"


def test_a_finished_run_is_trained_no_further(run: waker.Run) -> None:
    again = waker.train(settings(), run.folder.parents[3])
    assert (again.folder, again.step) == (run.folder, run.step)


def test_its_rows_are_tables(run: waker.Run) -> None:
    assert set(run.evaluation["task"]) == set(run.tasks)
    assert {"step", "updates"} <= set(run.metrics)
    assert len(run.model_error) and len(run.episodes)
    rows = waker.rows(str(run.folder.parents[3]))
    assert set(rows.evaluation["mark"]) == set(rows.model_error["mark"]) == {100, 200}
    assert set(rows.metrics["mark"]) == {80, 112, 144, 176}
    pd.testing.assert_series_equal(rows.evaluation["return"], run.evaluation["return"], check_names=False)
    by_seed = rows.evaluation.groupby(["sampler", "seed", "mark"])["return"].agg(waker.cvar)
    assert by_seed.index.tolist() == [("waker-m", 3, 100), ("waker-m", 3, 200)]


def test_marks_are_the_steps_that_were_due() -> None:
    settings = {"train.steps": 305, "evaluation.every": 100, "train.train_every": 16.0}
    settings |= {"train.prefill": 64, "train.envs": 4, "train.length": 8}
    evaluated = pd.DataFrame({"step": [101, 203, 305, 307], "policy": "learned"})
    assert marks(evaluated, settings).tolist() == [100, 200, 305, 305]
    learned = pd.DataFrame({"step": [80, 177, 305], "updates": [2, 8, 16]})
    assert marks(learned, settings).tolist() == [80, 176, 305]
    assert marks(evaluated, {}).tolist() == [101, 203, 305, 307]


def test_the_curriculum_is_a_series_over_theta(run: waker.Run) -> None:
    chosen = run.curriculum.probabilities()
    assert chosen.index.names == ["size", "hazards", "slip"]
    assert chosen.sum() == pytest.approx(1)
    estimates = run.curriculum.estimates(run.curriculum.steps[0])
    assert estimates.index.equals(chosen.index)
    with pytest.raises(waker.UserError, match="there is no snapshot at step 7"):
        run.curriculum.table(7)


def test_dreams_are_what_the_model_says(run: waker.Run) -> None:
    starts = run.replay.states(4, seed=1)
    dream = run.imagine("blue", starts, steps=5)
    cells, agent = dream.observations["cells"], run.agent
    assert (len(dream), dream.rewards.shape, dream.actions.shape[:2]) == (4, (6, 4), (5, 4))
    np.testing.assert_allclose(cells.sum(-1), 1, atol=1e-5)
    assert ((dream.continues >= 0) & (dream.continues <= 1)).all()
    assert dream.frames(3).shape[0] == 6 and dream.frames(3).dtype == np.uint8
    with torch.no_grad():
        feature = starts.state.feature
        decoded = agent.model.decoder.predict(agent.model.decoder(feature))
        value = agent.policy_learner.policies.critic.predict(feature.unsqueeze(0))[
            agent.policy_learner.policies.names.index("blue")
        ]
    np.testing.assert_allclose(cells[0], decoded["cells"].numpy(), atol=1e-6)
    np.testing.assert_allclose(dream.values[0], value.numpy(), atol=1e-5)


def test_the_likeliest_dream_is_repeated_and_drawn_ones_follow_their_seed(run: waker.Run) -> None:
    starts = run.replay.states(2)
    before = torch.random.get_rng_state()
    likeliest = [run.imagine("red", starts, 4, mode=True, seed=seed).rewards for seed in (0, 1)]
    np.testing.assert_array_equal(*likeliest)
    drawn = [run.imagine("red", starts, 4, seed=seed).actions for seed in (0, 0, 1)]
    np.testing.assert_array_equal(drawn[0], drawn[1])
    assert (drawn[0] != drawn[2]).any()
    assert torch.equal(before, torch.random.get_rng_state())


def test_what_the_replay_or_the_dream_does_not_hold_is_refused(run: waker.Run) -> None:
    told = rf"asks for {10**6} states, and the replay holds {len(run.replay)} steps"
    with pytest.raises(waker.UserError, match=told):
        run.replay.states(10**6)
    dream = run.imagine("green", run.replay.states(4), steps=1)
    with pytest.raises(IndexError, match="no dream 9: there are 4, from 0 to 3"):
        dream.frames(9)


def test_a_dream_begins_in_a_theta(run: waker.Run) -> None:
    dream = run.imagine("green", (3, 0.0, 0.0), steps=2, n=3)
    assert len(dream) == 3
    with pytest.raises(
        waker.UserError, match=r"θ = \[9.0, 0.0, 0.0\] is none of waker/GridHazards-v0; size 3, 4.*; slip 0, 0"
    ):
        run.imagine("green", (9, 0, 0))
    with pytest.raises(waker.UserError, match="unknown task 'grean'; did you mean 'green'"):
        run.imagine("grean")
    for wrong in ({"steps": 0}, {"steps": "a"}, {"steps": 2.5}, {"n": None}, {"seed": -1}, {"n": True}):
        (name,) = wrong
        with pytest.raises(waker.UserError, match=f"{name} must be a whole number of at least "):
            run.imagine("green", **wrong)  # type: ignore[arg-type]
    with pytest.raises(waker.UserError, match="start must be states of the replay or a θ, not 'here'"):
        run.imagine("green", "here")


def test_what_is_looked_into_tells_its_size_in_a_line(run: waker.Run, tmp_path: Path) -> None:
    assert repr(run.replay) == f"ReplayView({len(run.replay):,} steps)"
    assert repr(run.curriculum).startswith("CurriculumView(") and "snapshots, the last at step " in repr(run.curriculum)
    write_run(tmp_path)
    rows = waker.rows(tmp_path)
    assert repr(rows).startswith(f"Rows(evaluation: {len(rows.evaluation):,} rows, model_error: ")
    assert repr(waker.compare(tmp_path)).startswith("Compared(numbers: ")
    assert "\n" not in repr(rows)
    with pytest.raises(waker.UserError, match=r"length must be a whole number of at least 1, not 'a'"):
        run.replay.sample(2, "a")  # type: ignore[arg-type]
    with pytest.raises(waker.UserError, match=r"n must be a whole number of at least 1, not 0"):
        run.replay.states(0)
    (tmp_path / "file").touch()
    with pytest.raises(waker.UserError, match=r"runs .*/file is a file"):
        waker.train(settings(), tmp_path / "file")


def test_looking_changes_nothing_and_takes_no_lock(run: waker.Run) -> None:
    def content() -> dict[Path, bytes]:
        return {path: path.read_bytes() for path in sorted(run.folder.rglob("*")) if path.is_file()}

    before = content()
    with RunFolder(run.folder, run.config).locked():
        seen = waker.load(str(run.folder))
        assert seen.step == run.step >= 200
        seen.imagine("green", steps=2)
        assert len(seen.replay) > 0
        seen.curriculum.probabilities()
    assert content() == before


def test_policies_of_later_dream_too(tmp_path: Path) -> None:
    later = {"train.task_policies": "after", "train.adapt_updates": 3, "adapt.method": "lookahead"}
    run = waker.train(settings(**later), tmp_path)
    assert run.agent.adapter is not None
    assert run.imagine("red", steps=3, n=2).rewards.shape == (4, 2)
    none = waker.train(settings(4, **{**later, "train.adapt_updates": 0}), tmp_path)
    with pytest.raises(waker.UserError, match="no policy has been trained for 'red' yet: `waker adapt` trains it"):
        none.imagine("red")


def test_comparing_gives_the_command_s_numbers(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for sampler in ("dr", "waker-m"):
        for seed in (0, 1, 2):
            write_run(tmp_path / "runs", sampler, seed)
    found = waker.compare(str(tmp_path / "runs"), quantities=["worst_regret"])
    assert found.baseline == "dr"
    assert main(["compare", str(tmp_path / "runs")]) == 0
    kept = pd.read_csv(tmp_path / "runs/comparison.csv").fillna({"interval": ""})
    pd.testing.assert_frame_equal(found.summary.reset_index(drop=True), kept, check_dtype=False)
    (row,) = found.differences.to_dict("records")
    numbers = found.numbers.query("task == 'all' and quantity == 'worst_regret'").set_index(["sampler", "seed"])[
        "value"
    ]
    assert row["difference"] == pytest.approx((numbers["waker-m"] - numbers["dr"]).mean())
    assert (row["quantity"], row["pairs"], row["tests"]) == ("worst_regret", 3, 1)
    assert set(found.notes) == {"gridhazards"}


def test_a_table_without_rows_has_its_columns(tmp_path: Path) -> None:
    shutil.rmtree(write_run(tmp_path, "dr") / "episodes.parquet", ignore_errors=True)
    (tmp_path / "gridhazards/dr/plan2explore/seed-0/episodes.parquet").unlink(missing_ok=True)
    found = waker.rows(tmp_path)
    assert found.episodes.empty and list(found.episodes.groupby(["sampler", "seed", "mark"]).size()) == []
    assert set(found.episodes) <= set(found.evaluation)


def test_what_cannot_be_compared_is_refused_in_a_line(tmp_path: Path) -> None:
    write_run(tmp_path, "dr")
    with pytest.raises(waker.UserError, match="unknown quantity among these runs: 'worst_regre'; did you mean"):
        waker.compare(tmp_path, quantities=["worst_regre"])
    with pytest.raises(waker.UserError, match="unknown baseline among these runs: 'plr'"):
        waker.compare([tmp_path], "plr")
    with pytest.raises(waker.UserError, match="no folder .*nowhere"):
        waker.compare(tmp_path / "nowhere")
