"""Evaluations and curricula in loggers: one run with a stand-in for W&B and real TensorBoard files, read back."""

from __future__ import annotations

import io
import json
import sys
import types
from importlib.machinery import ModuleSpec
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import wandb
from PIL import Image

from tests.helpers.tiny import RUN, TINY, refused
from tests.loggers.test_sinks import history
from waker.analysis import glossary
from waker.analysis.logged import curriculum_metrics, evaluation_metrics
from waker.analysis.metrics import cvar
from waker.cli import main
from waker.loggers.film import gif, moving_picture
from waker.loggers.named.wandb import WandbSettings
from waker.loggers.registry import check_sinks, make_sink
from waker.names import EXPECTED
from waker.storage.metrics_file import read_metrics
from waker_envs.foreign import Failed

ASKED = ["--sinks.wandb.project", "maps", "--sinks.wandb.tags", "small", "first", "--evaluation.every", "80"]


class Stand(types.ModuleType):
    """As much of the module ``wandb`` as the logger calls; keeps what it is told."""

    def __init__(self) -> None:
        super().__init__("wandb")
        self.__spec__ = ModuleSpec("wandb", None, origin="a stand-in")
        self.asked: dict[str, Any] = {}
        self.rows: list[tuple[int, dict[str, Any]]] = []
        self.starting_step = 0
        self.errors = types.SimpleNamespace(Error=RuntimeError)

    def init(self, **asked: Any) -> Stand:
        self.asked = asked
        return self

    def Settings(self, **asked: Any) -> None:
        return None

    def Video(self, place: str, format: str) -> bytes:
        assert format == "gif"
        return Path(place).read_bytes()

    def log(self, row: dict[str, Any], step: int) -> None:
        self.rows.append((step, dict(row)))

    def finish(self) -> None:
        self.finished = True


@pytest.fixture(scope="module")
def logged(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Stand]:
    """A tiny run that is evaluated twice, and what W&B was told of it."""
    runs, stand = tmp_path_factory.mktemp("logged"), Stand()
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(sys.modules, "wandb", stand)
        assert main(["train", *TINY, *ASKED, "--sinks", "wandb", "tensorboard", "--runs", str(runs)]) == 0
    return runs / RUN, stand


def evaluations(stand: Stand) -> list[tuple[int, dict[str, Any]]]:
    return [(step, row) for step, row in stand.rows if "evaluation/mean_return/all" in row]


def test_seeds_fold_into_a_group(logged: tuple[Path, Stand]) -> None:
    asked = logged[1].asked
    assert (asked["project"], asked["group"]) == ("maps", "gridhazards/waker-m/plan2explore")
    assert (asked["tags"], asked["name"]) == (["small", "first"], "gridhazards/waker-m/plan2explore/seed-0")


def test_every_evaluation_is_told_by_the_packages_definitions(logged: tuple[Path, Stand]) -> None:
    run, stand = logged
    rows = pd.read_parquet(run / "evaluation.parquet")
    found = evaluations(stand)
    assert [row["step"] for _, row in found] == sorted(set(rows["step"]))
    assert len(found) == 2
    for _, row in found:
        here = rows[rows["step"] == row["step"]]
        learned = here.query("policy == 'learned' and suite == 'dr' and task == 'green'")
        worth = learned["exact_value"].fillna(learned["return"])
        assert row["evaluation/mean_return/green"] == pytest.approx(worth.mean())
        assert row["evaluation/cvar_0.1/green"] == pytest.approx(cvar(learned["return"].to_numpy(), 0.1))
        assert row["evaluation/mean_regret/green"] == pytest.approx((learned["optimal_return"] - worth).mean())
        planned = here.query("policy == 'planned' and suite == 'dr' and task == 'red'")
        # Over all episodes of each θ, as often as the sample has it.
        whole = here[(here["policy"] == EXPECTED) & (here["suite"] == "dr") & (here["task"] == "red")]
        regret = (whole["optimal_return"] - whole["return"]).set_axis(whole["theta_id"])
        assert row["evaluation/planned_mean_regret/red"] == pytest.approx(regret[planned["theta_id"]].mean())
        errors = pd.read_parquet(run / "model_error.parquet").query("step == @row['step']")
        tv = errors[errors["metric"] == "open_loop_tv_3"]
        by_theta = tv.groupby("theta_id")["value"].mean()
        assert row["evaluation/mean_model_error/all"] == pytest.approx(by_theta.mean())


