"""The device that a run computes on, and how many threads it takes there."""

from __future__ import annotations

import os

import torch

from waker.errors import UserError

_KINDS = ("cpu", "cuda", "cuda:N", "mps", "xpu")
"""What a device may be called. None is offered as the nearest: who asks for a `gpu` does not mean the `cpu`."""


def use_threads(device: str) -> None:
    """One torch thread on the CPU unless ``OMP_NUM_THREADS`` says otherwise.

    Small matrices lose with two threads when another process is busy, and the sums of a resumed run must be cut in
    the same places as those of the uninterrupted one.
    """
    if torch.device(device).type == "cpu":
        asked = (os.environ.get("OMP_NUM_THREADS") or "1").split(",")[0].strip()  # a list: the outermost level first
        if not asked.isdecimal() or int(asked) < 1:
            raise UserError(f"OMP_NUM_THREADS is {asked!r}; it must be a number of threads, or not be set")
        torch.set_num_threads(int(asked))


def checked_device(name: str) -> str:
    """The device's name.

    Raises:
        UserError: torch has no such device here.
    """
    try:
        device = torch.device(name)
        if device.type == "meta":
            raise UserError(f"device {name!r} cannot be used: it holds no numbers; 'cpu' always can")
        torch.empty(1, device=device)
    except (RuntimeError, AssertionError) as error:
        reason = str(error).splitlines()[0]
        if name.split(":")[0] not in _KINDS:
            raise UserError(f"unknown device {name!r} (valid: {', '.join(_KINDS)})") from error
        build = torch.version.cuda is None and name.startswith("cuda")
        cure = "; a CUDA build of torch is needed, see https://pytorch.org/get-started/locally" if build else ""
        raise UserError(f"device {name!r} cannot be used ({reason}); 'cpu' always can{cure}") from error
    return name
