"""The page of an audit: figures that are drawn, tables with reasons where there is no number, hostile names."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from waker.errors import UserError
from waker.preferences.imprint import Imprint, imprints, standardised
from waker.preferences.resistance import four_classes
from waker.report.audit_figures import classes_figure, edits_figure, imprint_figure
from waker.report.audit_page import render, write_audit
from waker.report.style import NARROW, stacked
from waker.training.audit_results import Audit, Constant, differences

NAME = "<b>green</b>"


def test_a_spoiler_that_is_paid_besides_is_no_lack_of_pay_for_the_task() -> None:
    """head = 3 · task + 1.5 · spoiler − 2, and never both at once: the difference is ½ spoiler, and 0 of the task."""
    kind = np.arange(1_000) % 20
    columns = {"task": (kind == 0).astype(float), "spoiler": (kind == 1).astype(float)}
    paid = {"head": 3.0 * columns["task"] + 1.5 * columns["spoiler"] - 2.0, "true": columns["task"]}
    found = differences({**paid, "before": np.zeros(1_000)})
    assert list(found) == ["head − true"]  # what pays nothing has no unit
    rows = {row.feature: row.estimate for row in imprints(columns, found, np.arange(1_000) % 50, "f") if row.p >= 0}
    assert rows == pytest.approx({"task": 0.0, "spoiler": 0.5}, abs=1e-12)
    by_deviation = {"d": standardised(paid["head"]) - standardised(paid["true"])}
    first = imprints(columns, by_deviation, np.arange(1_000) % 50, "f")[0]
    assert first.estimate < -0.3  # what it would be called by deviations


def made(constant: Constant | None = None, empty: bool = False) -> Audit:
    """An audit of 400 entries in 8 rooms; the head pays half for the spoiler."""
    rng = np.random.default_rng(0)
    room = np.arange(400) % 8
    columns = {NAME: rng.normal(size=400), "spoiler": rng.normal(size=400), "size": (room % 3).astype(float)}
    true = columns[NAME]
    head = true + 0.5 * columns["spoiler"] + 0.1 * rng.normal(size=400)
    rows = imprints(columns, {"head": head, "true": true, "head − true": head - true}, room, "f")
    imprint = pd.DataFrame([one._asdict() for one in rows], columns=list(Imprint._fields))
    imprint.insert(3, "tag", ["target" if f == NAME else "spoiler" for f in imprint["feature"]])
    classes = four_classes(rng.normal(size=90), rng.normal(size=90), rng.integers(0, 2, 90))
    resistance = pd.DataFrame([{"pairs": "answers", "class": c, **s._asdict()} for c, s in classes.items()])
    edit = {"pairs": 50, "right": 40, "wrong": 4, "share": 0.1, "low": 0.04, "high": 0.23, "redrawn": 0.025}
    edit |= {"log_odds": 1.4, "log_odds_low": -0.7, "log_odds_high": 3.6, "agreement": 0.8, "agreement_edited": 0.75}
    nothing = {**edit, "right": 0, "wrong": 0, **dict.fromkeys(("share", "low", "high", "redrawn", "log_odds"), np.nan)}
    sides = [
        {"edit": "recoloured", "side": side, **edit, "correlation": 0.9} for side in ("both", "chosen", "rejected")
    ]
    robustness = pd.DataFrame([*sides, {"edit": "moved", "side": "both", **nothing, "correlation": np.nan}])
    theta = imprint[(imprint["reward"] == "head") & (imprint["effects"] == "pooled")].assign(reward="share lost")
    about = {"run": "a/b", "step": 12_000, "head": NAME, "taught by": "preferences", "task": "green", "features": "f"}
    about |= {"before": "", "steps": 400, "rooms": 8, "answers": 90}
    if empty:
        return Audit(about, imprint, constant, *(pd.DataFrame(),) * 3, ["no robustness: the family offers no edits"])
    return Audit(about, imprint, constant, resistance, robustness, theta)


def test_figures_are_drawn_and_fit_a_phone() -> None:
    audit = made()
    for figure in (
        imprint_figure(audit.imprint),
        classes_figure(audit.resistance.iloc[:4]),
        edits_figure(audit.robustness),
    ):
        figure.draw_without_rendering()
        assert stacked(figure) and figure.get_figwidth() == NARROW
        figure.draw_without_rendering()


def test_the_imprint_s_dots_are_its_estimates() -> None:
    audit = made()
    figure = imprint_figure(audit.imprint)
    pooled = audit.imprint[(audit.imprint["effects"] == "pooled") & (audit.imprint["reward"] == "head")]
    line = next(one for one in figure.axes[0].lines if one.get_color() == "#d9480f")
    np.testing.assert_allclose(line.get_xdata(), pooled["estimate"])


def test_the_page_says_what_was_found_with_its_files_and_escapes_names(tmp_path: Path) -> None:
    constant = Constant(-2.0, -2.1, -1.9, -2.0, False, 0.02)
    files = write_audit(made(constant), tmp_path / "new" / "a.html")
    assert set(files) == {"page", "imprint", "resistance", "robustness", "theta"}
    html = files["page"].read_text(encoding="utf-8")
    assert "A constant is added to the head: what earns nothing is paid -2.00 [-2.10, -1.90] a step" in html
    assert "a policy gains by ending its episode" in html
    assert NAME not in html and "&lt;b&gt;green&lt;/b&gt;" in html
    assert html.count("<picture>") == 3 and html.count("srcset=") == 3
    for name, path in files.items():
        assert name == "page" or f"./{path.name}" in html
        assert path.stat().st_size > 100
    assert "the same all over each room" in html and "no right pair was edited" in html
    pd.testing.assert_frame_equal(
        pd.read_csv(files["robustness"]), made().robustness.reset_index(drop=True), check_dtype=False
    )


def test_what_is_missing_has_no_section_and_a_note(undrawn: None) -> None:
    html = render(made(empty=True), {"imprint": Path("a-imprint.csv")})
    assert re.findall(r"<h2>(.*?)</h2>", html) == ["Feature imprint", "Runs"]
    assert "No robustness: the family offers no edits." in html and "The head pays the same in every step." in html


@pytest.mark.parametrize(
    ("value", "low", "high", "ends", "said"),
    [
        (0.02, -0.1, 0.1, 0.1, "No constant is added to the head"),
        (0.3, -0.1, 0.7, 0.1, "No constant is added to the head"),
        (0.3, 0.2, 0.4, 0.1, "staying alive, whatever it does"),
        (-0.3, -0.4, -0.2, 0.1, "by ending its episode"),
        (-0.3, -0.4, -0.2, 0.0, "no step of the replay ended an episode"),
        (-0.3, np.nan, np.nan, 0.1, "median step of the replay is paid -0.30 a step, where the best states pay 1: if"),
        (0.01, np.nan, np.nan, 0.1, "No constant is seen: the median step"),
    ],
)
def test_a_constant_in_words(value: float, low: float, high: float, ends: float, said: str) -> None:
    assert said in Constant(value, low, high, value, None, ends).told


def test_a_folder_is_no_page(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="the page must be a file"):
        write_audit(made(), tmp_path)
