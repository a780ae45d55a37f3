"""A family's own module may be imported before ``waker_envs``: no circular import, and nothing is missing after it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from waker_envs.registry import BUILT_IN

ROOT = Path(__file__).resolve().parents[2]
CORRIDOR = ROOT / "tests" / "plugin_example" / "corridor_example.py"
OWN = [*(entry.split(":")[0] for entry in BUILT_IN.values()), "waker_envs.testing", "waker_envs.registry"]
ENTRY_POINTS = """[waker.envs]
example/Corridor-v0 = corridor_example:Corridor
some_function = registering:register
pack/Corridor-v0 = pack.envs:Corridor
"""
FILES = {
    # One that names itself too, as without an entry point one would.
    "corridor_example.py": CORRIDOR.read_text(encoding="utf-8")
    + "\n\nfrom waker_envs import register_family\n\nregister_family('example/Corridor-v0', Corridor)\n",
    # A function that registers, in a module of which the family is in another.
    "lines.py": "from waker_envs.testing import HardTheta\n\n\nclass Line(HardTheta):\n    pass\n",
    "registering.py": "import lines\nimport waker_envs\n\n\ndef register():\n"
    "    waker_envs.register_family('by/Function-v0', lines.Line)\n",
    # A package whose parts need what it defines itself.
    "pack/__init__.py": "from waker_envs import ParametricEnv\n\nX = 1\nfrom pack.envs import Corridor\n",
    "pack/envs.py": "from pack import X\nfrom waker_envs.testing import HardTheta\n\n\n"
    "class Corridor(HardTheta):\n    pass\n",
}
ALL = ("example/Corridor-v0", "by/Function-v0", "pack/Corridor-v0")


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder that holds installed packages with entry points."""
    folder = tmp_path_factory.mktemp("site")
    about = folder / "plug_ins-0.1.dist-info"
    about.mkdir()
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: plug-ins\nVersion: 0.1\n", encoding="utf-8")
    (about / "entry_points.txt").write_text(ENTRY_POINTS, encoding="utf-8")
    (folder / "pack").mkdir()
    for name, text in FILES.items():
        (folder / name).write_text(text, encoding="utf-8")
    return folder


def run(code: str, site: Path) -> subprocess.CompletedProcess[str]:
    path = os.pathsep.join([str(site), str(ROOT), str(ROOT / "envs"), os.environ.get("PYTHONPATH", "")])
    command = [sys.executable, "-W", "error::RuntimeWarning", "-c", code]
    environment = {**os.environ, "PYTHONPATH": path}
    return subprocess.run(command, env=environment, cwd=site, capture_output=True, text=True, check=False)


@pytest.mark.parametrize("first", ["corridor_example", "registering", "lines", "pack", "pack.envs", *OWN])
def test_whatever_is_imported_first_all_families_are_there(first: str, site: Path) -> None:
    done = run(
        f"import {first}, waker_envs\n"
        f"for name in {ALL!r}: waker_envs.make(name).reset(seed=0)\n"
        f"assert set({ALL!r}) <= set(waker_envs.registered_ids()), waker_envs.registered_ids()\n"
        "import gymnasium, sys\n"
        "env = gymnasium.make('example/Corridor-v0')\n"
        "assert isinstance(env.unwrapped, sys.modules['corridor_example'].Corridor)",
        site,
    )
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("first", ["corridor_example", "pack", "pack.envs"])
def test_gymnasium_knows_an_id_without_asking_us(first: str, site: Path) -> None:
    done = run(f"import {first}, gymnasium\nfor i in {ALL[::2]!r}: gymnasium.make(i).reset(seed=0)", site)
    assert done.returncode == 0, done.stderr


def test_what_is_broken_is_still_told_of(site: Path, tmp_path: Path) -> None:
    about = tmp_path / "bad-0.1.dist-info"
    about.mkdir()
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: bad\nVersion: 0.1\n", encoding="utf-8")
    (about / "entry_points.txt").write_text("[waker.envs]\nbad/Bad-v0 = first:Bad\n", encoding="utf-8")
    (tmp_path / "first.py").write_text("import waker_envs\n", encoding="utf-8")
    done = run("import first, waker_envs\nprint(waker_envs.registered_ids()[-1])", tmp_path)
    assert done.returncode == 1
    assert "entry point 'bad/Bad-v0' (first:Bad) are left out: AttributeError" in done.stderr
