"""``python -m experiments.bench``: its help, its complaints, and the smallest configuration from end to end."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from experiments.bench.__main__ import command
from experiments.bench.parts import PARTS
from waker.cli import main

MEASURED = ("update", "arithmetic", "memory", "drawing", "crediting")
"""Sections of a record that a fresh process measures."""


def complaint(capsys: pytest.CaptureFixture[str], argv: list[str]) -> str:
    """The one line on standard error of a command that exits with 2."""
    assert main(argv, command) == 2
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 1
    return lines[0]


def test_help(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--help"], command) == 0
    shown = capsys.readouterr().out
    for word in ("--config", "--device", "--updates", "--against", "--no-keep-memory", "paper-walker"):
        assert word in shown


@pytest.mark.parametrize(
    ("argv", "words"),
    [
        (["--config", "laptop-gird"], "did you mean 'laptop-grid'"),
        (["--updates", "0"], "--updates 0 must be at least 1"),
        (["--loop-updates", "-1"], "--loop-updates -1 must be at least 0"),
        (["--chunk", "-1"], "--chunk -1 must be at least 0"),
        (["--env-processes", "-1"], "--env-processes -1 must be at least 0"),
        (["--against", "x.json", "--chunk", "4"], "leave out --compile"),
        (["--against", "x.json", "--env-processes", "0"], "leave out --compile"),
        (["--against", "x.json", "--precision", "bf16"], "leave out --compile"),
        (["--against", "x.json", "--products", "blas"], "leave out --compile"),
        (["--save"], "--save stores into the file of --against"),
        (["--device", "nonsense"], "unknown device 'nonsense'"),
        (["--config", "tiny", "--updates", "1", "--against", "x" * 5000], "File name too long: xxx"),
        (["--confg", "tiny"], "did you mean '--config'"),
    ],
)
def test_complaints(capsys: pytest.CaptureFixture[str], argv: list[str], words: str) -> None:
    assert words in complaint(capsys, argv)


def test_the_smallest_configuration_from_end_to_end(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Measured and stored; then held against stored work that is a fifth more."""
    out, stored = tmp_path / "out.json", tmp_path / "stored.json"
    small = ["--config", "tiny", "--updates", "3", "--loop-updates", "2"]
    assert main([*small, "--json", str(out), "--against", str(stored), "--save"], command) == 0
    shown = capsys.readouterr().out
    assert "tiny was never measured" in shown
    assert all(part in shown for part in PARTS)
    (record,) = json.loads(out.read_text())["records"]
    update = record["update"]
    assert update["updates"] == 3
    assert update["operations"] > 1000
    assert 0 < update["gflop"] < 1
    assert 0 < update["fraction_of_peak"] < 1
    assert update["peak_tried"][update["peak_library"]] == max(update["peak_tried"].values())
    assert f"peak ({update['peak_library']}), same run" in shown
    assert record["arithmetic"]["products"] in ("blas", "onednn")
    assert sum(part["share"] for part in update["parts"].values()) == pytest.approx(1.0)
    assert record["memory"]["peak_mb"] > record["memory"]["before_mb"] > 50
    assert record["environment"]["steps_per_second"] > 100
    assert sum(record["loop"]["shares"].values()) == pytest.approx(1.0)

    (records,) = json.loads(stored.read_text()).values()
    records["tiny"]["update"]["operations"] *= 1.2
    # The second measurement is the first: what is tested is what becomes of it.
    monkeypatch.setattr("experiments.bench.memory.in_fresh_process", lambda *_: {k: record[k] for k in MEASURED})
    stored.write_text(json.dumps({"Another machine, 1 thread": records}))
    assert main([*small, "--loop-updates", "0", "--against", str(stored)], command) == 1
    shown = capsys.readouterr().out
    assert "only its counted work is compared, with that of a Another machine" in shown
    assert "moved: tiny update.operations" in shown
    assert "(-17%)" in shown
    assert json.loads(stored.read_text()) == {"Another machine, 1 thread": records}
