"""What foreign code must leave alone in torch, as all code of a process shares it: looked at before and after its call.

Threads, the default dtype and device, whether gradients are recorded, autocasting, anomaly detection, deterministic
algorithms, the precision of products, and the global random numbers. What was changed is put back and told: the
learner's numbers depend on it. (Not what was drawn: who draws would draw the same again.) A whole look is made where
environments, samplers and tasks are made, at resets, and at an episode's first step; at later steps it leaves out what
takes most of its time, the default device and whether something was drawn. Where nobody has imported torch, as in
environment processes, there is nothing to look at.
"""

from __future__ import annotations

import sys
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

from waker_envs.foreign import Told


class _Global(NamedTuple):
    name: str
    get: Callable[[Any], Any]
    put: Callable[[Any, Any], Any]


_SETTINGS = (
    _Global("number of threads", lambda t: t.get_num_threads(), lambda t, v: t.set_num_threads(v)),
    _Global("default dtype", lambda t: t.get_default_dtype(), lambda t, v: t.set_default_dtype(v)),
    _Global("recording of gradients", lambda t: t.is_grad_enabled(), lambda t, v: t.set_grad_enabled(v)),
    _Global(
        "choice of deterministic algorithms",
        lambda t: (t.are_deterministic_algorithms_enabled(), t.is_deterministic_algorithms_warn_only_enabled()),
        lambda t, v: t.use_deterministic_algorithms(v[0], warn_only=v[1]),
    ),
    _Global(
        "precision of products",
        lambda t: t.get_float32_matmul_precision(),
        lambda t, v: t.set_float32_matmul_precision(v),
    ),
    _Global(
        "autocasting on a CPU",
        lambda t: t.is_autocast_enabled("cpu"),
        lambda t, v: t.set_autocast_enabled("cpu", v),
    ),
    _Global("detection of anomalies", lambda t: t.is_anomaly_enabled(), lambda t, v: t.autograd.set_detect_anomaly(v)),
    # None is a CPU, and not the mode of torch functions that a CPU by name would be: compilers stumble over it.
    _Global(
        "default device",
        lambda t: t.get_default_device(),
        lambda t, v: t.set_default_device(None if v.type == "cpu" else v),
    ),
)


_OWN = ": it should have a generator of its own"


@contextmanager
def torch_unchanged(what: str, whole: bool = True) -> Iterator[None]:
    """A block of foreign code that is to leave torch's globals as they are; where it does not, they are put back.

    Args:
        what: is called; begins the line that tells of a change.
        whole: look at all there is, and not only at what a look costs little of.
    """
    torch = sys.modules.get("torch")
    if torch is None or not hasattr(torch, "get_rng_state"):  # none, or one that is just being imported
        yield
        return
    settings = _SETTINGS if whole else _SETTINGS[:-1]  # without the default device
    before = [entry.get(torch) for entry in settings]
    seed, chance = torch.initial_seed(), torch.get_rng_state()
    try:
        yield
    finally:
        for entry, was in zip(settings, before, strict=True):
            if (now := entry.get(torch)) != was:
                entry.put(torch, was)
                _tell(what, f"the {entry.name} from {_said(was)} to {_said(now)}; put back to {_said(was)}")
        if torch.initial_seed() != seed:
            torch.set_rng_state(chance)
            _tell(what, f"the global random numbers, by a seed; put back, as they are the learner's{_OWN}")
        elif whole and not torch.equal(torch.get_rng_state(), chance):
            _tell(what, f"the global random numbers, by drawing from them; they are the learner's{_OWN}")


def _said(value: Any) -> str:
    return str(value[0] if isinstance(value, tuple) else value)


def _tell(what: str, changed: str) -> None:
    warnings.warn(f"{what} changed of torch {changed}", Told, stacklevel=4)