def test_rows_come_in_order_and_are_no_rows_of_metrics(logged: tuple[Path, Stand]) -> None:
    run, stand = logged
    steps = [step for step, _ in stand.rows]
    assert steps == sorted(steps)
    metrics = read_metrics(run / "metrics.jsonl")
    assert not any(key.startswith("evaluation/") for row in metrics for key in row)
    assert [row["step"] for row in read_metrics(run / "wandb" / "evaluations.jsonl")] == [
        row["step"] for _, row in evaluations(stand)
    ]


def test_the_curriculum_is_two_numbers(logged: tuple[Path, Stand]) -> None:
    run, stand = logged
    rows = pd.read_parquet(run / "curriculum.parquet")
    hard = json.loads((run / "theta_space.json").read_text())["hard_ids"]
    told = {int(row["updates"]): row for _, row in stand.rows if "curriculum/entropy" in row}
    assert len(told) >= 2
    for updates, row in told.items():
        p = rows[rows["updates"] == updates].drop_duplicates("theta_id").sort_values("theta_id")["probability"]
        assert row["curriculum/entropy"] == pytest.approx(-(p * np.log(p)).sum())
        assert row["curriculum/hard_share"] == pytest.approx(p.to_numpy()[hard].sum())


def test_uniform_probabilities_have_the_highest_entropy() -> None:
    assert curriculum_metrics(np.full(4, 0.25), [3]) == pytest.approx(
        {"curriculum/entropy": np.log(4), "curriculum/hard_share": 0.25}
    )
    assert curriculum_metrics(np.array([1.0, 0.0]), []) == {"curriculum/entropy": 0.0}
    assert curriculum_metrics(None, [0]) == {}


def test_every_key_is_in_the_glossary(logged: tuple[Path, Stand]) -> None:
    names = {name for _, row in logged[1].rows for name in row}
    assert [name for name in sorted(names) if not glossary.find(name, "metrics")] == []
    quantity = glossary.find("evaluation/worst_regret/green")
    assert [entry.name for entry in quantity] == ["evaluation/<quantity>/<task>", "worst_regret"]
    of_evaluations = [n for n in names if n.startswith("evaluation/") and n != "evaluation/film"]
    assert all(len(glossary.find(name)) > 1 for name in of_evaluations)


def test_tensorboard_has_the_same_numbers_and_the_film(logged: tuple[Path, Stand]) -> None:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    run, stand = logged
    events = EventAccumulator(str(run / "tensorboard"))
    events.Reload()
    for key in ("evaluation/mean_return/all", "evaluation/planned_mean_regret/red", "evaluation/mean_model_error/all"):
        told = [(step, row[key]) for step, row in evaluations(stand)]
        read = [(event.step, event.value) for event in events.Scalars(key)]
        assert [step for step, _ in read] == [step for step, _ in told]
        assert [value for _, value in read] == pytest.approx([value for _, value in told], rel=1e-6)
    films = events.Images("evaluation/film")
    assert [film.step for film in films] == [step for step, _ in evaluations(stand)]
    assert [row["evaluation/film"] for _, row in stand.rows if "evaluation/film" in row][-1] == (
        films[-1].encoded_image_string
    )


