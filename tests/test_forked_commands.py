"""Commands in forks are processes of their own, with what belongs to one."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.helpers.forked import python, waker


def test_a_fork_has_its_own_number_folder_variables_and_streams(tmp_path: Path) -> None:
    code = "import os, sys; print(os.getpid(), os.getcwd(), os.environ['MINE']); print('told', file=sys.stderr)"
    first, second = (python(code, tmp_path, {"MINE": mine}) for mine in ("one", "two"))
    for done, mine in ((first, "one"), (second, "two")):
        number, folder, variable = done.stdout.split()
        assert (folder, variable) == (str(tmp_path.resolve()), mine)
        assert int(number) != os.getpid()
        assert (done.returncode, done.stderr) == (0, "told\n")
    assert first.stdout.split()[0] != second.stdout.split()[0]


@pytest.mark.parametrize(
    ("code", "ended"),
    [
        ("import sys; sys.exit(7)", 7),
        ("raise ValueError('no')", 1),
        ("import os, signal; os.kill(os.getpid(), signal.SIGKILL)", -9),
        ("import warnings; warnings.warn('old', DeprecationWarning)", 1),
        ("import atexit, os; atexit.register(os._exit, 5)", 5),
    ],
)
def test_a_fork_ends_as_a_process(code: str, ended: int, tmp_path: Path) -> None:
    assert python(code, tmp_path).returncode == ended


def test_nothing_of_ours_is_there_before_the_command(tmp_path: Path) -> None:
    done = python(
        "import sys; print(sorted(n for n in sys.modules if n.split('.')[0] in ('waker', 'waker_envs')))", tmp_path
    )
    assert done.stdout == "[]\n"


def test_a_module_on_the_path_of_one_command_is_not_on_the_next_one_s(tmp_path: Path) -> None:
    (tmp_path / "site").mkdir()
    (tmp_path / "site" / "theirs_alone.py").touch()
    path = {"PYTHONPATH": str(tmp_path / "site")}
    assert python("import theirs_alone", tmp_path, path).returncode == 0
    assert "No module named 'theirs_alone'" in python("import theirs_alone", tmp_path).stderr


def test_a_mistake_is_told_as_by_a_fresh_interpreter(tmp_path: Path) -> None:
    done = waker("train", "--preset", "labtop", cwd=tmp_path)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("waker: unknown preset 'labtop'; did you mean 'laptop'?")
