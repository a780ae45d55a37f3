"""Which OpenGL draws without a screen: EGL, else OSMesa; called by :mod:`waker_envs.physics.camera`.

MuJoCo's own default on Linux is GLFW, which needs a display. Here the first backend that works is taken, and
``MUJOCO_GL=egl`` or ``MUJOCO_GL=osmesa`` takes that one or fails. PyOpenGL binds itself to a platform at its first
import, for the life of the process, so libraries are probed with ctypes before it is touched.
"""

from __future__ import annotations

import atexit
import ctypes
import importlib
import os
import sys
import threading
from collections.abc import Callable
from typing import Any

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
    """``egl``, ``osmesa``, or ``cgl`` on macOS: what :func:`context` will use.

    ``MUJOCO_GL`` may force ``egl`` or ``osmesa``; its other values need a screen or draw nothing, and are passed over.

    Raises:
        NoRendererError: nothing works, or what was forced does not.
    """
    if sys.platform == "darwin":
        return "cgl"
    forced = os.environ.get("MUJOCO_GL", "").lower()
    wanted = (forced,) if forced in PROBES else tuple(PROBES)
    for name in wanted:
        if PROBES[name]():
            return name
    tried = f"MUJOCO_GL={forced} does not work here" if forced in PROBES else "neither EGL nor OSMesa works here"
    packages = " or ".join(f"apt-get install {PACKAGES[name]}" for name in wanted)
    raise NoRendererError(f'no renderer for pictures: {tried}; {packages}, or use obs="proprio", which needs none')


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
        name = backend()
        try:
            _made = importlib.import_module(f"mujoco.{name}").GLContext(64, 64)
        except Exception as error:  # what drivers and bindings raise has no common type
            raise NoRendererError(f"{name} cannot make an OpenGL context: {error}") from error
        _thread = threading.get_ident()
        if _forked:
            _keep_for_ever(_made)
        else:
            atexit.register(_release)
    check_thread()
    return _made


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
    if (egl := sys.modules.get("mujoco.egl")) is not None:
        atexit.unregister(egl.EGL.eglTerminate)


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_in_child)
