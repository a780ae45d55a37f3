"""The page: whole from complete rows, honest about missing ones, self-contained, the same each time."""

from __future__ import annotations

import html
import json
import re
import shutil
from pathlib import Path

import pandas as pd
import pytest
import yaml

from tests.helpers.synthetic import LINE, TERRAIN, write_run
from waker.analysis.data import load_run, load_runs, stack, theta_names
from waker.cli import main
from waker.errors import UserError
from waker.report.page import render, write_report
from waker.report.style import colours
from waker.storage.tables import read_rows, write_rows


@pytest.fixture(scope="module")
def grid(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("grid")
    for sampler, seed in (("dr", 0), ("waker-m", 0), ("waker-m", 1)):
        write_run(root, sampler, seed)
    return root


@pytest.fixture(scope="module")
def page(grid: Path) -> str:
    return write_report([grid], grid / "report" / "report.html").read_text()


def text_of(page: str) -> str:
    return " ".join(re.sub(r"<[^>]+>", " ", re.sub(r"data:[^\"]+", "", page)).split())


def test_a_full_page_has_every_section_and_figure(page: str) -> None:
    anchors = re.findall(r'<section id="([^"]+)"', page)
    assert anchors == ["summary", "curriculum", "returns", "model", "futures", "learning", "runs"]
    assert re.findall(r'<a href="#([^"]+)"', page) == anchors
    titles = re.findall(r"<h3>([^<]+)</h3>", page)
    for title in (
        "Sampling probability",
        "Estimated error",
        "True error",
        "Data",
        "Hard θ through training",
        "Return by suite",
        "Regret by θ",
        "Regret of the model alone, by θ",
        "Return by θ",
        "World-model error",
        "Does the estimate rank θ rightly?",
        "dr · seed 0",
        "waker-m · seed 0",
    ):
        assert title in titles
    assert page.count("<figure ") == page.count("<figcaption>") - 1 == page.count("<img ")  # and the table's caption
    assert "Not everything was measured" not in page


def test_it_needs_nothing_from_outside(page: str) -> None:
    assert "<script" not in page
    assert "<link" not in page
    sources = re.findall(r'(?:src|href)="([^"]*)"', page) + re.findall(r"url\(([^)]*)\)", page)
    assert sources
    assert all(s.startswith(("data:image/", "data:text/csv;", "#")) for s in sources)


def test_it_says_what_was_run(page: str) -> None:
    text = text_of(page)
    for word in ("gridhazards: dr against waker-m", "0, 1", "20,000", "2.13.0", "0123456789", "plan2explore"):
        assert word in text
    assert "curriculum.sampler = waker-m" in text  # what differs, in the table of runs
    assert "curriculum.dr_share: 0.2" in text  # what is common, once


@pytest.mark.usefixtures("undrawn")
def test_the_presets_are_told_where_runs_recorded_them(tmp_path: Path) -> None:
    assert "preset" not in text_of(render(load_runs([write_run(tmp_path / "none", "dr", 0)])))
    for seed, name in enumerate(("tiny", "laptop", "tiny")):
        file = write_run(tmp_path / "runs", "dr", seed) / "config.yaml"
        config = yaml.safe_load(file.read_text())
        file.write_text(yaml.safe_dump({**config, "config": {**config["config"], "preset": name}}))
    assert re.search(r"preset\s+tiny, laptop\s", text_of(render(load_runs([tmp_path / "runs"]))))


def test_the_table_gives_intervals_and_marks_no_leader_where_a_sampler_has_one_seed(page: str) -> None:
    row = re.search(r"<td[^>]*>worst-θ regret ↓</td>(.*?)</tr>", page)
    assert row is not None
    assert 'class=" best' not in page
    assert re.findall(r'<span class="range">(\[[^<]*\]†)<', row.group(1))  # over two seeds, few
    assert row.group(1).count('<span class="range">[') == 1  # dr has one
    assert "† fewer than 5 seeds" in text_of(page)
    one, two = re.findall(r'<span class="bracket">([^<]*)</span>', row.group(1))
    assert re.fullmatch(r"\S+ … \S+ \[.+\]", one)  # with the interval over the one run's episodes
    assert re.fullmatch(r"\S+ … \S+", two)


def test_the_same_rows_make_the_same_page(grid: Path, tmp_path: Path) -> None:
    for name in ("config.yaml", "metrics.jsonl", "curriculum.parquet"):
        source = grid / "gridhazards" / "dr" / "plan2explore" / "seed-0" / name
        (shutil.copytree if source.is_dir() else shutil.copy)(source, tmp_path / name)
    assert render(load_runs([tmp_path])) == render(load_runs([tmp_path]))


@pytest.mark.usefixtures("undrawn")
def test_runs_without_rows_still_have_a_page_with_notes(grid: Path, tmp_path: Path) -> None:
    source = grid / "gridhazards" / "dr" / "plan2explore" / "seed-0"
    folder = tmp_path / "gridhazards" / "dr" / "plan2explore" / "seed-0"
    folder.mkdir(parents=True)
    shutil.copy(source / "config.yaml", folder)
    bare = text_of(write_report([tmp_path], tmp_path / "bare.html").read_text())
    for note in (
        "No evaluation (run `waker evaluate`)",
        "No learning metrics",
        "No film strip",
        "No training episodes",
    ):
        assert f"{note}: dr · seed 0." in bare
    for name in ("curriculum.parquet", "episodes.parquet"):
        shutil.copytree(source / name, folder / name)
    partial = write_report([tmp_path], tmp_path / "partial.html").read_text()
    assert re.findall(r'<section id="([^"]+)"', partial) == ["curriculum", "runs"]
    assert "No training episodes" not in text_of(partial)


def test_the_summary_tells_the_model_s_part_from_the_actor_s(page: str) -> None:
    told = html.unescape(text_of(page))
    assert "mean regret: the model's part" in told
    assert "the actor makes up for errors of the model" in told


@pytest.mark.usefixtures("undrawn")
def test_a_run_that_was_planned_in_but_has_no_policies_yet_is_told(grid: Path, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    shutil.copytree(next(grid.glob("*/dr/*/seed-0")), folder)
    rows = read_rows(folder / "evaluation.parquet")
    shutil.rmtree(folder / "evaluation.parquet")
    write_rows(folder / "evaluation.parquet", rows[rows["policy"] == "planned"].to_dict("records"))
    assert "no task policies (run `waker adapt`), only plans in the model" in load_run(folder).notes
    shown = write_report([folder], tmp_path / "report.html").read_text()
    titles = re.findall(r"<h3>([^<]+)</h3>", shown)
    assert "Regret of the model alone, by θ" in titles
    assert "Return by suite" not in titles
    assert main(["compare", str(folder)]) == 0


def test_one_parameter_two_parameters_and_several_domains(tmp_path: Path) -> None:
    write_run(tmp_path, "dr", 0, LINE, domain="line", exact=False)
    terrain = write_run(tmp_path, "waker-m", 0, TERRAIN, domain="terrain", exact=False, steps=4000)
    for name in ("metrics.jsonl", "filmstrip.npz"):
        (terrain / name).unlink()
    html = write_report([tmp_path], tmp_path / "r.html").read_text()
    anchors = re.findall(r'<section id="([^"]+)"', html)
    assert {"line-curriculum", "terrain-curriculum", "line-model", "terrain-model", "runs"} <= set(anchors)
    text = text_of(html)
    assert "line and terrain" in text
    assert "Regret" not in text  # no optimum was given


@pytest.mark.usefixtures("undrawn")
def test_a_run_s_steps_are_its_own_and_not_those_of_its_last_log(tmp_path: Path) -> None:
    for seed in (0, 1):
        metrics = write_run(tmp_path, "dr", seed, LINE) / "metrics.jsonl"
        lines = metrics.read_text().splitlines(keepends=True)
        metrics.write_text("".join(lines[: -8 * (seed + 1)]))
    text = text_of(render(load_runs([tmp_path])))
    assert re.search(r"agent steps\s+20,000\s", text)
    assert "to 18,000" not in text


def test_names_are_escaped(grid: Path, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    folder.mkdir()
    row = {"domain": "d", "sampler": "<script>x</script>", "explorer": "e", "seed": 0, "step": 1, "loss": 1.0}
    (folder / "metrics.jsonl").write_text(json.dumps(row) + "\n")
    html = write_report([folder], tmp_path / "r.html").read_text()
    assert "<script>x" not in html
    assert "&lt;script&gt;x" in html


def test_a_torn_last_line_is_left_out_and_a_torn_middle_is_told(tmp_path: Path) -> None:
    (tmp_path / "metrics.jsonl").write_text('{"step": 1, "loss": 2.0}\n{"step": 2, "lo')
    assert load_run(tmp_path).metrics["step"].tolist() == [1]
    (tmp_path / "metrics.jsonl").write_text('{"step": 1\n{"step": 2}\n')
    with pytest.raises(UserError, match="line 1 is not JSON"):
        load_run(tmp_path)


def test_identity_comes_from_the_folder_when_nothing_else_tells(tmp_path: Path) -> None:
    folder = tmp_path / "grid" / "dr" / "random" / "seed-7"
    folder.mkdir(parents=True)
    (folder / "metrics.jsonl").write_text('{"step": 1}\n')
    run = load_run(folder)
    assert (run.domain, run.sampler, run.explorer, run.seed) == ("grid", "dr", "random", 7)


def test_unknown_folders_are_told_with_what_is_there(grid: Path) -> None:
    with pytest.raises(UserError, match=r"no folder .*gridhazard; .* holds gridhazards"):
        load_runs([grid / "gridhazard"])
    (grid / "empty").mkdir()
    with pytest.raises(UserError, match="holds no run"):
        load_runs([grid / "empty"])


def test_a_page_that_cannot_be_written_is_one_line(grid: Path) -> None:
    (grid / "file").write_text("")
    one = grid / "gridhazards" / "dr" / "plan2explore" / "seed-0"
    stripped = grid / "bare"
    stripped.mkdir()
    shutil.copy(one / "config.yaml", stripped)
    with pytest.raises(UserError, match="cannot write"):
        write_report([stripped], grid / "file" / "r.html")


def test_stacking_names_groups_by_explorer_only_where_runs_differ(grid: Path, tmp_path: Path) -> None:
    runs = load_runs([grid / "gridhazards"])
    assert set(stack(runs, "evaluation")["group"]) == {"dr", "waker-m"}
    assert theta_names(stack(runs, "evaluation")) == ["size", "hazards", "slip"]
    other = write_run(tmp_path, "dr", 0)
    moved = other.parent.parent / "random" / "seed-0"
    moved.parent.mkdir()
    other.rename(moved)
    for name in ("curriculum", "evaluation", "model_error", "episodes"):
        shutil.rmtree(moved / f"{name}.parquet")
    config = (moved / "config.yaml").read_text().replace("plan2explore", "random")
    (moved / "config.yaml").write_text(config)
    assert set(stack([*runs, load_run(moved)], "metrics")["group"]) == {
        "dr (plan2explore)",
        "waker-m (plan2explore)",
        "dr (random)",
    }


@pytest.mark.usefixtures("undrawn")
def test_a_sampler_of_another_credit_is_called_so_everywhere(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """In the page, the printed table and the file of numbers; the published one beside it keeps its name."""
    write_run(tmp_path / "a", "dr")
    write_run(tmp_path / "a", "waker-m", credit="replayed")
    write_run(tmp_path / "b", "waker-m")
    variant = "waker-m (replayed credit)"
    text = text_of(write_report([tmp_path / "a"], tmp_path / "report.html").read_text())
    assert variant in text
    found = re.findall(r"(.{12})waker-m(?! \(replayed credit\))", text)
    assert {before[-10:] for before in found} <= {"sampler = ", " sampler: "}  # the settings, as they are
    both = load_runs([tmp_path / "a", tmp_path / "b"])
    assert [run.sampler for run in both] == ["dr", "waker-m", variant]
    assert len(set(colours(run.sampler for run in both).values())) == 3
    assert colours([variant]) == {variant: colours(["waker-m"])["waker-m"]}

    assert main(["compare", str(tmp_path / "a"), "--samplers", "waker-m", "dr", "--baseline", "waker-m"]) == 0
    printed = " ".join(capsys.readouterr().out.split())
    assert "replayed" in printed
    numbers = pd.read_csv(tmp_path / "a" / "comparison.csv")
    assert set(numbers["sampler"]) == {"dr", variant}
    assert main(["compare", str(tmp_path / "a"), str(tmp_path / "b"), "--samplers", "waker-m"]) == 0
    assert set(pd.read_csv(tmp_path / "a" / "comparison.csv")["sampler"]) == {"waker-m"}


def test_two_variants_as_a_baseline_must_be_told_apart(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for place, steps in (("a", 2), ("b", 5)):
        run = write_run(tmp_path / place, "waker-m")
        record = yaml.safe_load((run / "config.yaml").read_text())
        record["config"]["explorer"]["credit_steps"] = steps
        (run / "config.yaml").write_text(yaml.safe_dump(record))
    assert main(["compare", str(tmp_path), "--baseline", "waker-m"]) == 2
    assert "'waker-m (credit of 2 steps)' or 'waker-m (credit of 5 steps)': name one" in capsys.readouterr().err


def test_a_run_without_settings_does_not_pass_for_the_published_credit_in_silence(tmp_path: Path) -> None:
    run = write_run(tmp_path, "waker-m")
    (run / "config.yaml").unlink()
    assert any("whether the published credit" in note for note in load_run(run).notes)
