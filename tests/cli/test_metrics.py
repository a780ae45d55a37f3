"""``waker metrics``: every name that is written somewhere is explained, and a misspelt one is named."""

from __future__ import annotations

import pytest

from tests.helpers.tiny import refused
from waker.analysis.glossary import SECTIONS, entries
from waker.cli import main


def told(*names: str, capsys: pytest.CaptureFixture[str]) -> str:
    assert main(["metrics", *names]) == 0
    return capsys.readouterr().out


def test_a_name_is_explained_where_it_is_found(capsys: pytest.CaptureFixture[str]) -> None:
    assert told("credit", capsys=capsys).startswith(
        "metrics · credit [see explorer.target]: Mean of the error estimates"
    )
    assert "metrics · actor_loss/<policy>: Actor's loss" in told("actor_loss/green", capsys=capsys)
    assert told("actor_loss", capsys=capsys).startswith("metrics · actor_loss/<policy>: Actor's loss")
    both = told("step", "return", capsys=capsys)
    assert both.count("\n\n") == 1
    assert "evaluation · return" in both


def test_a_section_and_everything(capsys: pytest.CaptureFixture[str]) -> None:
    section = told("model_error", capsys=capsys)
    assert section.startswith("model_error:\n  ")
    everything = told(capsys=capsys)
    assert section.strip() in everything
    assert all(f"\n{name}:\n" in f"\n{everything}" for name in SECTIONS)
    assert all(f"  {entry.name}" in everything for entry in entries())


def test_what_is_not_there_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    assert "unknown metric 'credits_'; did you mean 'credits'" in refused(["metrics", "credits_"], capsys)


def test_the_other_names_are_explained_all_the_same(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["metrics", "mark", "credits_", "group"]) == 2
    out, err = capsys.readouterr()
    assert "run · mark [agent steps]: In `waker.rows`: the step" in out and "run · group: In `waker.rows`" in out
    assert "credits_" in err
