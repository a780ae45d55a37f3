"""The house rules that a machine can check: style, types, and which part may import what."""

from __future__ import annotations

import ast
import json
import runpy
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
FRAMEWORKS = ("torch", "wandb", "matplotlib", "tensorboard", "ray", "seaborn")


def modules(package: str, folder: Path) -> list[str]:
    """Every module of a package, dotted."""
    names = []
    for file in sorted(folder.rglob("*.py")):
        parts = [package, *file.relative_to(folder).with_suffix("").parts]
        names.append(".".join(parts[:-1] if parts[-1] == "__init__" else parts))
    return [name for name in names if not name.endswith("__main__")]


WAKER = modules("waker", ROOT / "waker")
WAKER_ENVS = modules("waker_envs", ROOT / "envs" / "waker_envs")
STATISTICS = [m for m in WAKER if m.startswith("waker.analysis")]
NUMPY_ONLY = [*(m for m in WAKER if m.startswith("waker.curriculum")), *STATISTICS]
CORE = [m for m in WAKER if not m.startswith("waker.report")]


def imported(names: list[str]) -> set[str]:
    """The top-level packages that a fresh interpreter holds after importing ``names``."""
    code = (
        "import importlib, json, sys\n"
        f"for name in {names!r}: importlib.import_module(name)\n"
        "print(json.dumps(sorted({name.split('.')[0] for name in sys.modules})))"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return set(json.loads(done.stdout.splitlines()[-1]))


def test_the_lists_below_are_not_empty() -> None:
    assert "waker.curriculum.registry" in NUMPY_ONLY
    assert set(STATISTICS) <= set(WAKER)
    assert "waker_envs.api" in WAKER_ENVS
    assert "waker.training.loop" in CORE


def test_the_curriculum_and_the_statistics_need_no_torch() -> None:
    assert not imported(NUMPY_ONLY) & set(FRAMEWORKS)


def test_environments_need_neither_torch_nor_the_learner() -> None:
    assert not imported(WAKER_ENVS) & {"waker", *FRAMEWORKS}


def test_environment_processes_need_no_torch() -> None:
    assert not imported(["waker.collection.worker"]) & set(FRAMEWORKS)


def test_the_core_imports_no_logger_and_no_plots() -> None:
    assert not imported(CORE) & (set(FRAMEWORKS) - {"torch"})


def test_help_does_not_wait_for_torch() -> None:
    code = (
        "import sys, waker.cli\n"
        "assert waker.cli.main(['--help']) == 0 and waker.cli.main(['nonsense']) == 2\n"
        "print('torch' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.stdout.splitlines()[-1] == "False", done.stderr


def test_the_explorer_is_named_in_one_place() -> None:
    found = [p.name for p in (ROOT / "waker").rglob("*.py") if "\nEXPLORER = " in p.read_text(encoding="utf-8")]
    assert found == ["names.py"]


def test_files_are_small_and_say_what_they_are_for() -> None:
    for file in [*(ROOT / "waker").rglob("*.py"), *(ROOT / "envs").rglob("*.py")]:
        text = file.read_text(encoding="utf-8")
        assert text.lstrip().startswith('"""'), f"{file} has no docstring"
        assert len(text.splitlines()) <= 420, f"{file} has {len(text.splitlines())} lines"


@pytest.mark.parametrize("verb", ["waker --help", "python -m waker --help"])
def test_the_command_is_installed(verb: str) -> None:
    script = str(Path(sys.executable).parent / "waker")
    program = [script] if verb.startswith("waker") else [sys.executable, "-m", "waker"]
    done = subprocess.run([*program, "--help"], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0
    assert "quickstart" in done.stdout


def test_every_test_that_is_called_slow_exists() -> None:
    for name in (ROOT / "tests" / "slow.txt").read_text(encoding="utf-8").split():
        file, _, function = name.partition("::")
        assert f"def {function}(" in (ROOT / file).read_text(encoding="utf-8"), name


def test_a_list_of_slow_tests_has_none_that_is_gone() -> None:
    script = runpy.run_path(str(ROOT / "scripts" / "slow_tests.py"))
    here = f"tests/test_repository.py::{test_a_list_of_slow_tests_has_none_that_is_gone.__name__}"
    log = f"2.0s call {here}[a]\n1.0s setup {here}[b]\n5.0s call tests/gone.py::test_x\n0.5s call {here}_either"
    assert script["durations"](log)[here] == 3.0
    assert script["existing"](script["slow"](script["durations"](log), 0.0)) == [here]


def long_tests() -> dict[str, list[str]]:
    """Each test that is marked ``long`` and what its mark says: the smaller tests that hold the same."""
    found = {}
    for path in sorted((ROOT / "tests").rglob("test_*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            for mark in getattr(node, "decorator_list", ()):
                if ast.unparse(mark).startswith("pytest.mark.long"):
                    assert isinstance(node, ast.FunctionDef)
                    name = f"{path.relative_to(ROOT)}::{node.name}"
                    found[name] = [ast.literal_eval(one) for one in getattr(mark, "args", ())]
    return found


def test_every_long_test_names_smaller_ones_that_hold_the_same() -> None:
    long = long_tests()
    assert long
    for name, smaller in long.items():
        assert smaller, f"{name} is the only test of what it holds: it is not long"
        for one in smaller:
            file, _, function = one.partition("::")
            assert one not in long and f"def {function}(" in (ROOT / file).read_text(encoding="utf-8"), one
