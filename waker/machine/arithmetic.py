"""What a run computes with: who multiplies its matrices and on which processor, recorded and kept on a resume.

Called by :mod:`waker.training.build` and :mod:`waker.training.adapt` before anything is computed. The choice is this
process's (:func:`waker.machine.products.use`); the record is ``arithmetic`` in a run folder's ``config.yaml``, or in
the ``tasks.yaml`` of policies adapted later. What is resumed goes on with the products that it had when it was
stopped, so that it stays bit for bit what it was; what cannot stay, or has changed with the machine, is told.
"""

from __future__ import annotations

import platform
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from waker.config.schema import Config
from waker.machine import mkl_dispatch, products
from waker.machine.precision import use_tf32

EARLIER = {"products": "blas"}
"""The record of runs that were made before there was one."""
_NAMES = {"blas": "torch's BLAS", "onednn": "oneDNN"}


def processor() -> str:
    """The processor's model name."""
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.is_file():
        for line in cpuinfo.read_text(encoding="utf-8", errors="replace").splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    return platform.processor() or platform.machine()


def settle(
    config: Config, recorded: Mapping[str, Any] | None = None, advise: bool = True
) -> tuple[dict[str, Any], list[str]]:
    """Choose who multiplies from now on in this process, as ``train.products`` says.

    ``auto``: as recorded; for a new run the faster on this processor, by a measurement of 0.1 s.

    Args:
        config: the run's settings.
        recorded: what was computed with when it was stopped; None = it begins now.
        advise: name the setting that would be faster: where there is such a setting.

    Returns:
        The record of what is used, and a line for people about each thing that is not as recorded.

    Raises:
        UserError: ``onednn`` is asked for and not there.
    """
    notes: list[str] = []
    products.use(_way(config, recorded, notes if advise else None))
    use_tf32(config.train.precision == "tf32")
    now = {
        "products": products.used(),
        "processor": processor(),
        "instructions": torch.backends.cpu.get_cpu_capability(),
        "mkl_as_intel": mkl_dispatch.believes(),
    }
    if recorded is not None:
        notes += _changes(recorded, now)
    return now, notes


def _way(config: Config, recorded: Mapping[str, Any] | None, notes: list[str] | None) -> products.Way:
    asked = config.train.products
    if torch.device(config.device).type != "cpu":
        return "blas"
    if asked != "auto":
        return asked
    if recorded is None:
        return products.fastest()
    if recorded.get("products") != "onednn":
        if notes is not None and products.fastest() == "onednn":
            kept = "products stay with torch's BLAS, as they were"
            notes.append(f"{kept}; oneDNN is faster here (--train.products onednn goes over to it)")
        return "blas"
    if not products.has_onednn():
        return "blas"  # told as a change
    return "onednn"


def _changes(then: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    """One line a change: none of them is an error, and each may change the last digits of what is computed."""
    machine = [f"{r.get('processor')} ({r.get('instructions')})" for r in (then, now)]
    lines = []
    if "processor" in then and machine[0] != machine[1]:
        lines.append(f"computed on a {machine[0]} so far and on a {machine[1]} now")
    if then["products"] != now["products"]:
        before, after = (_NAMES.get(r["products"], r["products"]) for r in (then, now))
        lines.append(f"products were by {before} and are by {after}")
    if then.get("mkl_as_intel", False) != now["mkl_as_intel"]:
        lines.append(f"{mkl_dispatch.SWITCH} was {'off' if now['mkl_as_intel'] else 'on'} so far")
    return [f"{line}: numbers may differ in their last digits from uninterrupted ones" for line in lines]
