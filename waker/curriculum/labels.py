"""What tables and figures call a sampler: its name, and how its credit differs from the published one where it does.

WAKER's samplers choose by an estimate of the model's error: as published, the ensemble's disagreement about the steps
imagined from each start state, over the whole horizon. Settings of the explorer credit something else, and then the
sampler is a variant and must not be read as the published one. Called where runs are loaded to be shown
(:mod:`waker.analysis.data`), by ``waker compare`` and by the training loop.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

CREDITED = ("waker-m", "waker-r")
"""Samplers that choose by the credited error."""
_VARIANT = re.compile(r"( \((replayed credit|credit of \d+ steps?)\))?( \[.*\])?( \(adapted\))?$")


def sampler_label(sampler: str, explorer: Mapping[str, Any]) -> str:
    """``waker-m``, or ``waker-m (replayed credit)``, ``waker-m (credit of 5 steps)``.

    Args:
        sampler: its name in the settings.
        explorer: the explorer's settings; what an older run lacks had the published value.
    """
    if sampler not in CREDITED:
        return sampler
    if explorer.get("credit", "imagined") == "replayed":
        return f"{sampler} (replayed credit)"
    if steps := explorer.get("credit_steps", 0):
        return f"{sampler} (credit of {steps} step{'s' if steps != 1 else ''})"
    return sampler


def variant_label(label: str, name: str) -> str:
    """The label of a variant of the settings: ``waker-m [c2]``; of none, the label itself."""
    return f"{label} [{name}]" if name else label


def adapted_label(label: str) -> str:
    """The label of policies that ``waker adapt`` trained for tasks that the run had policies for: ``dr (adapted)``."""
    return f"{label} (adapted)"


def is_adapted(label: str) -> bool:
    """Whether a label is one of :func:`adapted_label`."""
    return label.endswith(adapted_label(""))


def sampler_name(label: str) -> str:
    """The name in the settings, of a label of :func:`sampler_label`."""
    return _VARIANT.sub("", label)


def called(name: str, labels: Iterable[str]) -> list[str]:
    """Those of ``labels`` that a user means by ``name``: the label itself, else every variant of the sampler."""
    known = list(dict.fromkeys(labels))
    return [name] if name in known else [label for label in known if sampler_name(label) == name]
