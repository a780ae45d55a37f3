"""What is said of values that do not fit: the option as it was typed, the value, what it must be, and no Python."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.helpers.tiny import refused

VALUES = {
    "train --seed 1.5": "--seed '1.5' must be a whole number",
    "train --steps=1.5": "--steps '1.5' must be a whole number",
    "train --train.steps many": "--train.steps 'many' must be a whole number",
    "train --model.optimizer.lr x": "--model.optimizer.lr 'x' must be a number",
    "train --sampler plr --curriculum.plr.beta x": "--curriculum.plr.beta 'x' must be a number",
    "train --sampler plr --curriculum.plr.beta -1": "curriculum.plr.beta = -1 must be above 0",
    "train --model.encoder-units 8 x": "--model.encoder-units 8 x: 'x' must be a whole number",
    "train --seed": "--seed needs a value",
    "train --evaluation.sources foo": "unknown value of --evaluation.sources: 'foo' (valid: explorer, random, tasks)",
    "train --task-policies aftr": "unknown value of --task-policies: 'aftr'; did you mean 'after'? (valid: after, on",
    "adapt x --compile foo": "unknown value of --compile: 'foo' (valid: auto, compile, graphs, off, reduce-overhead)",
    "envs show GridHazards --theta 3 0.1 x": "--theta 3 0.1 x: 'x' must be a number",
    "compare --seeds 1 x": "--seeds 1 x: 'x' must be a whole number",
    "evaluate r --episodes x": "--episodes 'x' must be a whole number",
    "scaling --floor x": "--floor 'x' must be a number",
    "ask": "missing argument: PATH Run folder, or a folder that holds one.",
}


@pytest.mark.parametrize(("words", "said"), VALUES.items(), ids=VALUES)
def test_a_value_that_does_not_fit_is_told_in_words(words: str, said: str, capsys: pytest.CaptureFixture[str]) -> None:
    told = refused(words.split(), capsys)
    assert told.startswith(f"waker: {said}") and "(see waker " in told
    assert not re.search(r"int\(\)|\[|Error|Expected|parse", told)


OPTIONS = {
    "train --csv": "unknown option '--csv'; `waker train --help-all` lists all ",
    "train --sampler plr --curriculum.beta 1": "did you mean '--curriculum.plr.beta'?",
    "train --curriculum.c 1": "unknown option '--curriculum.c'; `waker train",
    "train --sampler plr --curriculum.plr.bet 1": "did you mean '--curriculum.plr.beta'?",
    "train --sampler plr --curriculum.PLR.beta x": "--curriculum.plr.beta 'x' must be a number",
    "train --sampler diplr --curriculum.dipl.beta 1": "'--curriculum.dipl.beta'; did you mean '--curriculum.diplr.",
    "train --env waker/Chess-v0": "unknown environment 'waker/Chess-v0'; there are waker/",
}


@pytest.mark.parametrize(("words", "said"), OPTIONS.items(), ids=OPTIONS)
def test_only_what_is_near_is_offered(words: str, said: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert said in refused(words.split(), capsys)


def test_all_samplers_are_told(capsys: pytest.CaptureFixture[str]) -> None:
    from waker.curriculum.registry import curriculum_names

    told = refused(["train", "--sampler", "nosuch"], capsys)
    assert f"unknown sampler 'nosuch' (valid: {', '.join(curriculum_names())})" in told


STUDY = "{domains: {GridHazards: }, samplers: [dr], seeds: 0}"


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("train --config study.yaml", "study.yaml is a study of several runs, not the settings of one: `waker sweep "),
        ("sweep own.yaml", "the settings of one run are for `waker train --config`"),
        ("sweep file.py", "file.py cannot be read: it is no YAML, line "),
        ("train --config file.py", "file.py cannot be read: it is no YAML, line "),
        ("compare file.py", "file.py is neither a run folder nor a file of numbers"),
        ("compare picture.png", "picture.png is neither a run folder nor a file of numbers"),
        ("compare empty", "empty is neither a run folder nor a file of numbers"),
    ],
)
def test_a_file_of_another_kind_is_told_as_one(
    words: str, said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "study.yaml").write_text(STUDY)
    (tmp_path / "own.yaml").write_text("{preset: tiny, sampler: dr, seed: 1, train: {steps: 3}}")
    (tmp_path / "file.py").write_text(
        '"""A sampler."""\n\nimport os\n\nA, B = 1, [2]\n\n\ndef f(x):\n    return {x: 1}\n'
    )
    (tmp_path / "picture.png").write_bytes(b"\x89PNG\r\n\x1a\n\xff\xfe")
    (tmp_path / "empty").touch()
    told = refused(words.split(), capsys)
    assert said in told and "ParserError" not in told
