"""The progress line: on a terminal, in a file, and in the hands of another command."""

from __future__ import annotations

import io

import pytest
from rich.console import Console

from waker.terminal.progress import Progress


def test_progress_draws_plain_lines_at_its_own_pace(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = 100.0
    monkeypatch.setattr("waker.terminal.progress.time.monotonic", lambda: clock)
    out = io.StringIO()
    progress = Progress("run", 10_000, Console(file=out, width=40), every=10)
    asked = 0

    def theta() -> str:
        nonlocal asked
        asked += 1
        return "size=4, slip=[x]"

    progress.start()
    for i in range(31):
        clock = 100.0 + i
        progress.update(100 * i, 10 * i, theta, "explore")
        if i == 5:
            progress.metrics({"loss/model": 0.125, "other": 1.0})
    progress.note("saved")
    progress.close()
    lines = out.getvalue().splitlines()
    assert len(lines) == 5
    assert asked == 4
    assert lines[3] == (
        "run · explore step 3,000/10,000 · 300 updates · 10.0/s · 1:10 left · loss/model 0.125 · θ: size=4, slip=[x]"
    )
    assert lines[4] == "run · saved"
    progress.metrics({"policy_loss": 1.0, "kl_loss": 2.0, "model_loss": 12345.0})
    assert progress.line(1, 1, "").split(" · ")[-2:] == ["model loss 1.23e+04", "kl loss 2"]


def plain_lines(monkeypatch: pytest.MonkeyPatch, label: str, total: int, seconds: float, theta: str) -> list[str]:
    """What a run of 100 updates prints where there is no terminal, a fifth of its time being prefill."""
    clock = 1000.0
    monkeypatch.setattr("waker.terminal.progress.time.monotonic", lambda: clock)
    out = io.StringIO()
    progress = Progress(label, total, Console(file=out, width=40), updates=100)
    progress.metrics({"model_loss": 1234.5, "kl_loss": 2.0, "ensemble_loss": 3.0, "credit": 4.0})
    for i in range(1001):
        clock = 1000.0 + seconds * i / 1000
        progress.update(total * i // 1000, max(0, (i - 200) // 8), lambda: theta, "explore")
    return out.getvalue().splitlines()


@pytest.mark.parametrize(
    ("seconds", "most"),
    [(4.0, 1), (100.0, 12), (7200.0, 132)],  # at once; each tenth; every minute and each tenth
)
def test_where_no_terminal_is_a_line_comes_a_minute_or_at_each_tenth(
    monkeypatch: pytest.MonkeyPatch, seconds: float, most: int
) -> None:
    lines = plain_lines(monkeypatch, "gridhazards/waker-m/plan2explore/seed-0", 2_000_000, seconds, "size=3, slip=0.25")
    assert 0.8 * most <= len(lines) <= most
    assert max(map(len, lines)) <= 120
    if seconds > 50:
        assert all(any(f"{n}0 updates" in line for line in lines) for n in range(1, 10))


@pytest.mark.parametrize("label", ["run", "x" * 80, "a/long/name, " + ", ".join(f"task{k}" for k in range(30))])
def test_a_plain_line_is_short_whatever_it_has_to_say(monkeypatch: pytest.MonkeyPatch, label: str) -> None:
    theta = ", ".join(f"parameter{k}={k / 7:g}" for k in range(20))
    lines = plain_lines(monkeypatch, label, 2_000_000, 600.0, theta)
    assert max(map(len, lines)) <= 120
    assert all("explore step" in line and "updates" in line for line in lines)


def test_whoever_shows_the_newest_line_asks_for_more_of_them(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WAKER_PROGRESS_SECONDS", "2")
    assert len(plain_lines(monkeypatch, "run", 1_000, 100.0, "")) > 45
    monkeypatch.setenv("WAKER_PROGRESS_SECONDS", "often")
    assert len(plain_lines(monkeypatch, "run", 1_000, 100.0, "")) < 13


def test_progress_on_a_terminal_keeps_notes_and_clears_its_line() -> None:
    out = io.StringIO()
    progress = Progress("run", 100, Console(file=out, force_terminal=True, width=120))
    progress.start()
    progress.update(50, 5, lambda: "")
    progress.note("saved")
    progress.close()
    assert "step 50/100" in out.getvalue()
    assert "run · saved" in out.getvalue()


def test_the_time_left_is_of_the_phase_that_is_under_way(monkeypatch: pytest.MonkeyPatch) -> None:
    """A head is fitted for half a minute, and then thirty batches take a second."""
    clock = 100.0
    monkeypatch.setattr("waker.terminal.progress.time.monotonic", lambda: clock)
    out = io.StringIO()
    progress = Progress("run", 30, Console(file=out, width=40), every=0)
    for i in range(1050):
        clock = 100.0 + i * 0.028
        progress.update(0, i + 1, lambda: "", "fit")
    begin = clock
    for step in range(1, 11):
        clock = begin + 0.5 + step / 30
        progress.update(step, 1050 + step, lambda: "", f"adapt {step}/30")
    assert out.getvalue().splitlines()[-1] == "run · adapt 10/30 step 10/30 · 1,060 updates · 30.0/s · 0:00 left"
    progress.update(10, 1060, lambda: "", "measure")  # within it
    assert "30.0/s" in out.getvalue().splitlines()[-1]
