"""The run folder: where a run's files lie, whose settings it belongs to, and that one process writes it at a time.

``runs/<domain>/<sampler>/<explorer>/seed-<n>/`` holds ``config.yaml`` (resolved settings, git commit, versions, θ
names), ``metrics.jsonl``, the tables (``episodes.parquet`` …), ``checkpoints/``, ``replay/`` and ``wandb/``. The same
command finds the same folder and goes on, one that asks for more steps beyond its end; a folder of other settings is
refused. ``config.yaml`` has a checksum, and every checkpoint a copy of it: an edited one is refused in a line that says
how to edit it, a lost one is written anew.
"""

from __future__ import annotations

import dataclasses
import fcntl
import os
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from importlib import metadata
from pathlib import Path
from typing import IO, Any

from waker.config.same_run import difference, growth
from waker.config.saved import config_from, plain
from waker.config.schema import Config
from waker.errors import UserError
from waker.names import path_part
from waker.storage.files import SaveFailed, clear_unfinished, is_open_as, saving
from waker.storage.manifest import recover_settings, told_of_copies
from waker.storage.sealed import read_yaml, write_yaml
from waker_envs.file_source import SourceError, full_source, is_source, source_name

SPACE_FILE = "theta_space.json"
"""In a run folder: θ's names and units, points, DR weights and the experts' hard set."""
FILM_FILE = "filmstrip.npz"
"""In a run folder: real and imagined pictures."""
_PACKAGES = ("waker", "torch", "numpy", "gymnasium", "minigrid")


def domain_of(env_id: str) -> str:
    """``waker/GridHazards-v0`` → ``gridhazards``, ``/home/me/cartpole.py:CartPole`` → ``cartpole``."""
    return source_name(env_id).split("/")[-1].rsplit("-v", 1)[0].lower()


def canonical(config: Config) -> Config:
    """The configuration with its environment's full id and full paths of files, whatever was asked for.

    A path that is stored means the same from wherever it is read.

    Raises:
        UnknownEnvError: no such environment.
        UserError: a sampler, explorer or logger of a file that does not exist.
    """
    import waker_envs  # here, as a report of saved rows needs no environments

    evaluation = config.evaluation
    if evaluation.reference:
        evaluation = dataclasses.replace(evaluation, reference=os.path.abspath(evaluation.reference))
    return dataclasses.replace(
        config,
        env=waker_envs.resolve_id(config.env),
        curriculum=dataclasses.replace(config.curriculum, sampler=_full("sampler", config.curriculum.sampler)),
        explorer=dataclasses.replace(config.explorer, name=_full("explorer", config.explorer.name)),
        evaluation=evaluation,
        sinks=tuple(_full("sink", name) for name in config.sinks),
    )


def _full(kind: str, name: str) -> str:
    """The name of a part, with its file's full path where it is of a file."""
    try:
        return full_source(name) if is_source(name) else name
    except SourceError as error:
        raise UserError(f"{kind} {name!r}: {error}") from error


def run_folder(root: Path, config: Config) -> Path:
    """Where the run of ``config`` lies under ``root``."""
    return root.joinpath(*map(path_part, _place(config)), f"seed-{config.seed}")


def _place(config: Config) -> tuple[str, str, str]:
    """Domain, sampler (with the variant's name) and explorer, as folders are called."""
    sampler = source_name(config.curriculum.sampler) + (f"+{config.name}" if config.name else "")
    return domain_of(config.env), sampler, source_name(config.explorer.name)


def git_commit(folder: Path = Path(__file__).parent) -> str | None:
    """The commit of the source tree, with ``+changes`` where it was edited; None outside its repository."""

    environment = {**os.environ, "GIT_OPTIONAL_LOCKS": "0"}  # looking must not get in the way of somebody's commit

    def git(*words: str) -> str:
        done = subprocess.run(["git", *words], cwd=folder, env=environment, capture_output=True, text=True, check=True)
        return done.stdout.strip()

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


