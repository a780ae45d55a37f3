"""Let the C library keep the memory that tensors free, instead of giving it back to the system.

glibc maps every large block afresh and unmaps it when it is freed, so each activation of each update costs page faults
again: a quarter of the time of an update at paper size. Told to keep its memory, the heap grows once and is reused.
Called by the verbs that learn or imagine (``train``, ``adapt``, ``evaluate``), before torch allocates
anything large.

The environment variable ``WAKER_KEEP_MEMORY=0`` switches it off: a process then gives memory back as soon as it can,
for machines where several share little.
"""

from __future__ import annotations

import ctypes
import os
import platform

SWITCH = "WAKER_KEEP_MEMORY"
"""Environment variable; ``0`` leaves the C library as it is."""
# Parameters of mallopt(3), from glibc's <malloc.h>.
_TRIM_THRESHOLD, _TOP_PAD, _MMAP_THRESHOLD = -1, -2, -3
_SETTINGS = {
    _MMAP_THRESHOLD: 1 << 30,  # blocks below 1 GiB come from the heap, which is reused
    _TRIM_THRESHOLD: (1 << 31) - 1,  # the largest int: the heap's free end is never given back
    _TOP_PAD: 256 << 20,  # and it grows by 256 MiB at a time
}


def wanted() -> bool:
    """Whether :data:`SWITCH` leaves it on."""
    return os.environ.get(SWITCH, "1") != "0"


def keep_freed_memory() -> bool:
    """Tell glibc to keep freed memory; does nothing elsewhere (another C library, another system) or if switched off.

    Returns:
        Whether all settings were taken.
    """
    if not wanted() or platform.libc_ver()[0] != "glibc":
        return False
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is None:
        return False
    mallopt.argtypes, mallopt.restype = (ctypes.c_int, ctypes.c_int), ctypes.c_int
    taken = [mallopt(parameter, value) == 1 for parameter, value in _SETTINGS.items()]
    return all(taken)
