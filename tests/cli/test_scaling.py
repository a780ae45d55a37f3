"""``waker scaling``: from files and from run folders, to tables, files and a page."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml

from tests.helpers.rows import numbers
from tests.helpers.synthetic import write_run
from waker.analysis.numbers_file import write_table
from waker.analysis.scaling_curves import CURVES
from waker.analysis.scaling_law import Law
from waker.cli import main
from waker.cli.verbs.scaling import apart
from waker.config.presets import preset
from waker.config.saved import plain

QUICK = ["--resamples", "10", "--measures", "mean", "--axes", "step"]
STEPS = np.arange(1, 17) * 1000


def curves(path: Path, laws: dict[str, Law], seeds: int = 3, flop: bool = False) -> Path:
    """A file of planted curves with little noise."""
    rng = np.random.default_rng(0)
    rows = [
        ("d", sampler, "e", seed, step, step // 20, step * 1e9 if flop else np.nan, "mean", value, law.floor)
        for sampler, law in laws.items()
        for seed in range(seeds)
        for step, value in zip(STEPS, law.at(STEPS) + 0.005 * rng.standard_normal(len(STEPS)), strict=True)
    ]
    write_table(path, pd.DataFrame(rows, columns=list(CURVES)))
    return path


@pytest.fixture
def identified(tmp_path: Path) -> Path:
    """Two samplers, of which one is twice as fast."""
    law = Law(0.06, 0.8, 2.0, 3000.0)
    return curves(tmp_path / "curves.csv", {"dr": law, "waker-m": law._replace(mid=1500.0)}, flop=True)


def test_a_file_of_curves_has_tables_files_and_a_page(
    identified: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "300")
    out, page = tmp_path / "out" / "fitted.csv", tmp_path / "page.html"
    words = ["scaling", str(identified), *QUICK[:4], "--axes", "step", "flop", "--csv", str(out), "--page", str(page)]
    assert main(words) == 0
    told = capsys.readouterr().out
    assert "d, against agent steps" in told and "d, against FLOP" in told
    assert "efficiency" in told and "C_mid differ" in told
    fits = pd.read_csv(tmp_path / "out" / "fitted-fits.csv")
    assert fits["identified"].all() and len(fits) == 4
    assert fits["asymptote"].to_numpy() == pytest.approx(np.full(4, 0.8), abs=0.02)
    differences = pd.read_csv(tmp_path / "out" / "fitted-differences.csv")
    assert differences["mid"].to_numpy() == pytest.approx(np.full(2, 0.5), abs=0.05)
    forecasts = pd.read_csv(tmp_path / "out" / "fitted-forecasts.csv")
    assert (forecasts["fitted"] == 8).all() and (forecasts["error"] < 0.02).all()
    html = page.read_text()
    for part in ("step-fits", "step-forecasts", "step-differences", "flop-fits"):
        assert f'<section id="{part}"' in html
    assert html.count("<figure") == 6 and "Linearised" in html
    assert "The asymptote of 4 of 4 curves is identified; of 2 comparisons: 2 efficiency." in html
    again = tmp_path / "again.csv"
    assert main(["scaling", str(out), *QUICK, "--csv", str(again)]) == 0
    assert again.read_bytes() == out.read_bytes()


def test_what_is_not_identified_is_not_told(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "300")
    law = Law(0.06, 0.8, 2.0, 40_000.0)
    file, page = curves(tmp_path / "curves.csv", {"dr": law, "waker-m": law}), tmp_path / "page.html"
    assert main(["scaling", str(file), *QUICK, "--page", str(page)]) == 0
    told = capsys.readouterr().out
    assert told.count("not identified") == 3  # both curves, and why they are not compared
    assert "before 2" in told and "cannot tell" in told
    assert "0 of 2 curves is identified" in page.read_text()


def test_eighty_columns_have_every_reason_once_in_whole_lines(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    law = Law(0.06, 0.8, 2.0, 3000.0)
    file = curves(tmp_path / "curves.csv", {"dr": law, "waker-m": law, "waker-r": law})
    assert main(["scaling", str(file), *QUICK, "--after", "4000"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines.count("1: 12 points, fewer than 15") == 1
    assert lines.count("1: not identified: 12 points, fewer than 15") == 1
    assert "fewer" not in " ".join(line for line in lines if "│" in line or "┃" in line)


def test_reasons_are_numbered_as_they_come() -> None:
    heads, lines, reasons = apart(["sampler", "why"], [["a", "x; y"], ["b", ""], ["c", "y"]])
    assert heads == ["sampler", "why"] and lines == [["a", "1, 2"], ["b", ""], ["c", "2"]] and reasons == ["x", "y"]
    assert apart(["sampler"], [["a"]]) == (["sampler"], [["a"]], [])


def test_several_files_of_numbers_are_a_curve(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "300")
    files = []
    for step in (10_000, 20_000, 30_000, 40_000):
        share = 0.9 - 0.5 * (step / 10_000) ** -1.0
        table = numbers({"dr": {"all": [share, share + 0.01]}}, "planned_fraction_of_optimum")
        files.append(tmp_path / f"at-{step}-numbers.csv")
        write_table(files[-1], table.assign(run="r", step=str(step), commit="c"))
    assert main(["scaling", *map(str, files), *QUICK, "--floor", "0.06"]) == 0
    told = capsys.readouterr().out
    assert "4 × 2" in told and "4 points, fewer than 15" in told
    assert main(["scaling", *map(str, files), *QUICK]) == 0
    assert "tells no reward at zero compute" in capsys.readouterr().out


def test_run_folders_have_a_curve_of_each_measurement(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "300")
    for sampler in ("dr", "waker-m"):
        for seed in (0, 1):
            write_run(tmp_path, sampler, seed)
    assert main(["scaling", str(tmp_path), "--resamples", "5", "--axes", "step", "--floor", "0.05"]) == 0
    told = capsys.readouterr().out
    rows = pd.read_csv(tmp_path / "scaling.csv")
    assert set(rows["measure"]) == {"mean", "cvar", "worst"} and set(rows["floor"]) == {0.05}
    assert rows.groupby(["sampler", "seed", "measure"]).size().eq(rows["step"].nunique()).all()
    assert "gridhazards, against agent steps" in told


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["nowhere"], "nowhere does not exist"),
        (["curves.csv", "--floor", "1"], "--floor is a share of the optimum below 1"),
        (["curves.csv", "--resamples", "-1"], "--resamples must not be negative"),
        (["curves.csv", "--samplers", "plr"], "no curve of sampler 'plr'"),
        (["curves.csv", "curves.csv"], "two rows of d, dr, e, seed 0 at step 1000"),
        (["curves.csv", "--after", "99999"], "nothing to fit"),
        (["curves.csv", "--axes", "flop"], "nothing to fit"),
        (["text.csv"], "is no file of curves"),
        (["."], "run"),
        (["curves.csv", "--page", "."], "the page must be a file"),
    ],
)
def test_what_cannot_be_is_told_in_one_line(
    words: list[str], told: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    curves(tmp_path / "curves.csv", {"dr": Law(0.06, 0.8, 2.0, 3000.0)}, seeds=1)
    (tmp_path / "text.csv").write_text("a,b\n1,2\n")
    monkeypatch.chdir(tmp_path)
    options = QUICK if "--axes" not in words else QUICK[:4]
    assert main(["scaling", *words, *[o for o in options if not ("--resamples" in words and o in QUICK[:2])]]) == 2
    error = capsys.readouterr().err
    assert told in error and len(error.strip().splitlines()) == 1


def test_runs_that_nothing_tells_apart_are_refused_and_settings_tell(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name, batch in (("a", 4), ("b", 8)):
        run = write_run(tmp_path / name, "dr")
        saved = plain(preset("tiny").with_(env="GridHazards", sampler="dr", **{"train.batch": batch}))
        (run / "config.yaml").write_text(yaml.safe_dump({"config": saved}))
    assert main(["scaling", str(tmp_path), *QUICK]) == 2
    assert "their rows cannot be told apart; name only one of them, or the settings that differ by --by" in (
        capsys.readouterr().err
    )
    assert main(["scaling", str(tmp_path), *QUICK, "--by", "train.batch"]) == 0
    assert set(pd.read_csv(tmp_path / "scaling.csv")["sampler"]) == {"dr [batch=4]", "dr [batch=8]"}