class RunFolder:
    """An opened run folder.

    Attributes:
        path: the folder.
        config: its configuration (the one given, whose free settings win).
        growth: what is asked for beyond the settings in the folder; see :func:`waker.config.same_run.growth`.
        lock: the open lock file while the folder is held, by :meth:`locked` of this object or of another.
    """

    def __init__(
        self,
        path: Path,
        config: Config,
        arithmetic: Mapping[str, Any] | None = None,
        growth: Mapping[str, tuple[int, int]] | None = None,
    ) -> None:
        self.path, self.config, self._arithmetic = path, config, arithmetic
        self.growth = dict(growth or {})
        self.lock: IO[str] | None = None

    @classmethod
    def open(
        cls,
        path: Path,
        config: Config,
        theta_names: tuple[str, ...],
        tasks: tuple[str, ...],
        spaces: Mapping[str, Any] | None = None,
        how: Mapping[str, Any] | None = None,
    ) -> RunFolder:
        """Make the folder, or take the one that is there if it belongs to the same settings.

        Args:
            path: the folder.
            config: the run's settings.
            theta_names, tasks, spaces: of its environments; kept to tell when they have changed since.
            how: what it computes with (``arithmetic``), why its updates are compiled or not (``compiling``), whose
                policies act in held-out episodes (``reference``): the same ones may have been moved; and what its
                plug-ins are set to, defaults included (``own``).

        Raises:
            UserError: it belongs to other settings; the message names all that differ. Or its settings are
                lost (:func:`recover_settings`).
            SaveFailed: it cannot be made.
        """
        recover_settings(path)
        if (path / "config.yaml").exists():
            there, asked = plain(read_config(path)), plain(config)
            reference = (how or {}).get("reference")
            if reference and read_record(path).get("reference") == reference:
                there["evaluation"]["reference"] = asked["evaluation"]["reference"]
            elif relative := there["evaluation"]["reference"]:  # of an earlier version, which kept it as it was given
                there["evaluation"]["reference"] = os.path.abspath(relative)
            if changed := difference(there, asked):
                other = "give this one a --name, or choose another folder for runs"
                raise UserError(f"{path} belongs to other settings: {changed}; {other}")
            return cls(path, config, (how or {}).get("arithmetic"), growth(there, asked))
        record = {
            "config": plain(config),
            "git": git_commit(),
            "versions": versions(),
            "theta": list(theta_names),
            "tasks": list(tasks),
            "spaces": dict(spaces or {}),
        }
        record |= {name: dict(value) for name, value in (how or {}).items() if value}
        with saving(f"settings in {path}"):
            path.mkdir(parents=True, exist_ok=True)
            write_yaml(path / "config.yaml", record)
        return cls(path, config)

    def going_on(self, step: int = 0, exact: bool = True) -> None:
        """Record what a run that goes on computes with, and how far, from now on; call it with the folder locked.

        ``arithmetic`` in ``config.yaml`` is what was used last, and what the next resume stays with; what was used
        before is in ``arithmetic_before``, oldest first. What was asked for later is in ``extended``, oldest first, and
        in the settings; a reference that was moved is there under its new place.

        Args:
            step: from which it goes on.
            exact: whether all that it does from there is what a run does that was asked for as much from the start.

        Raises:
            SaveFailed: it cannot be written.
        """
        record, used = read_record(self.path), dict(self._arithmetic or {})
        before, last = dict(record), record.get("arithmetic")
        if used and last != used:
            if last:
                record["arithmetic_before"] = [*record.get("arithmetic_before", []), last]
            record["arithmetic"] = used
        if self.growth:
            entry = {"step": step, "exact": exact, **{key: list(pair) for key, pair in self.growth.items()}}
            grown = {key.removeprefix("train."): now for key, (_, now) in self.growth.items()}
            record["extended"] = [*record.get("extended", []), entry]
            record["config"] = _changed(record["config"], "train", grown)
        if record["config"].get("evaluation", {}).get("reference", "") != self.config.evaluation.reference:
            place = {"reference": self.config.evaluation.reference}
            record["config"] = _changed(record["config"], "evaluation", place)
        if record != before:
            with saving(f"settings in {self.path}"):
                write_yaml(self.path / "config.yaml", record)

    @property
    def name(self) -> str:
        """``gridhazards/waker-m/plan2explore/seed-0``."""
        return "/".join([*_place(self.config), f"seed-{self.config.seed}"])

    @property
    def columns(self) -> dict[str, Any]:
        """The columns that every row of this run begins with."""
        c = self.config
        return {
            "run": self.name,
            "domain": domain_of(c.env),
            "sampler": source_name(c.curriculum.sampler),
            "explorer": source_name(c.explorer.name),
            "seed": c.seed,
        }

    def lose(self, entry: Mapping[str, Any]) -> None:
        """Record in ``config.yaml`` what damage took from the run (``lost``); call it with the folder locked.

        Raises:
            SaveFailed: it cannot be written.
        """
        record = read_record(self.path)
        if entry not in record.get("lost", []):
            record["lost"] = [*record.get("lost", []), dict(entry)]
            with saving(f"settings in {self.path}"):
                write_yaml(self.path / "config.yaml", record)

    @contextmanager
    def locked(self) -> Iterator[IO[str]]:
        """Hold the folder against other processes; the system lets go even when this process is killed.

        Comes before anything is written into the folder, which is made if need be.

        Raises:
            UserError: another process holds it, or it cannot be held.
            SaveFailed: the folder or its lock cannot be made.
        """
        with saving(f"the lock of {self.path}"):
            self.path.mkdir(parents=True, exist_ok=True)
            file = open(self.path / ".lock", "w")  # noqa: SIM115 — held below
        with file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise UserError(f"another process is working in {self.path}") from None
            except OSError as error:
                raise UserError(f"{self.path} cannot be locked: {error.strerror}") from error
            clear_unfinished(self.path)
            self.lock = file
            try:
                yield file
            finally:
                self.lock = None

    def check_there(self, *gone: Path | None) -> None:
        """Look whether the folder is still the one that was locked, before anything is written to it.

        Args:
            gone: files of the run that their writers miss.

        Raises:
            SaveFailed: it was removed, moved or replaced, or files in it were.
        """
        missing = [path for path in gone if path is not None]
        if not (self.path / "config.yaml").is_file():
            missing.insert(0, self.path / "config.yaml")
        if self.lock is not None and not is_open_as(self.lock, self.path / ".lock"):
            missing.insert(0, self.path / ".lock")
        if missing:
            names = ", ".join(str(path.relative_to(self.path)) for path in missing[:3])
            raise SaveFailed(
                f"cannot save in {self.path}: removed or replaced during the run: {names}"
                f"{' and more' if len(missing) > 3 else ''}; what was not in an earlier checkpoint is lost"
            )


