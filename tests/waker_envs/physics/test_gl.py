"""Which renderer is taken, what is said where there is none, and that a process gets its own."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from waker_envs.physics import gl

PICTURE = """
import mujoco, sys
from waker_envs.physics import gl
from waker_envs.physics.camera import Camera
model = mujoco.MjModel.from_xml_string('''<mujoco><worldbody><camera name="c" pos="0 0 3"/><light pos="0 0 3"/>
<geom type="box" size=".5 .5 .5" rgba="1 0 0 1"/></worldbody></mujoco>''')
data = mujoco.MjData(model)
mujoco.mj_forward(model, data)
print(gl.backend(), Camera(model, 32, 32, "c").picture(data)[16, 16].argmax())
"""
PROPRIO = """
import sys, waker_envs
env = waker_envs.make("TerrainWalker", obs="proprio+scan")
env.reset(seed=0)
env.step(env.action_space.sample())
print([name for name in sys.modules if name.split(".")[0] == "OpenGL" or name in ("mujoco.egl", "mujoco.osmesa")])
"""


def fresh(code: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run ``code`` in an interpreter whose MUJOCO_GL and PYOPENGL_PLATFORM are as given and nothing else."""
    clean = {k: v for k, v in os.environ.items() if k not in ("MUJOCO_GL", "PYOPENGL_PLATFORM")}
    command = [sys.executable, "-c", code]
    return subprocess.run(
        command, env={**clean, **environment}, capture_output=True, text=True, check=False, timeout=60
    )


@pytest.fixture
def probes(monkeypatch: pytest.MonkeyPatch) -> dict[str, bool]:
    """Which backends work, to be set by the test; nothing is forced, and the platform is Linux."""
    works = {"egl": True, "osmesa": True}
    monkeypatch.setattr(gl, "PROBES", {name: lambda name=name: works[name] for name in works})
    monkeypatch.delenv("MUJOCO_GL", raising=False)
    monkeypatch.setattr(sys, "platform", "linux")
    return works


def test_egl_comes_first_then_osmesa(probes: dict[str, bool]) -> None:
    assert gl.backend() == "egl"
    probes["egl"] = False
    assert gl.backend() == "osmesa"


