"""``waker compare`` of a study: pairs, tables that fit, and the same page from run folders and from their numbers."""

from __future__ import annotations

import os
import re
from pathlib import Path
from urllib.parse import unquote, unquote_to_bytes

import pandas as pd
import pytest

from tests.helpers.synthetic import write_run
from waker.analysis.numbers_file import read_numbers, write_table
from waker.cli import main
from waker.storage.tables import read_rows, write_rows

SAMPLERS = ("dr", "waker-m", "waker-r")


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three samplers, seeds 3, 4 and 5, and one more seed of the baseline."""
    folder = tmp_path_factory.mktemp("study") / "runs"
    for sampler in SAMPLERS:
        for seed in (3, 4, 5):
            write_run(folder, sampler, seed, credit="replayed")
    write_run(folder, "dr", 8)
    return folder


@pytest.fixture(scope="module")
def numbers(page: Path) -> str:
    """The file of the study's numbers."""
    return str(page.with_name("my study-numbers.csv"))


@pytest.fixture(scope="module")
def page(runs: Path) -> Path:
    """The study's page, made from the run folders."""
    path = runs.parent / "pages" / "my study.html"
    assert main(["compare", str(runs), "--page", str(path)]) == 0
    return path


def with_planned(numbers: pd.DataFrame) -> pd.DataFrame:
    """The numbers with a planned policy that has a quarter of the regret, and a quantity that nobody knows."""
    regret = numbers[numbers["quantity"] == "mean_regret"]
    planned = regret.assign(quantity="planned_mean_regret", value=regret["value"] / 4)
    lost = regret.assign(quantity="actor_regret", value=regret["value"] * 3 / 4)
    without = numbers[~numbers["quantity"].str.startswith(("planned_", "actor_"))]
    return pd.concat([without, planned, lost, regret.assign(quantity="measure_of_ones_own")])


def section(html: str, name: str) -> str:
    """A section's text, without tags."""
    part = html[html.index(f'<section id="{name}"') :]
    return " ".join(re.sub(r"<[^>]+>", " ", part[: part.index("</section>")]).split())


