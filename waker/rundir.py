"""The run folder: where a run's files lie, whose settings it belongs to, and that one process writes it at a time.

``runs/<domain>/<sampler>/<explorer>/seed-<n>/`` holds ``config.yaml`` (resolved settings, git commit, versions, θ
names), ``metrics.jsonl``, the tables (``episodes.parquet`` …), ``checkpoints/``, ``replay/`` and ``wandb/``. The same
command finds the same folder and goes on; a folder of other settings is refused.
"""

from __future__ import annotations

import dataclasses
import fcntl
import json
import subprocess
import types
import typing
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from importlib import metadata
from pathlib import Path
from typing import Any, TypeVar

import yaml

from waker.config import Config
from waker.errors import UserError, unknown
from waker.files import saving, write_text

FREE_KEYS = ("device", "sinks", "train.save_every", "train.keep")
"""Settings that do not change what a run computes, only where or how it is kept: they may differ on a resume."""
_PACKAGES = ("waker", "torch", "numpy", "gymnasium", "minigrid")
T = TypeVar("T")


def domain_of(env_id: str) -> str:
    """``waker/GridHazards-v0`` → ``gridhazards``."""
    return env_id.split("/")[-1].rsplit("-v", 1)[0].lower()


def run_folder(root: Path, config: Config) -> Path:
    """Where the run of ``config`` lies under ``root``."""
    return root / domain_of(config.env) / config.curriculum.sampler / config.explorer.name / f"seed-{config.seed}"


def plain(config: Any) -> Any:
    """A configuration as nested dicts, lists and scalars, as YAML reads it back."""
    return json.loads(json.dumps(dataclasses.asdict(config)))


def config_from(data: Mapping[str, Any], kind: type[T] = Config, prefix: str = "") -> T:  # type: ignore[assignment]
    """The inverse of :func:`plain`.

    Raises:
        UserError: a key that ``kind`` does not have, with the nearest one, or a section that is not a mapping.
    """
    hints = typing.get_type_hints(kind)
    values: dict[str, Any] = {}
    for key, value in data.items():
        if key not in hints:
            raise unknown("setting", prefix + str(key), [prefix + name for name in hints])
        hint = hints[key]
        if dataclasses.is_dataclass(hint):
            if not isinstance(value, Mapping):
                raise UserError(f"setting {prefix + key!r} must be a section, not {value!r}")
            value = config_from(value, hint, f"{prefix}{key}.")  # type: ignore[arg-type]
        elif isinstance(value, list) and _is_tuple(hint):
            value = tuple(value)
        values[key] = value
    return kind(**values)


def _is_tuple(hint: Any) -> bool:
    options = typing.get_args(hint) if typing.get_origin(hint) in (typing.Union, types.UnionType) else (hint,)
    return any(typing.get_origin(option) is tuple for option in options)


def _flat(data: Any, prefix: str = "") -> dict[str, Any]:
    if isinstance(data, Mapping) and data:
        return {k: v for key, value in data.items() for k, v in _flat(value, f"{prefix}.{key}".strip(".")).items()}
    return {prefix: data}


def git_commit(folder: Path = Path(__file__).parent) -> str | None:
    """The commit of the source tree, with ``+changes`` where it was edited; None outside its repository."""

    def git(*words: str) -> str:
        return subprocess.run(["git", *words], cwd=folder, capture_output=True, text=True, check=True).stdout.strip()

    try:
        git("ls-files", "--error-unmatch", Path(__file__).name)  # not some repository that an installed copy lies in
        return git("rev-parse", "HEAD") + ("+changes" if git("status", "--porcelain") else "")
    except (OSError, subprocess.CalledProcessError):
        return None


def versions() -> dict[str, str]:
    """Installed versions of the packages that results depend on."""
    found = {}
    for name in _PACKAGES:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return found


def difference(saved: Mapping[str, Any], now: Mapping[str, Any]) -> str | None:
    """The first setting that differs, with both values; None if none does but :data:`FREE_KEYS`."""
    old, new = _flat(saved), _flat(now)
    for key in [*new, *(k for k in old if k not in new)]:
        if key not in FREE_KEYS and old.get(key) != new.get(key):
            return f"{key} is {old.get(key)!r} there and {new.get(key)!r} now"
    return None


class RunFolder:
    """An opened run folder.

    Attributes:
        path: the folder.
        config: its configuration (the one given, whose free settings win).
    """

    def __init__(self, path: Path, config: Config) -> None:
        self.path, self.config = path, config

    @classmethod
    def open(cls, path: Path, config: Config, theta_names: tuple[str, ...], tasks: tuple[str, ...]) -> RunFolder:
        """Make the folder, or take the one that is there if it belongs to the same settings.

        Raises:
            UserError: it belongs to other settings; the message names the first that differs.
            SaveFailed: it cannot be made.
        """
        if (path / "config.yaml").exists():
            changed = difference(plain(read_config(path)), plain(config))
            if changed:
                raise UserError(f"{path} belongs to other settings: {changed}; choose another folder for runs")
            return cls(path, config)
        record = {
            "config": plain(config),
            "git": git_commit(),
            "versions": versions(),
            "theta": list(theta_names),
            "tasks": list(tasks),
        }
        with saving(f"settings in {path}"):
            path.mkdir(parents=True, exist_ok=True)
            write_text(path / "config.yaml", yaml.safe_dump(record, sort_keys=False, allow_unicode=True))
        return cls(path, config)

    @property
    def name(self) -> str:
        """``gridhazards/waker-m/plan2explore/seed-0``."""
        c = self.config
        return f"{domain_of(c.env)}/{c.curriculum.sampler}/{c.explorer.name}/seed-{c.seed}"

    @property
    def columns(self) -> dict[str, Any]:
        """The columns that every row of this run begins with."""
        c = self.config
        return {
            "run": self.name,
            "domain": domain_of(c.env),
            "sampler": c.curriculum.sampler,
            "explorer": c.explorer.name,
            "seed": c.seed,
        }

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Hold the folder against other processes; the system lets go even when this process is killed.

        Raises:
            UserError: another process holds it.
        """
        with open(self.path / ".lock", "w") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise UserError(f"another process is working in {self.path}") from None
            yield


def read_record(path: Path) -> dict[str, Any]:
    """``config.yaml`` of a run folder: ``config``, ``git``, ``versions``, ``theta``, ``tasks``.

    Raises:
        UserError: no run folder, or a file that cannot be read.
    """
    file = path / "config.yaml"
    if not file.is_file():
        raise UserError(f"{path} is not a run folder: it has no config.yaml")
    try:
        record = yaml.safe_load(file.read_text())
    except yaml.YAMLError as error:
        raise UserError(f"{file} cannot be read: {' '.join(str(error).split())}") from error
    if not isinstance(record, dict) or not isinstance(record.get("config"), dict):
        raise UserError(f"{file} cannot be read: it has no section 'config'")
    return record


def read_config(path: Path) -> Config:
    """The settings of a run folder.

    Raises:
        UserError: see :func:`read_record`; or a setting that does not exist.
    """
    return config_from(read_record(path)["config"])
