"""The rooms of the package: which may import which. An import that runs upwards is a failure here."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
GROUND = ("errors", "names", "settings", "plug_ins", "seeding", "torch_globals", "specs", "protocols")
"""Single files at the bottom, each above those before it."""
ROOMS = (
    "terminal",
    "curriculum",
    "config",
    "storage",
    "machine",
    "replay",
    "preferences",
    "model",
    "exploration",
    "behaviour",
    "agent",
    "collection",
    "loggers",
    "analysis",
    "evaluation",
    "training",
    "report",
    "sweep",
    "cli",
)
"""Folders; each may import those before it and the ground."""
ROOF = ("run", "api")
"""Single files above all rooms: what ``import waker`` offers."""
FLOOR = {name: floor for floor, name in enumerate((*GROUND, *ROOMS, *ROOF, "__main__"))}
MODULES = sorted(path for path in (ROOT / "waker").rglob("*.py") if path != ROOT / "waker" / "__init__.py")


def imports(file: Path) -> set[str]:
    """What a file imports of ``waker``, dotted, whether for types only, inside functions or at its top."""
    found = set[str]()
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.module and node.module.split(".")[0] == "waker":
            found |= {node.module, *(f"{node.module}.{name.name}" for name in node.names)}
        elif isinstance(node, ast.Import):
            found |= {name.name for name in node.names if name.name.split(".")[0] == "waker"}
    return found


def room_of(dotted: str) -> str | None:
    """The room of a module, or None for a name that ``waker`` itself defines."""
    part = dotted.split(".")[1] if "." in dotted else None
    return part if part in FLOOR else None


@pytest.mark.parametrize("file", MODULES, ids=lambda file: str(file.relative_to(ROOT)))
def test_no_import_runs_upwards(file: Path) -> None:
    here = file.relative_to(ROOT / "waker").with_suffix("").parts[0]
    rooms = {room_of(name) for name in imports(file)} - {None, here}
    assert not {room for room in rooms if FLOOR[str(room)] > FLOOR[here]}


def test_every_folder_is_a_room_that_says_what_it_is_for() -> None:
    folders = {path.name for path in (ROOT / "waker").iterdir() if path.is_dir() and path.name != "__pycache__"}
    assert folders == set(ROOMS)
    for room in ROOMS:
        assert (ROOT / "waker" / room / "__init__.py").read_text(encoding="utf-8").startswith('"""')


def test_there_are_few_rooms_and_few_single_files() -> None:
    files = {path.stem for path in (ROOT / "waker").glob("*.py")}
    assert files == {*GROUND, *ROOF, "__init__", "__main__"}
    rooms = [*(ROOT / "waker").glob("*/__init__.py"), *(ROOT / "envs" / "waker_envs").glob("*/__init__.py")]
    assert len(files) <= 12
    assert len(rooms) + len(("waker", "waker_envs")) <= 25
