"""Terminals and pipes that cannot show every character: every verb's output degrades, and none is an error."""

from __future__ import annotations

import io
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.helpers.tiny import RUN, TINY
from waker.cli import VERBS, main
from waker.terminal.output import degrade_output

ENCODINGS = ("ascii", "cp1252", "latin-1:strict")
"""One that has none of what is shown, one that has some, and one that is asked for with its errors."""


@pytest.mark.parametrize("encoding", ENCODINGS)
def test_help_and_lists_are_shown_by_a_process(encoding: str, tmp_path: Path) -> None:
    environment = {**os.environ, "PYTHONIOENCODING": encoding, "LANG": "C"}
    told = {"--help": "parameters theta", "envs GridHazards": "size", "train --env 名前": "unknown environment '??'"}
    for words, expected in told.items():
        done = subprocess.run(
            [sys.executable, "-m", "waker", *words.split()], cwd=tmp_path, env=environment, capture_output=True
        )
        shown = (done.stdout + done.stderr).decode("latin-1")
        assert expected in shown
        assert "Traceback" not in shown
        assert done.returncode == (2 if "train" in words else 0)


class Streams:
    """Standard output and error of an encoding of their own."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, encoding: str) -> None:
        self.raw = {name: io.BytesIO() for name in ("stdout", "stderr")}
        for name, raw in self.raw.items():
            monkeypatch.setattr(sys, name, io.TextIOWrapper(raw, encoding=encoding, write_through=True))

    def __str__(self) -> str:
        return "".join(raw.getvalue().decode("ascii") for raw in self.raw.values())


@pytest.mark.parametrize("verb", VERBS)
def test_every_verb_shows_its_help(verb: str, monkeypatch: pytest.MonkeyPatch) -> None:
    streams = Streams(monkeypatch, "ascii")
    assert main([verb, "--help"]) == 0
    assert f"usage: waker {verb}" in str(streams)


@pytest.mark.usefixtures("undrawn")
def test_every_verb_does_its_work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    run = str(Path("runs") / RUN)
    for words in (
        ["train", *TINY, "--task-policies", "after"],
        ["adapt", run, "--updates", "1"],
        ["evaluate", run, "--episodes", "1", "--suite-episodes", "1", "--model-episodes", "1"],
        ["compare"],
        ["report"],
        ["envs"],
        ["envs", "GridHazards", "--theta", "5", "0.2", "0.1"],
        ["envs", "show", "GridHazards", "--steps", "1"],
    ):
        streams = Streams(monkeypatch, "ascii")
        assert main(words) == 0, str(streams)
        assert str(streams), words
    streams = Streams(monkeypatch, "ascii")
    assert main(["compare"]) == 0
    assert "worst-theta regret" in re.sub(r"\s+", " ", str(streams))


def test_what_a_stream_can_show_is_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    streams = Streams(monkeypatch, "utf-8")
    degrade_output()
    print("θ … 名", file=sys.stdout)
    print("\udc80", file=sys.stderr)  # a path that is no UTF-8, as Python holds it
    assert streams.raw["stdout"].getvalue().decode() == "θ … 名\n"
    assert streams.raw["stderr"].getvalue() == b"?\n"
    monkeypatch.setattr(sys, "stdout", io.StringIO())  # as notebooks have it: not ours to change
    degrade_output()
