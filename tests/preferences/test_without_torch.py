"""Queries and answers are asked for by commands that do without torch."""

from __future__ import annotations

import pkgutil
import subprocess
import sys

import pytest

import waker.preferences


@pytest.mark.parametrize("module", [m.name for m in pkgutil.iter_modules(waker.preferences.__path__)])
def test_nothing_of_the_room_imports_torch(module: str) -> None:
    code = f"import sys, waker.preferences.{module}; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
