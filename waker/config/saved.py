"""A configuration as plain data and back: what ``config.yaml`` of a run folder holds, and how older ones are read."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from typing import Any

from waker.config.schema import Config
from waker.settings import from_plain

_WAS: Mapping[tuple[str, str], Mapping[Any, str]] = {("train", "compile"): {False: "off", True: "compile"}}
"""Values that settings once had (YAML also reads a plain ``off`` as false), and what they are called now."""

_OWN_WAS: Mapping[tuple[str, Any], str] = {("of", "transition_loss"): "transition-loss"}
"""Likewise of samplers' own settings (``learning-progress``, ``alp-gmm``)."""


def plain(config: Any) -> Any:
    """A configuration as nested dicts, lists and scalars, as YAML reads it back."""
    return json.loads(json.dumps(dataclasses.asdict(config)))


def config_from(data: Mapping[str, Any]) -> Config:
    """The inverse of :func:`plain`, of an older version's data too.

    Raises:
        UserError: see :func:`waker.settings.from_plain`.
    """
    data = dict(data)
    for (section, key), now in _WAS.items():
        values = data.get(section)
        if isinstance(values, Mapping) and isinstance(values.get(key), bool):
            data[section] = {**values, key: now[values[key]]}
    curriculum = data.get("curriculum")
    if isinstance(curriculum, Mapping) and isinstance(own := curriculum.get("settings"), Mapping):
        now = {name: _OWN_WAS.get((name, value), value) for name, value in own.items()}
        data["curriculum"] = {**curriculum, "settings": now}
    return from_plain(Config, data)
