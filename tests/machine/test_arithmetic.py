"""Who multiplies is measured once, recorded, kept on a resume, and told where it is not as it was."""

from __future__ import annotations

import os
import re
import shutil
import signal
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from waker.cli import main
from waker.config.schema import Config
from waker.machine import arithmetic, mkl_dispatch, products
from waker.machine.arithmetic import settle
from waker.storage.sealed import read_yaml, write_yaml
from waker.training.loading import load_run, recorded_arithmetic
from waker.training.session import Session

RUN = Path("gridhazards/waker-m/plan2explore/seed-0")


def config(way: Any = "auto", device: str = "cpu") -> Config:
    base = Config(device=device)
    return replace(base, train=replace(base.train, products=way))


@pytest.fixture
def fastest(monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> None:
    """What the measurement finds."""
    monkeypatch.setattr(products, "fastest", lambda: request.param)


def recorded(**changes: Any) -> dict[str, Any]:
    """A run begun here with oneDNN, but for ``changes``."""
    return {**settle(config("onednn"))[0], **changes}


@pytest.mark.parametrize("fastest", ["blas", "onednn"], indirect=True)
def test_a_new_run_takes_the_faster(fastest: None) -> None:
    record, notes = settle(config())
    assert record["products"] == products.used() == products.fastest()
    assert record["processor"] == arithmetic.processor() != ""
    assert record["instructions"] == torch.backends.cpu.get_cpu_capability()
    assert record["mkl_as_intel"] is False
    assert notes == []


@pytest.mark.parametrize("fastest", ["onednn"], indirect=True)
def test_a_device_and_an_explicit_setting_ask_for_no_measurement(fastest: None) -> None:
    assert settle(config(device="meta"))[0]["products"] == "blas"
    assert settle(config("blas"))[0]["products"] == "blas"


@pytest.mark.parametrize("fastest", ["blas"], indirect=True)
def test_a_resumed_run_keeps_what_it_began_with(fastest: None) -> None:
    record, notes = settle(config(), recorded())
    assert record["products"] == products.used() == "onednn"
    assert notes == []


@pytest.mark.parametrize("fastest", ["onednn"], indirect=True)
def test_a_run_that_would_be_faster_otherwise_is_told(fastest: None) -> None:
    record, notes = settle(config(), recorded(products="blas"))
    assert record["products"] == "blas"
    assert ["--train.products onednn" in note for note in notes] == [True]
    assert settle(config(), recorded(products="blas"), advise=False)[1] == []
    # Nor does a run from before there was a record change over by itself.
    assert settle(config(), arithmetic.EARLIER)[0]["products"] == "blas"


CHANGES: dict[str, tuple[dict[str, Any], str]] = {
    "processor": ({"processor": "Another 7"}, "computed on a Another 7 (.*) so far and on a "),
    "instructions": ({"instructions": "SSE9"}, "SSE9"),
    "MKL's belief": ({"mkl_as_intel": True}, f"{mkl_dispatch.SWITCH} was on so far"),
    "products": ({"products": "blas"}, "products were by torch's BLAS and are by oneDNN"),
}


@pytest.mark.parametrize("change", CHANGES)
def test_what_changed_is_told(change: str) -> None:
    changes, told = CHANGES[change]
    _, notes = settle(config("onednn"), recorded(**changes))
    assert len(notes) == 1
    assert re.search(told, notes[0])
    assert "may differ in their last digits" in notes[0]


def test_a_torch_without_onednn_goes_on_and_tells(monkeypatch: pytest.MonkeyPatch) -> None:
    then = recorded()
    monkeypatch.setattr(products, "has_onednn", lambda: False)
    record, notes = settle(config(), then)
    assert record["products"] == "blas"
    assert ["were by oneDNN and are by torch's BLAS" in note for note in notes] == [True]


def test_the_choice_is_in_the_run_folder_and_a_resume_tells_of_another_processor(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    command = ["train", "--preset", "tiny", "--runs", str(tmp_path), "--train.products", "onednn"]
    assert main(command) == 0
    file = tmp_path / RUN / "config.yaml"
    record = read_yaml(file)
    assert record["arithmetic"] == settle(config("onednn"))[0] == recorded_arithmetic(tmp_path / RUN)
    record["arithmetic"]["processor"] = "Another 7"
    write_yaml(file, record)
    capfd.readouterr()
    assert main(command) == 0
    assert "computed on a Another 7" in "".join(capfd.readouterr())
    assert read_yaml(file) == record  # nothing was computed: the run had been finished
    notes: list[str] = []
    products.use("blas")
    load_run(tmp_path / RUN, notes.append)
    assert products.used() == "onednn"
    assert ["Another 7" in note for note in notes] == [True]


def test_a_run_stays_with_the_products_of_its_newest_leg(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    learn = Session.learn

    def learn_and_stop(session: Session) -> None:
        learn(session)
        os.kill(os.getpid(), signal.SIGTERM)

    monkeypatch.setattr(Session, "learn", learn_and_stop)
    file = tmp_path / RUN / "config.yaml"

    def leg(asked: str) -> tuple[str, list[str], str]:
        """Products recorded last, those recorded before, and what was told."""
        argv = ["train", "--preset", "tiny", "--runs", str(tmp_path), "--train.products", asked]
        assert main(argv) == 128 + signal.SIGTERM
        record = read_yaml(file)
        assert record["arithmetic"]["products"] == products.used()
        before = [leg["products"] for leg in record.get("arithmetic_before", [])]
        return products.used(), before, capsys.readouterr().err

    assert leg("blas")[:2] == ("blas", [])
    used, before, told = leg("onednn")
    assert (used, before) == ("onednn", ["blas"])
    assert "products were by torch's BLAS and are by oneDNN" in told
    used, before, told = leg("auto")
    assert (used, before) == ("onednn", ["blas"])
    assert "products" not in told


@pytest.mark.parametrize("fastest", ["onednn"], indirect=True)
def test_policies_adapted_later_have_products_of_their_own(
    fastest: None, finished: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "run"
    shutil.copytree(finished / RUN, folder)
    record = read_yaml(folder / "config.yaml")
    record["arithmetic"]["products"] = "blas"
    write_yaml(folder / "config.yaml", record)
    tasks = folder / "adapted" / "green" / "tasks.yaml"

    def adapted(updates: int) -> str:
        assert main(["adapt", str(folder), "--tasks", "green", "--updates", str(updates)]) == 0
        assert read_yaml(tasks)["arithmetic"]["products"] == products.used()
        return products.used()

    assert adapted(1) == "onednn"  # the faster, and not as the run
    monkeypatch.setattr(products, "fastest", lambda: "blas")
    assert adapted(2) == "onednn"  # as they were
    begun = read_yaml(tasks)
    write_yaml(tasks, {k: v for k, v in begun.items() if k != "arithmetic"})
    assert adapted(3) == "blas"  # once they were as the run
    told = "".join(capsys.readouterr())
    assert "starting anew" not in told and "products" not in told
    # Nor is a measurement advised to take a setting that it does not have.
    monkeypatch.setattr(products, "fastest", lambda: "onednn")
    assert main(["evaluate", str(folder), "--episodes", "1", "--suite-episodes", "1", "--model-episodes", "1"]) == 0
    assert products.used() == "blas"
    assert "products" not in "".join(capsys.readouterr())
