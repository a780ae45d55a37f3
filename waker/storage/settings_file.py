"""Settings from a file: a run's ``config.yaml``, or one of a user's own. Called by the command line and the public API.

A file of one's own names a preset to start from (default: ``laptop``) and what differs from it, in sections or by
dotted or short names:

.. code-block:: yaml

    preset: tiny
    env: GridHazards
    sampler: dr
    train: {steps: 400}
    model.deter: 32
"""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from waker.config.presets import DEFAULT, preset
from waker.config.saved import config_from
from waker.config.schema import Config
from waker.errors import UserError
from waker.storage.run_folder import canonical
from waker.storage.sealed import read_yaml


def read_settings(path: Path) -> Config:
    """The settings in a file.

    Args:
        path: the file, or a run folder, whose ``config.yaml`` is meant.

    Raises:
        UserError: there is no such file, or it holds no settings; the message names what is wrong in it.
        UnknownEnvError: it names an environment that does not exist.
    """
    file = path / "config.yaml" if path.is_dir() else path
    if not file.is_file():
        near = difflib.get_close_matches(file.name, [p.name for p in file.parent.glob("*.y*ml")], n=1)
        raise UserError(f"no settings file {str(file)!r}" + (f"; did you mean {near[0]!r}?" if near else ""))
    content = read_yaml(file)
    if {"domains", "samplers"} <= content.keys() or {"domains", "seeds"} <= content.keys():
        raise UserError(f"{file} is a study of several runs, not the settings of one: `waker sweep {file}` makes them")
    try:
        found = config_from(content["config"]) if isinstance(content.get("config"), Mapping) else _of_preset(content)
        return canonical(found)
    except UserError as error:
        raise UserError(f"{file}: {error}") from error


def _of_preset(content: Mapping[str, Any]) -> Config:
    import waker_envs

    changes = {str(key): value for key, value in content.items()}
    name, env = changes.pop("preset", DEFAULT), changes.get("env")
    curriculum = changes.get("curriculum")
    of_section = curriculum.get("sampler") if isinstance(curriculum, Mapping) else None
    sampler = changes.get("sampler") or changes.get("curriculum.sampler") or of_section
    return preset(str(name), waker_envs.resolve_id(str(env)) if env else None, sampler).with_(**changes)
