"""Which OpenGL draws without a screen: EGL, else OSMesa; called by :mod:`waker_envs.physics.camera`.

MuJoCo's own default on Linux is GLFW, which needs a display. Here the first backend that works is taken, and
``MUJOCO_GL=egl`` or ``MUJOCO_GL=osmesa`` takes that one or fails. PyOpenGL binds itself to a platform at its first
import, for the life of the process, so libraries are probed with ctypes before it is touched. Where EGL passes its
probe and still makes no context, OSMesa takes its place: ``MUJOCO_GL`` then says so to this process and its children.
"""

from __future__ import annotations

import atexit
import ctypes
import importlib
import logging
import os
import sys
import threading
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any

_LOGGER = logging.getLogger("waker_envs.physics")

PACKAGES = {"egl": "libegl1 libgl1-mesa-dri", "osmesa": "libosmesa6"}
"""Debian packages that bring each backend."""


class NoRendererError(RuntimeError):
    """No OpenGL works here; the message names the Debian packages."""


def _without_threads() -> None:
    """Keep Mesa's software renderer from starting threads of its own; to be called before anything initialises it.

    They are slower for small pictures, one more crowd in every environment process, and a forked child, which has the
    renderer without its threads, would wait for them for ever. Mesa reads this once, when a device is initialised.
    """
    os.environ.setdefault("LP_NUM_THREADS", "0")


def _egl_works() -> bool:
    """Whether some EGL device can be initialised (extensions EGL_EXT_device_enumeration and _platform_device)."""
    _without_threads()
    try:
        egl = ctypes.CDLL("libEGL.so.1")
    except OSError:
        return False
    address = egl.eglGetProcAddress
    address.restype, address.argtypes = ctypes.c_void_p, [ctypes.c_char_p]
    query, display = address(b"eglQueryDevicesEXT"), address(b"eglGetPlatformDisplayEXT")
    if not query or not display:
        return False
    number, device = ctypes.c_int32(), ctypes.c_void_p
    query_devices = ctypes.CFUNCTYPE(ctypes.c_uint, ctypes.c_int32, ctypes.c_void_p, ctypes.c_void_p)(query)
    get_display = ctypes.CFUNCTYPE(ctypes.c_void_p, ctypes.c_uint, ctypes.c_void_p, ctypes.c_void_p)(display)
    devices = (device * 16)()
    if not query_devices(16, devices, ctypes.byref(number)):
        return False
    egl.eglInitialize.argtypes = [ctypes.c_void_p, ctypes.c_void_p, ctypes.c_void_p]
    platform_device = 0x313F  # EGL_PLATFORM_DEVICE_EXT
    displays = (get_display(platform_device, devices[i], None) for i in range(number.value))
    return any(found and egl.eglInitialize(found, None, None) for found in displays)


def _osmesa_works() -> bool:
    for name in ("libOSMesa.so.8", "libOSMesa.so.6", "libOSMesa.so"):
        try:
            ctypes.CDLL(name)
        except OSError:
            continue
        return True
    return False


PROBES: dict[str, Callable[[], bool]] = {"egl": _egl_works, "osmesa": _osmesa_works}


def importable() -> bool:
    """Whether ``import mujoco`` survives ``MUJOCO_GL``: it loads the backend named there, and fails without it."""
    forced = os.environ.get("MUJOCO_GL", "").lower()
    return forced not in PROBES or PROBES[forced]()


def backend() -> str:
    """``egl``, ``osmesa``, or ``cgl`` on macOS: what :func:`context` tries first.

    ``MUJOCO_GL`` may force ``egl`` or ``osmesa``; its other values need a screen or draw nothing, and are passed over.

    Raises:
        NoRendererError: nothing works, or what was forced does not.
    """
    if sys.platform == "darwin":
        return "cgl"
    for name in _wanted():
        if PROBES[name]():
            return name
    raise _no_renderer()


def _wanted() -> tuple[str, ...]:
    """The backends that may be taken, best first."""
    forced = os.environ.get("MUJOCO_GL", "").lower()
    return (forced,) if forced in PROBES else tuple(PROBES)


