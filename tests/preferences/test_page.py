"""The page on which people answer: its pictures, that it needs nothing else, and in a browser its keys and its CSV."""

from __future__ import annotations

import base64
import html
import io
import json
import re
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from tests.helpers.asked import answered, asked, written
from waker.preferences import table
from waker.preferences.page import Strip, film_strip, png, write_page

BROWSER = shutil.which("chromium") or shutil.which("chromium-browser")


def strips(n: int) -> list[tuple[Strip, Strip]]:
    frames = np.random.default_rng(0).integers(0, 256, (n, 2, 3, 5, 4, 3)).astype(np.uint8)
    return [(Strip(first, False), Strip(second, True)) for first, second in frames]


def page_of(folder: Path, frame: pd.DataFrame, title: str = "Which?") -> Path:
    path = folder / "page.html"
    write_page(path, frame, strips(len(frame)), title, "q-answers.csv")
    return path


def test_a_png_is_what_it_was_made_of() -> None:
    picture = np.random.default_rng(1).integers(0, 256, (7, 9, 3)).astype(np.uint8)
    np.testing.assert_array_equal(np.asarray(Image.open(io.BytesIO(png(picture)))), picture)


def test_a_strip_has_its_frames_side_by_side() -> None:
    frames = np.arange(2 * 3 * 4 * 3, dtype=np.uint8).reshape(2, 3, 4, 3)
    strip = film_strip(frames)
    assert strip.shape == (3, 4 + 6 + 4, 3)
    np.testing.assert_array_equal(strip[:, :4], frames[0])
    np.testing.assert_array_equal(strip[:, 10:], frames[1])
    assert (strip[:, 4:10] == 255).all()


def test_it_needs_nothing_else_and_tells_no_truth(tmp_path: Path) -> None:
    frame = answered(4)
    text = page_of(tmp_path, frame, "<b>&").read_text()
    assert not re.search(r"(src|href)=[\"']?(https?:|/)", text) and "@import" not in text
    assert "&lt;b&gt;&amp;" in text and text.count("</script>") == 2
    data = json.loads(text.split('type="application/json">')[1].split("</script>")[0])
    assert data["columns"] == list(table.COLUMNS) and len(data["queries"]) == 4
    for number, query in enumerate(data["queries"]):
        row = dict(zip(data["columns"], query["row"], strict=True))
        assert row["score_1"] is None and row["score_2"] is None
        assert row["replay_sha"] == frame["replay_sha"][number] and row["tick_2"] == frame["tick_2"][number]
        assert [strip["ended"] for strip in query["strips"]] == [False, True]
        picture = base64.b64decode(query["strips"][0]["image"].removeprefix("data:image/png;base64,"))
        shown = np.asarray(Image.open(io.BytesIO(picture)))
        np.testing.assert_array_equal(shown, film_strip(strips(4)[number][0].frames))


def test_names_cannot_leave_the_data(tmp_path: Path) -> None:
    frame = asked(2).assign(rule="</script><script>alert(1)</script>")
    assert page_of(tmp_path, frame).read_text().count("</script>") == 2


def test_every_key_that_is_told_is_there(tmp_path: Path) -> None:
    text = page_of(tmp_path, asked(2)).read_text()
    told = re.findall(r"<kbd>(.*?)</kbd>", text)
    assert told == ["←", "→", "t", "space", "backspace", "n"]
    for key in ("ArrowLeft", "ArrowRight", "t:", '" "', "Backspace", "n:"):
        assert key in text
    assert sorted(re.findall(r'<button[^>]*data-answer="(.*?)"', text)) == ["0", "0.5", "1", "skip"]


def in_browser(page: Path, script: str, folder: Path) -> str:
    """What a script that is run on the page leaves in an element ``found``."""
    tried = folder / "tried.html"
    ending = f"<script>{script}</script></body>"
    tried.write_text(page.read_text().replace("</body>", ending))
    browser = [str(BROWSER), "--headless", "--no-sandbox", "--disable-gpu", f"--user-data-dir={folder / 'profile'}"]
    shown = subprocess.run(
        [*browser, "--virtual-time-budget=2000", "--dump-dom", tried.as_uri()],
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    ).stdout
    return html.unescape(shown.split('<pre id="found">')[1].split("</pre>")[0])


LEAVE = """
const found = document.createElement("pre"); found.id = "found"; document.body.append(found);
const press = key => document.dispatchEvent(new KeyboardEvent("keydown", {key, cancelable: true}));
"""


@pytest.mark.slow
@pytest.mark.skipif(BROWSER is None, reason="no chromium")
def test_a_person_answers_by_keys_and_clicks(tmp_path: Path) -> None:
    frame = asked(7)
    script = (
        LEAVE
        + """
        press("ArrowLeft"); press("ArrowRight"); press("t"); press(" ");
        document.querySelector('button[data-answer="0.5"]').click();
        document.getElementById("second").click();
        press("Backspace"); press("ArrowLeft");
        found.textContent = answersCsv();
    """
    )
    (tmp_path / "a.csv").write_text(in_browser(page_of(tmp_path, frame), script, tmp_path))
    answers = table.read(tmp_path / "a.csv")
    np.testing.assert_array_equal(answers["label"], [1.0, 0.0, 0.5, np.nan, 0.5, 1.0, np.nan])
    assert list(answers["labeller"]) == ["human"] * 6 + [""]
    merged, taken = table.merged(Path("q"), frame, answers, Path("a.csv"))
    assert taken == 6
    pd.testing.assert_frame_equal(merged[list(table.ASKED)], frame[list(table.ASKED)])
    assert table.read(written(tmp_path, merged)).equals(merged)


@pytest.mark.slow
@pytest.mark.skipif(BROWSER is None, reason="no chromium")
def test_what_was_answered_before_is_shown_and_the_first_open_query_comes_first(tmp_path: Path) -> None:
    frame = answered(3).head(2)
    frame = pd.concat([frame, asked(3).tail(1)], ignore_index=True)
    frame = table.labelled(frame, frame["label"], frame["labeller"], task='a "name", with marks')
    script = (
        LEAVE
        + """
        const state = document.getElementById("state").textContent;
        press("Backspace");
        const chosen = [...document.querySelectorAll("button.chosen")].map(e => e.dataset.answer);
        const pictures = [...document.querySelectorAll("figure img")].every(e => e.src.startsWith("data:image/png"));
        found.textContent = JSON.stringify({state, chosen, pictures, csv: answersCsv()});
    """
    )
    told = json.loads(in_browser(page_of(tmp_path, frame), script, tmp_path))
    assert told["state"] == "query 3 of 3 · 1 open"
    assert [float(value) for value in told["chosen"]] == [frame["label"][1]] and told["pictures"]
    (tmp_path / "a.csv").write_text(told["csv"])
    pd.testing.assert_frame_equal(table.read(tmp_path / "a.csv"), frame.assign(score_1=np.nan, score_2=np.nan))
