"""The tutorial notebook runs as it stands, with fewer steps and seeds, and prints what it shows."""

from __future__ import annotations

import importlib.util
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from tests.helpers.pages import ROOT

NOTEBOOK = ROOT / "docs" / "tutorial.ipynb"
SMALLEST: dict[str, Any] = {"STEPS": 160, "SEEDS": (0, 1), "LEARN": {}}
_NUMBER = re.compile(r"[-+−]?\d[\d,]*(\.\d+)?(e[-+]\d+)?")


def _script() -> ModuleType:
    spec = importlib.util.spec_from_file_location("run_notebook", ROOT / "scripts" / "run_notebook.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


SCRIPT = _script()
STORED = SCRIPT.read(NOTEBOOK)


def code_cells(notebook: dict[str, Any]) -> list[dict[str, Any]]:
    return [cell for cell in notebook["cells"] if cell["cell_type"] == "code"]


def forms(text: str) -> set[str]:
    """The lines without their numbers, marks and the room between words."""
    bare = (_NUMBER.sub("0", line) for line in text.splitlines())
    return {re.sub(r"[\s│†¹²³⁴]+", " ", line).strip() for line in bare}


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[str]]:
    """What every code cell prints now."""
    modules = set(sys.modules)
    outputs = SCRIPT.run(STORED, tmp_path_factory.mktemp("tutorial"), SMALLEST)
    yield [SCRIPT.text_of(cell) for cell in outputs]
    for name in set(sys.modules) - modules:
        if name in ("pond", "corner"):
            del sys.modules[name]


@pytest.fixture(scope="module")
def stored() -> list[str]:
    return [SCRIPT.text_of(cell["outputs"]) for cell in code_cells(STORED)]


def cell_with(words: str) -> int:
    """The number of the one code cell that has these words."""
    (found,) = [number for number, cell in enumerate(code_cells(STORED)) if words in SCRIPT.source(cell)]
    return found


def test_every_cell_prints_where_it_did(made: list[str], stored: list[str]) -> None:
    assert [bool(text.strip()) for text in made] == [bool(text.strip()) for text in stored]
    assert sum(bool(text.strip()) for text in stored) >= 9


@pytest.mark.parametrize(
    ("cell", "lines"),
    [
        ("rows.evaluation", ["sampler task", "dr left 0 0", "waker-m left 0 0"]),
        ("run.curriculum.table", ["probability estimate episodes", "current size"]),
        ("predicted return", ["predicted return: 0 without a current, 0 in the strongest"]),
        ("!waker adapt", []),
        ("task == 'corner'", ["mean count", "learned 0 0", "random 0 0"]),
        ("!waker compare", ["dr waker-m", "all tasks", "mean return"]),
    ],
)
def test_key_lines_have_the_form_that_is_shown(cell: str, lines: list[str], made: list[str], stored: list[str]) -> None:
    """Shown and printed now alike, but for the number of seeds' columns."""
    number = cell_with(cell)
    for text in (made[number], stored[number]):
        found = forms(text.replace("┃", " "))
        assert all(any(form.startswith(line) for form in found) for line in lines), found


def test_the_conclusion_is_said_first_in_both(made: list[str], stored: list[str]) -> None:
    number = cell_with("!waker compare")
    for text, seeds in ((made[number], 2), (stored[number], 3)):
        domain, sentence = text.splitlines()[:2]
        assert domain == "pond"
        assert re.match(rf"(On|Shown at 95 % on) {seeds} paired seeds", sentence), sentence


def test_a_dream_is_pictures(made: list[str], stored: list[str]) -> None:
    for text in (made, stored):
        assert text[cell_with("dream.rewards.sum")].strip().startswith("((9, 60, 60, 3), array([")
    outputs = code_cells(STORED)[cell_with("Image.fromarray(film)")]["outputs"]
    assert [set(output["data"]) for output in outputs] == [{"text/plain", "image/png"}]


def test_the_notebook_is_one_that_jupyter_opens() -> None:
    """Format 4.5: what its schema asks of every cell, and outputs in the order of the cells."""
    assert (STORED["nbformat"], STORED["nbformat_minor"]) == (4, 5)
    identities = [cell["id"] for cell in STORED["cells"]]
    assert len(set(identities)) == len(identities) and all(re.fullmatch(r"[\w-]{1,64}", name) for name in identities)
    for cell in STORED["cells"]:
        code = {"outputs", "execution_count"} if cell["cell_type"] == "code" else set()
        assert set(cell) == {"id", "cell_type", "metadata", "source", *code}
    assert [cell["execution_count"] for cell in code_cells(STORED)] == [*range(1, len(code_cells(STORED)) + 1)]


def test_what_is_stored_names_no_place_of_its_maker(stored: list[str]) -> None:
    assert not re.search(r"/(home|tmp|root|work|Users)/", "\n".join(stored))


def test_a_failing_command_is_noticed(tmp_path: Path) -> None:
    cell = {"cell_type": "code", "metadata": {}, "source": ["!waker compare nowhere"], "outputs": []}
    with pytest.raises(SCRIPT.CellError, match="exit code 2"):
        SCRIPT.run({"cells": [cell]}, tmp_path)


def test_the_page_has_the_cells_and_what_they_print(stored: list[str]) -> None:
    page = SCRIPT.page(STORED)
    assert "class Pond(ParametricEnv):" in page and "data:image/png;base64," in page
    assert "predicted return: " in page and '<pre class="output">' in page