def _changed(config: Mapping[str, Any], section: str, values: Mapping[str, Any]) -> dict[str, Any]:
    return {**config, section: {**config.get(section, {}), **values}}


def read_record(path: Path) -> dict[str, Any]:
    """``config.yaml`` of a run folder: ``config``, ``git``, ``versions``, ``arithmetic``, ``theta``, ``tasks`` …

    Raises:
        UserError: no run folder, or a file that cannot be read.
    """
    file = path / "config.yaml"
    if not file.is_file():
        raise UserError(f"{path} is not a run folder: it has no config.yaml{told_of_copies(path)}")
    try:
        record = read_yaml(file)
    except UserError as error:
        raise type(error)(f"{error}; put back a copy of this file") from error
    if not isinstance(record.get("config"), dict):
        raise UserError(f"{file} cannot be read: it has no section 'config'")
    for key in ("theta", "tasks"):
        names = record.get(key, [])
        if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
            raise UserError(f"{file} cannot be read: {key!r} is no list of names")
    return record


def read_config(path: Path) -> Config:
    """The settings of a run folder.

    Raises:
        UserError: see :func:`read_record`; or a setting that does not exist.
    """
    try:
        config = config_from(read_record(path)["config"])
    except UserError as error:
        where = "" if str(path) in str(error) else f"{path / 'config.yaml'}: "
        raise UserError(f"{where}{error}") from error
    from waker_envs import UnknownEnvError

    try:
        return canonical(config)  # once the short name was saved where a script had given it
    except UnknownEnvError:  # told when it is made
        return config