def test_three_samplers_fit_eighty_columns(
    numbers: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    assert main(["compare", numbers, "--csv", str(tmp_path / "numbers.csv")]) == 0
    shown = capsys.readouterr().out
    table = [line for line in shown.splitlines() if line[:1] in "┃│"]
    assert max(map(len, table)) <= 80
    heads = [line for line in table if "dr" in line and line.startswith("┃")]
    assert "waker-m" in shown and len(heads) == 1  # one table holds all three
    intervals = re.findall(r"\[[+-]?\d+\.", shown)
    assert len(re.findall(r"\[[+-]?[\d.]+, [+-]?[\d.]+\]", shown)) == len(intervals) > 30  # none is broken


def test_more_samplers_than_fit_are_shared_out(
    numbers: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "60")
    assert main(["compare", numbers, "--csv", str(tmp_path / "numbers.csv")]) == 0
    narrow = capsys.readouterr().out
    assert max(len(line) for line in narrow.splitlines() if line[:1] in "┃│") <= 60
    assert narrow.count("┃ all tasks") + narrow.count("│ all tasks") == 2
    monkeypatch.setenv("COLUMNS", "200")
    assert main(["compare", numbers, "--csv", str(tmp_path / "numbers.csv")]) == 0
    assert re.search(r"mean return +│ +[\d.]+ \[[\d.]+, [\d.]+\]", capsys.readouterr().out)  # in one line


def test_pairs_are_of_one_seed_and_the_others_are_told(page: Path, numbers: str) -> None:
    pairs = pd.read_csv(page.with_name("my study-pairs.csv"))
    assert set(pairs["seed"]) == {3, 4, 5}
    rows = read_numbers(Path(numbers))
    of_seed = rows[rows["seed"] == 4].set_index(["sampler", "task", "quantity"])["value"]
    one = pairs[(pairs["sampler"] != "waker-r (replayed credit)") & (pairs["seed"] == 4)]
    one = one.set_index(["task", "quantity"]).loc[("all", "worst_regret")]
    ours, theirs = (of_seed[name, "all", "worst_regret"] for name in ("waker-m (replayed credit)", "dr"))
    assert one["difference"] == pytest.approx(ours - theirs)
    tests = pd.read_csv(page.with_name("my study-paired.csv"))
    assert set(tests["pairs"]) == {3} and set(tests["seeds"]) == {"3 4 5"}
    told = "no pairs of waker-m (replayed credit) and dr, left out of differences: dr seed 8"
    assert told in section(page.read_text(), "summary")


def test_every_number_is_traced_to_its_runs(page: Path) -> None:
    html = page.read_text()
    for name in ("summary", "differences", "distributions", "sampling"):
        text = section(html, name)
        assert "10 runs (dr seeds 3–5, 8, waker-m (replayed credit) seeds 3–5" in text, name
        assert "at step 20,000, commit 0123456789" in text, name
    table = section(html, "runs")
    assert "gridhazards/waker-r/plan2explore/seed-4 4 20,000 0123456789" in table
    links = set(re.findall(r'href="\./([^"]+)"', html))
    assert {"my%20study-comparison.csv", "my%20study-paired.csv", "my%20study-sampling.csv"} <= links
    assert all(page.with_name(unquote(link)).is_file() for link in links)
    assert not re.search(r'(src|href)="(https?:)?//', html)  # needs no network


def test_the_page_is_made_again_from_the_numbers_alone(page: Path, tmp_path: Path) -> None:
    for what in ("numbers", "shares", "notes"):
        (tmp_path / f"kept-{what}.csv").write_bytes(page.with_name(f"my study-{what}.csv").read_bytes())
    again = tmp_path / "again" / "my study.html"
    assert main(["compare", str(tmp_path / "kept-numbers.csv"), "--page", str(again)]) == 0
    assert again.read_bytes() == page.read_bytes()
    for file in page.parent.iterdir():
        assert (again.parent / file.name).read_bytes() == file.read_bytes(), file.name


def test_a_file_of_numbers_has_the_tables_of_its_runs(
    numbers: str, runs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    target = ["--csv", str(tmp_path / "numbers.csv")]
    assert main(["compare", str(runs), *target]) == 0
    of_runs, rows = capsys.readouterr().out, (tmp_path / "numbers.csv").read_bytes()
    assert main(["compare", numbers, *target]) == 0
    assert capsys.readouterr().out == of_runs
    assert (tmp_path / "numbers.csv").read_bytes() == rows


def test_samplers_and_seeds_of_a_file_may_be_chosen(
    numbers: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    chosen = tmp_path / "chosen.csv"
    assert main(["compare", numbers, "--samplers", "waker-m", "--seeds", "3", "5", "--csv", str(chosen)]) == 0
    assert set(pd.read_csv(chosen)["sampler"]) == {"waker-m (replayed credit)"}
    assert set(pd.read_csv(chosen)["seeds"]) == {2}
    for wrong, told in (
        (["--samplers", "waker-x"], "did you mean"),
        (["--seeds", "77"], "no run with seed 77; there are 3, 4, 5, 8"),
        (["--samplers", "waker-m", "--seeds", "8"], "no run has both"),
        (["--baseline", "waker-x"], "unknown baseline"),
        (["--quantities", "worst_regrets"], "did you mean 'worst_regret'"),
        (["--at", "10000"], "--at needs the run folders"),
        ([numbers], "two of these places have numbers of gridhazards"),
    ):
        assert main(["compare", numbers, *wrong]) == 2
        assert told in capsys.readouterr().err


@pytest.mark.usefixtures("undrawn")
def test_a_primary_quantity_has_a_family_of_its_own(page: Path, numbers: str, tmp_path: Path) -> None:
    out = tmp_path / "primary.html"
    assert main(["compare", numbers, "--quantities", "worst_regret", "--page", str(out)]) == 0
    primary = pd.read_csv(tmp_path / "primary-paired.csv").set_index(["task", "sampler"])
    assert set(primary["quantity"]) == {"worst_regret"} and set(primary["tests"]) == {2}
    everything = pd.read_csv(page.with_name("my study-paired.csv"))
    everything = everything[everything["quantity"] == "worst_regret"].set_index(["task", "sampler"])
    assert primary["p_t"].to_dict() == everything["p_t"].to_dict()
    assert (primary["p_t_holm"] <= everything["p_t_holm"]).all()
    assert "the 2 tests of this table" in section(out.read_text(), "differences")


@pytest.mark.usefixtures("undrawn")
def test_regret_is_told_as_the_models_and_the_actors_part(page: Path, numbers: str, tmp_path: Path) -> None:
    assert 'id="parts"' in page.read_text()  # run folders that have rows of plans
    planned, out = tmp_path / "planned-numbers.csv", tmp_path / "planned.html"
    write_table(planned, with_planned(read_numbers(Path(numbers))))
    assert main(["compare", str(planned), "--quantities", "planned_mean_regret", "--page", str(out)]) == 0
    parts = pd.read_csv(tmp_path / "planned-parts.csv").set_index(["sampler", "task", "part"])["mean"]
    for sampler in ("dr", "waker-m (replayed credit)"):
        whole = parts[sampler, "all", "regret"]
        assert parts[sampler, "all", "the model's part"] == pytest.approx(whole / 4)
        assert parts[sampler, "all", "the actor's part"] == pytest.approx(3 * whole / 4)
    html = out.read_text()
    assert "the actor's part" in section(html, "parts").replace("&#39;", "'")
    assert "measure of ones own" in section(html, "summary")  # a quantity that has no heading


@pytest.mark.usefixtures("undrawn")
def test_explorers_are_a_baseline_too(tmp_path: Path) -> None:
    for seed in (3, 4):
        for explorer in ("plan2explore", "random"):
            run = write_run(tmp_path / explorer, "dr", seed)
            for table in ("evaluation", "model_error", "curriculum", "episodes"):
                rows = read_rows(run / f"{table}.parquet").assign(explorer=explorer)
                write_rows(run / f"{table}.parquet", rows.to_dict("records"))
    out = tmp_path / "page.html"
    assert main(["compare", str(tmp_path), "--baseline", "random", "--page", str(out)]) == 0
    tests = pd.read_csv(tmp_path / "page-paired.csv")
    assert set(tests["explorer"]) == {"plan2explore"} and set(tests["sampler"]) == {"dr"}
    assert tests["difference"].abs().max() == 0  # the same rows
    assert "explorers against random" in out.read_text()


@pytest.mark.usefixtures("undrawn")
def test_several_domains_have_sections_of_their_own(numbers: str, tmp_path: Path) -> None:
    rows, two, out = read_numbers(Path(numbers)), tmp_path / "two-numbers.csv", tmp_path / "two.html"
    write_table(two, pd.concat([rows, rows.assign(domain="<b>other</b>")]))
    words = ["compare", str(two), "--samplers", "dr", "waker-m", "--quantities", "mean_return"]
    assert main([*words, "--page", str(out)]) == 0
    html = out.read_text()
    assert '<section id="gridhazards-summary"' in html
    assert "&lt;b&gt;other&lt;/b&gt;: paired differences" in html and "<b>other</b>" not in html
    assert 'id="gridhazards-sampling"' not in html  # there is no file of shares


@pytest.mark.usefixtures("undrawn")
def test_what_cannot_be_written_is_told(numbers: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "file").write_text("")
    assert main(["compare", numbers, "--page", str(tmp_path / "file" / "study.html")]) == 1
    assert "cannot save the page" in capsys.readouterr().err
    for folder in (str(tmp_path), ".", ".."):
        assert main(["compare", numbers, "--csv", str(tmp_path / "c.csv"), "--page", folder]) == 2
        assert "the page must be a file" in capsys.readouterr().err


@pytest.mark.usefixtures("undrawn")
def test_a_page_may_have_any_name(numbers: str, tmp_path: Path) -> None:
    out = tmp_path / "caf\udce9 <b>#1?.html"
    assert main(["compare", numbers, "--quantities", "mean_return", "--page", str(out)]) == 0
    html = out.read_text(encoding="utf-8")
    assert "<b>#1?" not in html
    links = set(re.findall(r'href="\./([^"]+)"', html))
    assert "caf%E9%20%3Cb%3E%231%3F-paired.csv" in links
    assert all((tmp_path / os.fsdecode(unquote_to_bytes(link))).is_file() for link in links)


@pytest.mark.usefixtures("undrawn")
def test_of_one_seed_neither_the_terminal_nor_the_page_tells_of_tests(
    numbers: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "300")
    out = tmp_path / "one.html"
    assert main(["compare", numbers, "--seeds", "4", "--page", str(out)]) == 0
    told = " ".join(capsys.readouterr().out.split())
    assert "difference from dr in 1 pair of the same seed; no test: one seed" in told
    for wrong in ("p of t", "p of flips", "detectable", "Holm", "1 pairs"):
        assert wrong not in told
    shown = section(out.read_text(), "differences")
    assert "no test: one seed" in shown and "Nothing is tested: one seed" in shown
    assert "Holm" not in shown.partition("All tests")[0]
    assert "This family has 0 tests" in shown


@pytest.mark.usefixtures("undrawn")
def test_variants_in_folders_of_their_own_are_told_apart_on_the_page(tmp_path: Path) -> None:
    for above, credit in (("c0.1", "imagined"), ("c3", "replayed")):
        for sampler in ("dr", "waker-m") if above == "c3" else ("waker-m",):
            write_run(tmp_path / "runs" / above, sampler, 1, credit=credit)
    out = tmp_path / "study.html"
    assert main(["compare", str(tmp_path / "runs"), "--page", str(out)]) == 0
    runs = section(out.read_text(), "runs")
    assert "c0.1/gridhazards/waker-m/plan2explore/seed-1" in runs
    assert "c3/gridhazards/waker-m/plan2explore/seed-1" in runs
    assert str(tmp_path) not in runs
