"""On request, let MKL use its fastest kernels on a processor of any maker: ``WAKER_MKL_AS_INTEL=1``.

MKL, by which torch multiplies matrices on x86-64, asks two functions of its own whether the processor is an Intel one,
and keeps its AVX-512 kernels to those. With the switch on, both are overwritten in this process's memory so that they
answer yes, before MKL chooses its kernels at its first product. Nothing on disk changes.

This is for those who know their machine, and never a default. It changes code of a library whose maker does not
support that: on a processor without AVX2 and FMA MKL may then choose instructions that it lacks, a later MKL may not
ask these functions or may ask them for something else, and a system may forbid to write to code. The last digits of
results change, as they do between processors. Without it, :mod:`waker.machine.products` reaches most of the same speed
where it is to be had.

Linux on x86-64, with a torch that has MKL; elsewhere it does nothing and says so.
"""

from __future__ import annotations

import contextlib
import ctypes
import mmap
import os
import platform
import sys
from collections.abc import Sequence
from pathlib import Path

SWITCH = "WAKER_MKL_AS_INTEL"
"""Environment variable; ``1`` switches it on."""
FUNCTIONS = ("mkl_serv_intel_cpu_true", "mkl_serv_intel_cpu")
"""What MKL asks; C functions without arguments that return an int."""
_RETURN_1 = bytes.fromhex("b801000000c3")  # mov eax, 1; ret
_READ, _WRITE, _EXECUTE = mmap.PROT_READ, mmap.PROT_WRITE, mmap.PROT_EXEC

_believes = False


def believes() -> bool:
    """Whether this process's MKL was made to take the processor for an Intel one."""
    return _believes


def treat_as_intel() -> str | None:
    """Do it if :data:`SWITCH` asks for it; before torch's first product.

    Returns:
        Why it was asked for and could not be done, for people; None otherwise.
    """
    global _believes
    if os.environ.get(SWITCH) != "1" or _believes:
        return None
    if platform.system() != "Linux" or platform.machine() != "x86_64":
        return f"{SWITCH}=1 does nothing here: it is for Linux on x86-64"
    try:
        addresses = [address_of(name) for name in FUNCTIONS]
    except (OSError, AttributeError):
        return f"{SWITCH}=1 does nothing here: this torch has no MKL that asks for the processor's maker"
    try:
        overwrite(addresses, _RETURN_1)
    except OSError as error:
        return f"{SWITCH}=1 does nothing here: the system forbids to change code in memory ({error.strerror})"
    _believes = True
    return None


def tell_unless_done() -> None:
    """:func:`treat_as_intel`; where it could not be done, one line on standard error says why."""
    why = treat_as_intel()
    if why is not None:
        print(why, file=sys.stderr, flush=True)


def library() -> ctypes.CDLL:
    """The library of torch that has MKL in it, or that loads it.

    Raises:
        OSError: there is none.
    """
    import torch

    return ctypes.CDLL(str(Path(torch.__file__).parent / "lib" / "libtorch_cpu.so"))


def address_of(name: str) -> int:
    """Where a function of MKL lies.

    Raises:
        OSError, AttributeError: there is none of that name.
    """
    return ctypes.cast(library()[name], ctypes.c_void_p).value or 0


def overwrite(addresses: Sequence[int], code: bytes) -> None:
    """Put machine code in place of the first bytes of functions: of all of them or, where that fails, of none.

    Raises:
        OSError: the system does not allow it; nothing has been changed.
    """
    starts = [address - address % mmap.PAGESIZE for address in addresses]
    sizes = [address + len(code) - start for address, start in zip(addresses, starts, strict=True)]
    pages, opened = list(zip(starts, sizes, strict=True)), 0
    try:
        for start, size in pages:  # all of them before anything is written
            _protect(start, size, _READ | _WRITE | _EXECUTE)
            opened += 1
        for address in addresses:
            ctypes.memmove(address, code, len(code))
    finally:
        for start, size in pages[:opened]:
            with contextlib.suppress(OSError):  # it stays writable, and what was written stays too
                _protect(start, size, _READ | _EXECUTE)


def _protect(address: int, size: int, protection: int) -> None:
    mprotect = ctypes.CDLL(None, use_errno=True).mprotect
    mprotect.argtypes, mprotect.restype = (ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int), ctypes.c_int
    if mprotect(address, size, protection):
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