def _no_renderer(why: Sequence[str] = ()) -> NoRendererError:
    """The one line that says what fails (``why``, where more is known than that), and what to install."""
    wanted = _wanted()
    tried = f"MUJOCO_GL={wanted[0]} does not work here" if len(wanted) == 1 else "neither EGL nor OSMesa works here"
    known = f" ({'; '.join(' '.join(reason.split()) for reason in why)})" if why else ""
    packages = " or ".join(f"apt-get install {PACKAGES[name]}" for name in wanted)
    return NoRendererError(
        f'no renderer for pictures: {tried}{known}; {packages}, or use obs="proprio", which needs none'
    )


_made: Any = None
_thread = 0
"""The one GL context of this process, and the thread that made it."""


def context() -> Any:
    """The GL context of this process, made at the first call.

    Raises:
        NoRendererError: no OpenGL works here.
        RuntimeError: asked for in another thread than the first call's: a context belongs to one.
    """
    global _made, _thread
    if _made is None:
        _without_threads()
        _made = _new_context()
        _thread = threading.get_ident()
        if _forked:
            _keep_for_ever(_made)
        else:
            atexit.register(_release)
    check_thread()
    return _made


def _new_context() -> Any:
    """A context of the first backend that makes one: a library may be there, and its driver still refuse.

    Raises:
        NoRendererError: none does.
    """
    if backend() == "cgl":
        return _context_of("cgl")
    why: list[str] = []
    for name in (name for name in _wanted() if PROBES[name]()):
        loaded, environment = set(sys.modules), {key: os.environ.get(key) for key in _BINDING}
        if why:  # MuJoCo's own loader would look into libEGL, which is loaded by now, unless told otherwise
            os.environ["MUJOCO_GL"] = name
        try:
            made = _context_of(name)
        except Exception as error:  # noqa: BLE001 — what drivers and bindings raise has no common type
            why.append(f"{name} cannot make an OpenGL context: {error}")
            _unbind(loaded, environment)
        else:
            if why:
                _LOGGER.warning("%s; pictures are drawn with %s", why[0], name)
            return made
    raise _no_renderer(why)


def _context_of(name: str) -> Any:
    made = importlib.import_module(f"mujoco.{name}").GLContext(64, 64)
    made.make_current()
    return made


_BINDING = ("PYOPENGL_PLATFORM", "MUJOCO_GL")
"""Environment variables that decide what PyOpenGL and MuJoCo bind themselves to."""


def _unbind(loaded: Collection[str], environment: Mapping[str, str | None]) -> None:
    """Undo a failed attempt: forget the bindings it imported, which belong to its platform for good.

    Args:
        loaded: names of the modules that were there before; those stay.
        environment: the values of ``_BINDING`` before; None = not set.
    """
    _leave_display()
    for module in set(sys.modules) - set(loaded):
        if module.split(".")[0] == "OpenGL" or module.startswith(("mujoco.egl", "mujoco.osmesa")):
            del sys.modules[module]
    for key, value in environment.items():
        os.environ.pop(key, None)
        if value is not None:
            os.environ[key] = value


def check_thread() -> None:
    """Refuse another thread than the one that made the context.

    Raises:
        RuntimeError: it is another.
    """
    if threading.get_ident() != _thread:
        raise RuntimeError("pictures are drawn in the thread that drew the first one: use that thread, or processes")


def _release() -> None:
    # While the bindings still live: a context deleted with the interpreter complains of missing functions.
    global _made
    if _made is not None:
        _made.free()
        _made = None


# After a fork the child has its parent's context, whose server side it does not have: freeing it hangs, and so does
# ending the display it came from. The child forgets it without freeing, and leaves its own to the operating system.

_forked = False


def _keep_for_ever(made: Any) -> None:
    ctypes.pythonapi.Py_IncRef(ctypes.py_object(made))


def _in_child() -> None:
    global _made, _forked
    _forked = True
    if _made is not None:
        _keep_for_ever(_made)
        _made = None
        atexit.unregister(_release)
    _leave_display()


def _leave_display() -> None:
    """Leave EGL's display to the operating system."""
    if (egl := sys.modules.get("mujoco.egl")) is not None:
        atexit.unregister(egl.EGL.eglTerminate)


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_in_child)