def test_the_film_is_real_above_imagined(logged: tuple[Path, Stand]) -> None:
    film = np.load(logged[0] / "filmstrip.npz")
    clips, frames, height, width = film["real"].shape[:4]
    factor = -(-64 // max(height, width))
    picture = moving_picture(film)
    assert picture.shape == (frames, 2 * height * factor + 6, clips * (width * factor + 2) + 2, 3)
    np.testing.assert_array_equal(picture[3, 2 : 2 + height * factor : factor, 2 : 2 + width * factor : factor],
                                  film["real"][0, 3])  # fmt: skip
    below = picture[3, 4 + height * factor : 4 + 2 * height * factor : factor, 2 : 2 + width * factor : factor]
    np.testing.assert_array_equal(below, film["imagined"][0, 3])
    read = Image.open(io.BytesIO(gif(picture)))
    assert (read.size, read.n_frames, read.info["loop"]) == ((picture.shape[2], picture.shape[1]), frames, 0)


def test_an_offline_piece_repeats_evaluations_from_before_a_resume(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WANDB_MODE", "offline")
    film = np.zeros((2, 16, 16, 3), np.uint8)

    def begin(state: dict[str, Any]) -> Any:
        sink = make_sink(("wandb",), tmp_path, "grid/dr/x/seed-0", {"sink_settings": {"wandb.project": "maps"}})
        sink.restore(state)
        return sink

    sink = begin({})
    sink.write({"step": 10, "updates": 4, "loss": 0.1})
    sink.evaluated({"step": 11, "updates": 4, "evaluation/mean_return/all": 1.0}, film, "evaluation/film")
    sink.write({"step": 20, "updates": 8, "loss": 0.2})
    state = sink.sync()
    sink.evaluated({"step": 21, "updates": 8, "evaluation/mean_return/all": 7.0}, film, "evaluation/film")
    sink.close()
    sink = begin(state)
    sink.evaluated({"step": 21, "updates": 8, "evaluation/mean_return/all": 2.0}, None, "evaluation/film")
    sink.close()
    wandb.teardown()
    newest = max((tmp_path / "wandb").glob("offline-run-*/*.wandb"), key=lambda piece: piece.stat().st_mtime_ns)
    rows = {row["at"]: row for row in history(newest)}
    assert (rows[4]["loss"], rows[4]["evaluation/mean_return/all"]) == (0.1, 1.0)
    assert (rows[8]["loss"], rows[8]["evaluation/mean_return/all"]) == (0.2, 2.0)
    assert any((tmp_path / "wandb").glob("offline-run-*/files/media/videos/evaluation/film*.gif"))


def test_a_film_that_fails_costs_itself_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(*args: object) -> None:
        raise OSError("no room")

    monkeypatch.setattr("waker.loggers.named.tensorboard.TensorBoardSink.film", fails)
    sink = make_sink(("tensorboard",), tmp_path, "grid/dr/x/seed-0", {})
    with pytest.warns(Failed, match="the film in sink 'tensorboard' is left out: OSError: no room"):
        sink.evaluated({"step": 1, "updates": 1, "evaluation/x/all": 1.0}, np.zeros((1, 4, 4, 3), np.uint8), "film")
    assert "tensorboard" in sink.sinks
    sink.close()


def test_quantities_that_are_not_known_are_left_out() -> None:
    identity = {"domain": "d", "sampler": "dr", "explorer": "e", "seed": 0, "step": 5}
    assert evaluation_metrics([], [], identity) == {}


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (["--sinks.wandb.project", "x"], "--sinks.wandb.project: 'wandb' is none of --sinks jsonl"),
        (["--sinks", "wandb", "--sinks.wandb.projekt", "x"], "unknown option '--sinks.wandb.projekt'; did you mean"),
        (["--sinks", "tensorboard", "--sinks.tensorboard.x", "1"], "tensorboard has no settings of its own"),
    ],
)
def test_a_wrong_setting_is_one_line(more: list[str], message: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert message in refused(["train", *TINY, *more], capsys)


def test_settings_given_in_python_are_checked() -> None:
    check_sinks(("jsonl",), {"wandb.project": "kept for later"})
    with pytest.raises(ValueError, match="unknown sink 'wanbd'; did you mean 'wandb'"):
        check_sinks(("jsonl",), {"wanbd.project": "x"})
    with pytest.raises(ValueError, match=r"setting 'sinks\.wandb\.projects'; did you mean"):
        check_sinks(("wandb",), {"wandb.projects": "x"})
    assert WandbSettings().tags == ()
