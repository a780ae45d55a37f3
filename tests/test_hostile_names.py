"""A family of hostile names goes through every verb: the right numbers, one place on disk, and nothing executed."""

from __future__ import annotations

import csv
import functools
import json
import re
from collections.abc import Iterator
from pathlib import Path

import gymnasium as gym
import numpy as np
import pytest

from tests.helpers.hostile_names import KEYS, SUITES, TASKS, THETAS, Hostile
from waker.analysis.numbers_file import read_numbers, read_shares
from waker.cli import main
from waker.collection.spec_of import spec_of
from waker.curriculum import registry as curricula
from waker.curriculum.labels import adapted_label
from waker.names import path_part, suite_name, task_name, theta_column
from waker.report import sections
from waker.storage.run_folder import FILM_FILE
from waker.storage.sealed import read_arrays, write_arrays
from waker.storage.tables import read_rows
from waker_envs import registry

SAMPLER = "../[/bold] $m$\n"
RUN = Path("hostile") / path_part(SAMPLER) / "plan2explore" / "seed-0"


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A finished run of the family in ``<somewhere>/deep/er/runs``."""
    before = dict(registry._registered)
    registry.register_family("hostile-names/Hostile-v0", Hostile)
    curricula.register_curriculum(SAMPLER)(functools.partial(curricula.make_curriculum, "dr"))
    folder = tmp_path_factory.mktemp("names") / "deep" / "er" / "runs"
    words = ["train", "--preset", "tiny", "--env", "hostile-names/Hostile-v0", "--runs", str(folder)]
    words += ["--sampler", SAMPLER, "--task-policies", "online"]
    assert main([*words, "--evaluation.episodes", "6", "--evaluation.suite-episodes", "2"]) == 0
    yield folder
    del gym.registry["hostile-names/Hostile-v0"], curricula.CURRICULA.registered[SAMPLER]
    registry._registered.clear()
    registry._registered.update(before)


def lines_are_printable(text: str) -> bool:
    return all(line.isprintable() for line in text.split("\n"))


def test_everything_lies_in_the_run_folder(runs: Path) -> None:
    top = runs.parents[1]
    assert [p.name for p in top.iterdir()] == ["er"]
    assert [p.name for p in runs.parent.iterdir()] == ["runs"]
    assert (runs / RUN / "config.yaml").is_file()


def test_the_replay_holds_every_key_as_observed(runs: Path) -> None:
    names = {key.label: key.name for key in spec_of(Hostile()).observation}
    for chunk in sorted((runs / RUN / "replay").glob("*.npz")):
        with np.load(chunk, allow_pickle=False) as archive:
            for k, key in enumerate(KEYS):
                entry = names[key] if names[key] in archive.files else key
                assert np.unique(archive[entry]).tolist() == [100.0 + k], key
            assert archive["action (waker)"].shape[-1] == 3
            assert set(np.unique(archive["theta_id (waker)"])) <= set(range(6))


def test_every_metric_is_there_once(runs: Path) -> None:
    rows = [json.loads(line) for line in (runs / RUN / "metrics.jsonl").read_text(encoding="utf-8").splitlines()]
    of_keys = {"reward (observation)_loss", "kl (observation)_loss", "training (observation)_loss", "theta_loss"}
    assert {"kl_loss", "model_loss", *of_keys} <= set(rows[-1])
    assert {f"reward_loss/{task_name(task)}" for task in TASKS} <= set(rows[-1])
    assert {"actor_loss/explorer", "actor_loss/explorer (task)"} <= set(rows[-1])


def test_rows_keep_theirs_apart_from_ours(runs: Path) -> None:
    episodes = read_rows(runs / RUN / "episodes.parquet")
    assert set(episodes["theta_id"]) <= set(range(6))
    assert {theta_column(name) for name in THETAS} <= set(episodes)
    assert set(episodes["theta_id (parameter)"]) <= {1.0, 2.0, 3.0}
    for k, task in enumerate(TASKS):
        assert set(episodes[f"return_{task_name(task)}"]) == {12.0 * (k + 1)}
    rows = read_rows(runs / RUN / "evaluation.parquet")
    assert set(rows["suite"]) == {"dr", *map(suite_name, SUITES)}
    for k, task in enumerate(TASKS):
        own = rows[rows["task"] == task_name(task)]
        ours, theirs = own[own["suite"] == "dr"], own[own["suite"] == "dr (suite)"]
        assert set(ours["return"]) == {12.0 * (k + 1)}
        assert set(theirs["return"]) == {120.0 * (k + 1)}
        assert set(ours["optimal_return"]) == {24.0 * (k + 1)}
        assert np.allclose(own["completion"], k / 100)


def test_adapt_and_evaluate_find_every_task_again(runs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for task in TASKS:
        assert main(["adapt", str(runs / RUN), "--updates", "1", f"--tasks={task}"]) == 0
    assert lines_are_printable(capsys.readouterr().out)
    folders = list((runs / RUN / "adapted").iterdir())
    assert len({folder.name.lower() for folder in folders}) == len(folders) == len(TASKS)
    test_everything_lies_in_the_run_folder(runs)
    assert main(["evaluate", str(runs / RUN)]) == 0
    assert lines_are_printable(capsys.readouterr().out)
    rows = read_rows(runs / RUN / "evaluation.parquet")
    for policy in ("learned", "adapted", "random"):
        assert set(rows[rows["policy"] == policy]["task"]) == set(map(task_name, TASKS))


def test_compare_shows_names_as_they_are(
    runs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "2000")
    target = tmp_path / "numbers.csv"
    assert main(["compare", str(runs), "--csv", str(target)]) == 0
    shown = capsys.readouterr().out
    assert lines_are_printable(shown)
    flat = re.sub(r"[│\s]+", "", shown)
    for name in (
        "[/bold][link=x]:smile:cost_$_per_$",
        r"line\nbreak",
        "alltasks",
        "returnondr(suite)",
        "returnon[/red]",
    ):
        assert name in flat, name
    with target.open(newline="", encoding="utf-8") as file:
        rows = {(row["task"], row["quantity"]): row for row in csv.DictReader(file)}
    assert {task for task, _ in rows} == {"all", *map(task_name, TASKS)}
    means = [12.0 * (k + 1) for k in range(len(TASKS))]
    for task, mean in zip(TASKS, means, strict=True):
        assert float(rows[task_name(task), "mean_return"]["mean"]) == mean
    assert float(rows["all", "mean_return"]["mean"]) == np.mean(means)
    assert rows["all", "mean_return"]["seeds"] == "1"


@pytest.mark.filterwarnings("error")
def test_the_report_draws_every_name(
    runs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sections, "_MOST_CURVES", 9)
    film = read_arrays(runs / RUN / FILM_FILE)
    less = {name: film[name][:, :, :12] for name in ("real", "imagined")}  # pictures of so many keys take a minute
    write_arrays(runs / RUN / FILM_FILE, film | less)
    assert main(["report", str(runs), "--out", str(tmp_path / "page.html")]) == 0
    page = (tmp_path / "page.html").read_text(encoding="utf-8")
    assert "<script>&amp;" not in page
    assert "&lt;script&gt;&amp;amp;" in page
    assert not set(page) & {"\x1b", "\0", "\r"}
    assert capsys.readouterr().out.count("\n") == 1


@pytest.mark.filterwarnings("error")
def test_the_page_of_a_study_draws_every_name(runs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """From the run folder, then again from the numbers alone: the same page."""
    pages = []
    for place in (str(runs), str(tmp_path / "first" / "page-numbers.csv")):
        pages.append(tmp_path / ("second" if pages else "first") / "page.html")
        assert main(["compare", place, "--page", str(pages[-1])]) == 0
    first, second = (page.read_text(encoding="utf-8") for page in pages)
    assert first == second
    assert "<script>&amp;" not in first
    assert "&lt;script&gt;&amp;amp;" in first
    assert not set(first) & {"\x1b", "\0", "\r"}
    assert lines_are_printable(capsys.readouterr().out)
    numbers = read_numbers(pages[0].with_name("page-numbers.csv"))
    assert set(numbers["task"]) == {"all", *map(task_name, TASKS)}
    assert set(numbers["sampler"]) - {adapted_label(SAMPLER)} == {SAMPLER}  # another test may have adapted it
    shares = read_shares(pages[0].with_name("page-shares.csv"))
    assert {theta_column(name) for name in THETAS[:2]} <= set(shares["parameter"])  # the others do not vary
