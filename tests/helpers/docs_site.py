"""The documentation site, built once for a module of tests."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.helpers.pages import ROOT


def built(folder: Path) -> Path:
    """The site, built with broken links, broken anchors and pages without a place in the navigation as errors."""
    pytest.importorskip("mkdocs")
    path = os.pathsep.join([str(ROOT), str(ROOT / "envs")])
    done = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", str(folder)],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": path, "NO_MKDOCS_2_WARNING": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return folder
