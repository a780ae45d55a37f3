"""Which runs are found below a folder that a user names: not everything on the disk."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from tests.helpers.synthetic import write_run
from tests.helpers.tiny import RUN, refused
from waker.analysis.data import load_runs
from waker.cli import main
from waker.errors import UserError
from waker.storage.run_search import DEPTH, one_run, run_folders


def found(root: Path) -> list[list[Path]]:
    """What `waker evaluate` and what `waker compare` and `waker report` find."""
    return [run_folders([root]), [run.folder for run in load_runs([root])]]


def test_runs_are_searched_a_few_levels_deep_without_links_and_hidden_folders(tmp_path: Path) -> None:
    root = tmp_path / "root"
    run = write_run(root, "dr", 0)
    elsewhere = write_run(tmp_path / "elsewhere", "dr", 1)
    (root / "link").symlink_to(elsewhere.parent)
    (root / "run").symlink_to(elsewhere)
    shutil.copytree(run, root / ".hidden" / "run")
    shutil.copytree(run, run / "wandb" / "files")
    deep = root.joinpath(*"123456", "run")
    shutil.copytree(run, deep)
    assert len(deep.relative_to(root).parts) == DEPTH + 1
    assert found(root) == [[run], [run]]
    for search in (lambda: run_folders([root / "1"]), lambda: [r.folder for r in load_runs([root / "1"])]):
        assert search() == [deep]
    shutil.rmtree(run)
    for refuse in (lambda: run_folders([root]), lambda: load_runs([root])):
        with pytest.raises(UserError, match=f"at most {DEPTH} levels below it"):
            refuse()


def test_a_run_and_the_rows_kept_of_it_are_one(tmp_path: Path) -> None:
    """Though one alone of them is there, and wherever the study's folder lies."""
    runs = [write_run(tmp_path / "study", "dr", seed) for seed in (0, 1)]
    kept = [tmp_path / "study" / "rows" / run.relative_to(tmp_path / "study") for run in runs]
    for run, rows in zip(runs, kept, strict=True):
        shutil.copytree(run, rows)
    assert found(tmp_path) == [runs, runs]
    assert found(tmp_path / "study" / "rows") == [kept, kept]
    shutil.rmtree(runs[0])
    assert [sorted(some) for some in found(tmp_path)] == [sorted([kept[0], runs[1]])] * 2


def test_adapt_and_references_search_below_like_all_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    runs = [write_run(tmp_path / "runs", "dr", seed) for seed in (0, 1)]
    asked: list[Path] = []
    monkeypatch.setattr("waker.cli.verbs.adapt.chosen_tasks", lambda *asked: [])
    monkeypatch.setattr("waker.cli.verbs.adapt._adapted", lambda folder, tasks, args: asked.append(folder))
    assert main(["adapt", str(tmp_path / "runs")]) == 0
    assert asked == runs
    assert one_run(runs[0]) == runs[0]
    (tmp_path / "alone").mkdir()
    shutil.move(runs[1], tmp_path / "alone" / "seed-1")
    assert one_run(tmp_path / "alone") == tmp_path / "alone" / "seed-1"
    with pytest.raises(UserError, match="holds 2 runs, and one is wanted: alone"):
        one_run(tmp_path)
    (tmp_path / "empty").mkdir()
    assert "holds no run: expected config.yaml" in refused(["adapt", str(tmp_path / "empty")], capsys)


def test_a_link_that_is_named_is_a_folder_as_any_other(tmp_path: Path) -> None:
    run = write_run(tmp_path / "there", "dr", 0)
    (tmp_path / "link").symlink_to(tmp_path / "there")
    assert [path.resolve() for path in run_folders([tmp_path / "link"])] == [run]
    assert [data.folder for data in load_runs([tmp_path / "link"])] == [run]


def test_the_runs_below_are_listed_before_one_is_measured(
    finished: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in "ab":
        shutil.copytree(finished / RUN, tmp_path / name)
    assert main(["evaluate", str(tmp_path), "--episodes", "1", "--suite-episodes", "1", "--model-episodes", "1"]) == 0
    lines = [line for line in capsys.readouterr().out.splitlines() if line.startswith(str(tmp_path))]
    assert lines[:3] == [
        f"{tmp_path / 'a'}: run 1 of 2",
        f"{tmp_path / 'b'}: run 2 of 2",
        f"{tmp_path / 'a'}: evaluating …",
    ]


def test_nothing_below_is_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert "holds no run" in refused(["evaluate", str(tmp_path)], capsys)