@pytest.mark.parametrize("forced", ["egl", "osmesa", "OSMesa"])
def test_what_is_forced_is_taken_or_fails(
    forced: str, probes: dict[str, bool], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MUJOCO_GL", forced)
    name = forced.lower()
    assert gl.backend() == name
    probes[name] = False
    with pytest.raises(gl.NoRendererError, match=f"MUJOCO_GL={name} does not work here") as caught:
        gl.backend()
    assert f"apt-get install {gl.PACKAGES[name]}" in str(caught.value)
    assert all(package not in str(caught.value) for other, package in gl.PACKAGES.items() if other != name)


@pytest.mark.parametrize("other", ["glfw", "disabled", ""])
def test_other_values_are_passed_over(other: str, probes: dict[str, bool], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MUJOCO_GL", other)
    assert gl.backend() == "egl"


def test_where_nothing_works_one_line_names_the_packages(
    probes: dict[str, bool], monkeypatch: pytest.MonkeyPatch
) -> None:
    probes.update(egl=False, osmesa=False)
    monkeypatch.setattr(gl, "_made", None)
    with pytest.raises(gl.NoRendererError) as caught:
        gl.context()
    told = str(caught.value)
    assert "\n" not in told
    assert all(part in told for part in (*gl.PACKAGES.values(), "neither EGL nor OSMesa", 'obs="proprio"'))


REFUSED = {"MUJOCO_EGL_DEVICE_ID": "99"}
"""EGL initialises its devices, so its probe is content; mujoco.egl then looks for one that does not exist."""


def test_where_egl_refuses_a_context_osmesa_draws() -> None:
    if not all(probe() for probe in gl.PROBES.values()):
        pytest.skip("EGL and OSMesa are not both installed")
    told = "\nimport os; print(os.environ['MUJOCO_GL'], gl.backend())"  # as the loaders of child processes must know
    done = fresh(PICTURE + told, **REFUSED)
    assert done.stdout.split() == ["egl", "0", "osmesa", "osmesa"], done.stderr  # EGL was tried first
    assert "egl cannot make an OpenGL context" in done.stderr
    assert done.stderr.count("\n") == 1


def test_forced_egl_that_refuses_a_context_is_told_in_one_line() -> None:
    if not gl.PROBES["egl"]():
        pytest.skip(f"{gl.PACKAGES['egl']} is not installed")
    done = fresh(PICTURE, MUJOCO_GL="egl", **REFUSED)
    last = done.stderr.splitlines()[-1]
    assert "NoRendererError: no renderer for pictures: MUJOCO_GL=egl does not work here (egl cannot make" in last
    assert f"apt-get install {gl.PACKAGES['egl']}" in last
    assert gl.PACKAGES["osmesa"] not in last


@pytest.mark.parametrize("osmesa", [True, False])
def test_where_no_backend_makes_a_context_one_line_says_why_and_nothing_is_left_behind(
    osmesa: bool, probes: dict[str, bool], monkeypatch: pytest.MonkeyPatch
) -> None:
    probes["osmesa"] = osmesa
    asked = []

    def refuse(name: str) -> None:
        asked.append(name)
        os.environ["PYOPENGL_PLATFORM"] = name  # as the real modules do
        raise RuntimeError(f"{name}'s driver\nsays no")

    monkeypatch.delenv("PYOPENGL_PLATFORM", raising=False)
    monkeypatch.setattr(gl, "_made", None)
    monkeypatch.setattr(gl, "_context_of", refuse)
    with pytest.raises(gl.NoRendererError) as caught:
        gl.context()
    told = str(caught.value)
    assert asked == (["egl", "osmesa"] if osmesa else ["egl"])
    assert "\n" not in told
    assert all(part in told for part in (*gl.PACKAGES.values(), *(f"{name}'s driver says no" for name in asked)))
    assert "MUJOCO_GL" not in os.environ
    assert "PYOPENGL_PLATFORM" not in os.environ


def test_a_process_has_one_context() -> None:
    assert gl.context() is gl.context()


def test_a_picture_needs_no_setting_and_says_nothing_at_exit() -> None:
    done = fresh(PICTURE)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.split()[1] == "0"


@pytest.mark.parametrize("name", ["egl", "osmesa"])
def test_each_backend_draws(name: str) -> None:
    if not gl.PROBES[name]():
        pytest.skip(f"{gl.PACKAGES[name]} is not installed")
    done = fresh(PICTURE, MUJOCO_GL=name)
    assert done.stdout.split() == [name, "0"], done.stderr


def test_runs_without_pictures_load_no_opengl() -> None:
    done = fresh(PROPRIO)
    assert done.stdout.strip() == "[]", done.stderr


WITHOUT_OSMESA = """
import ctypes, ctypes.util
class Library(ctypes.CDLL):
    def __init__(self, name, *args, **kwargs):
        if "OSMesa" in str(name):
            raise OSError(f"{name}: no such file")
        super().__init__(name, *args, **kwargs)
ctypes.CDLL, ctypes.cdll, find = Library, ctypes.LibraryLoader(Library), ctypes.util.find_library
ctypes.util.find_library = lambda name: None if "OSMesa" in name else find(name)
"""
"""The interpreter of a machine that has no OSMesa."""


def test_a_forced_backend_that_is_missing_is_no_hindrance_without_pictures() -> None:
    assert fresh(WITHOUT_OSMESA + "import mujoco", MUJOCO_GL="osmesa").returncode != 0  # not so with MuJoCo alone
    done = fresh(WITHOUT_OSMESA + PROPRIO, MUJOCO_GL="osmesa")
    assert (done.returncode, done.stdout.strip()) == (0, "[]"), done.stderr


FORK = """
import os, signal, sys
exec(sys.argv[1])
child = os.fork()
if child == 0:
    signal.alarm(20)  # a child that hangs outlives nothing
    if sys.argv[2] == "draws":
        print(Camera(model, 32, 32, "c").picture(data)[16, 16].argmax(), flush=True)
    sys.exit(0)
print(os.waitpid(child, 0)[1])
"""


@pytest.mark.parametrize("child", ["idles", "draws"])
def test_a_forked_child_draws_for_itself_and_ends(child: str) -> None:
    """It must not free what its parent made: that hangs."""
    command = [sys.executable, "-c", FORK, PICTURE, child]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    assert done.stdout.splitlines()[1:] == (["0"] if child == "idles" else ["0", "0"]), done.stderr


@pytest.mark.parametrize("early", ["gl.backend()", "gl.importable()", "pass"])
def test_whoever_asks_first_mesa_has_no_threads_a_fork_would_lose(early: str) -> None:
    """Mesa decides at its first use. With threads, a child that draws after its parent did waits for ever."""
    if not gl.PROBES["egl"]():
        pytest.skip(f"{gl.PACKAGES['egl']} is not installed")
    clean = {k: v for k, v in os.environ.items() if k not in ("LP_NUM_THREADS", "PYOPENGL_PLATFORM")}
    code = f"from waker_envs.physics import gl\n{early}\n{PICTURE}"
    command = [sys.executable, "-c", FORK, code, "draws"]
    done = subprocess.run(
        command, env={**clean, "MUJOCO_GL": "egl"}, capture_output=True, text=True, check=False, timeout=30
    )
    assert done.stdout.splitlines() == ["egl 0", "0", "0"], done.stderr


THREAD = """
import threading
exec(__import__("sys").argv[1])
camera = Camera(model, 32, 32, "c")
def draw():
    try:
        camera.picture(data)
    except RuntimeError as error:
        print(error)
thread = threading.Thread(target=draw)
thread.start()
thread.join()
"""


def test_another_thread_is_told() -> None:
    command = [sys.executable, "-c", THREAD, PICTURE]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    assert "in the thread that drew the first one" in done.stdout, done.stderr
