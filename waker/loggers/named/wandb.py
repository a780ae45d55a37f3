"""Weights & Biases, imported when a run begins to log."""

from __future__ import annotations

import math
import netrc
import os
import re
import uuid
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from waker.errors import UserError
from waker.loggers.api import EVALUATION, METRICS_FILE
from waker.loggers.film import gif
from waker.loggers.registry import register_sink
from waker.names import printable
from waker.settings import Settings
from waker.storage.files import Damaged, atomic, saving, write_text
from waker.storage.metrics_file import JsonlSink, Metrics, read_metrics

_LONGEST = 128
"""Characters of a run's name that W&B takes."""


def wandb_mode() -> str:
    """``WANDB_MODE`` if set; online where an account is set up (``WANDB_API_KEY`` or ~/.netrc); else offline."""
    given = os.environ.get("WANDB_MODE")
    if given:
        return given
    try:
        known = netrc.netrc().authenticators("api.wandb.ai") is not None
    except (OSError, netrc.NetrcParseError):
        known = False
    return "online" if known or os.environ.get("WANDB_API_KEY") else "offline"


def wandb_id(folder: Path) -> str:
    """The id of a run folder's W&B run, kept in ``wandb/run-id``: ``w``, 8 random digits, and 8 that check them.

    Ids of 12 digits are of earlier versions and are taken as they are.

    Raises:
        Damaged: the file does not hold an id.
        SaveFailed: it cannot be written.
    """
    place = folder / "wandb" / "run-id"
    if not place.exists():
        digits = uuid.uuid4().hex[:8]
        with saving(f"the W&B id in {place}"):
            place.parent.mkdir(parents=True, exist_ok=True)
            write_text(place, f"w{digits}{zlib.crc32(digits.encode()):08x}")
    try:
        found = place.read_bytes().strip().decode("ascii", "replace")
    except OSError as error:
        raise UserError(f"{place} cannot be read: {error.strerror}") from error
    parts = re.fullmatch(r"w([0-9a-f]{8})([0-9a-f]{8})", found)
    if (parts and int(parts[2], 16) == zlib.crc32(parts[1].encode())) or re.fullmatch(r"[0-9a-f]{12}", found):
        return found
    raise Damaged(
        f"{place} is damaged: it holds no id of a W&B run; write the run's id (its W&B page has it) into it again, or "
        "remove the file to go on in a new W&B run"
    )


@dataclass(frozen=True)
class WandbSettings(Settings, section="sinks.wandb"):
    """What a run is called in W&B."""

    project: str = "waker"
    """The project."""
    group: str = ""
    """Runs of one group fold into one curve; empty = domain, sampler (with the variant's name) and explorer, so that
    seeds fold."""
    tags: tuple[str, ...] = ()
    """Tags."""
    name: str = ""
    """The run's name; empty = its group and seed."""


@register_sink("wandb")
class WandbSink:
    """One W&B run a run folder: its id is kept in ``wandb/run-id``, so that a resumed run continues it.

    A run continues where W&B has an account. Offline each process writes a piece of its own, and of pieces with one id
    ``wandb sync`` keeps the last (wandb/wandb issues 3841 and 5865); so the rows that a piece lacks, those before a
    resume, are logged into it again from ``metrics.jsonl``, and from ``wandb/evaluations.jsonl`` those of evaluations
    (films are not). Pieces are opened when a run begins or goes on: one that
    had been finished opens none.

    Args:
        folder: the run folder.
        name: of the run, ``gridhazards/waker-m/plan2explore/seed-0``.
        config: the resolved configuration.
        settings: what it is called in W&B.
    """

    needs = ("wandb",)
    Own = WandbSettings

    def __init__(
        self, folder: Path, name: str, config: Mapping[str, Any], settings: WandbSettings = WandbSettings()
    ) -> None:
        self._folder, self._name, self._config, self._settings = folder, name, dict(config), settings
        self.id = wandb_id(folder)
        self._evaluations = JsonlSink(folder / "wandb" / "evaluations.jsonl")
        self._run: Any = None

    def write(self, row: Metrics) -> None:
        if any(key.startswith(EVALUATION) for key in row):
            self._evaluations.write(row)
        self._log(row)

    def film(self, key: str, frames: NDArray[np.uint8], row: Metrics) -> None:
        """Log a film; see :class:`waker.loggers.api.FilmSink`."""
        import wandb

        place = self._folder / "wandb" / "film.gif"  # W&B copies it
        with atomic(place) as file:
            file.write(gif(frames))
        self._opened().log({key: wandb.Video(str(place), format="gif")}, step=int(row["updates"]))

    def _log(self, row: Metrics) -> None:
        # W&B keeps the first of two rows with one step: what a resumed run repeats is the same row.
        self._opened().log({k: v for k, v in row.items() if not isinstance(v, str)}, step=int(row["updates"]))

    def sync(self) -> dict[str, Any]:
        return {"evaluations": self._evaluations.sync()}

    def restore(self, state: Mapping[str, Any]) -> str:
        """Open the run; called once ``metrics.jsonl`` has been cut back. W&B drops repeated steps by itself."""
        told = self._evaluations.restore(state.get("evaluations", {}))
        if self._run is None:
            first = self._opened().starting_step
            files = [self._folder / METRICS_FILE, self._evaluations.path]
            rows = [row for file in files if file.is_file() for row in read_metrics(file)]
            for row in sorted(rows, key=lambda row: int(row["updates"])):
                if int(row["updates"]) >= first:  # W&B has the earlier ones; offline it has none
                    self._log({k: math.nan if v is None else v for k, v in row.items()})
        return told

    def close(self) -> None:
        self._evaluations.close()
        if self._run is not None:
            self._run.finish()

    def _opened(self) -> Any:
        if self._run is None:
            self._run = self._open()
        return self._run

    def _open(self) -> Any:
        import wandb  # only where it is asked for

        variant = self._settings.group or self._name.rpartition("/")[0]
        try:
            return wandb.init(
                project=self._settings.project,
                group=printable(variant, _LONGEST) if variant else None,
                tags=list(self._settings.tags) or None,
                name=printable(self._settings.name or self._name, _LONGEST),
                id=self.id,
                resume="allow",
                dir=str(self._folder),
                config=self._config,
                mode=wandb_mode(),  # type: ignore[arg-type]
                settings=wandb.Settings(silent=True, console="off"),
            )
        except wandb.errors.Error as error:
            raise UserError(f"W&B cannot be started: {error}; WANDB_MODE=offline needs no account") from error
