"""Where metrics go: JSON lines (:mod:`waker.storage.metrics_file`), Weights & Biases, TensorBoard.

An update's metrics are 0-dim tensors that stay on the device: :class:`Means` adds them up there and moves one
vector to the host when a row is due. W&B and TensorBoard are imported only by the sinks that use them.
"""

from __future__ import annotations

import importlib.util
import math
import netrc
import os
import re
import uuid
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import Tensor

from waker.errors import UserError
from waker.names import printable
from waker.storage.files import Damaged, saving, write_text
from waker.storage.metrics_file import JsonlSink, Metrics, read_metrics
from waker_envs.foreign import foreign, leniently, reason_of

METRICS_FILE = "metrics.jsonl"
_WANDB_LONGEST = 128
"""Characters of a run's name that W&B takes."""


class Means:
    """Means of metrics over the updates since the last row, accumulated where the tensors are.

    Metrics that come together (one mapping's keys) form one vector: an update costs a concatenation and an
    addition, and no synchronisation. Sums are float64: of finite metrics they are finite. The entries of a metric that
    is itself a vector become ``key/<label>``.

    Args:
        labels: what the entries of a metric are called, asked by the metric's key; where it names another number of
            them than there are, they are numbered.
    """

    def __init__(self, labels: Callable[[str], Sequence[str]] = lambda key: ()) -> None:
        self._labels = labels
        self._sums: dict[tuple[str, ...], tuple[Tensor, int]] = {}

    def add(self, metrics: Mapping[str, Tensor | float]) -> None:
        """Add one update's metrics: 0-dim tensors or vectors of one device, or plain numbers."""
        if not metrics:
            return
        keys: list[str] = []
        parts: list[Tensor] = []
        for key, value in metrics.items():
            tensor = value.detach() if isinstance(value, Tensor) else torch.tensor(float(value), dtype=torch.float64)
            keys += [key] if tensor.ndim == 0 else self._keys(key, tensor.numel())
            parts.append(tensor.reshape(-1).to(torch.float64))
        vector = torch.cat(parts)
        total, count = self._sums.get(tuple(keys), (torch.zeros_like(vector), 0))
        self._sums[tuple(keys)] = (total.to(vector.device) + vector, count + 1)

    def _keys(self, key: str, n: int) -> list[str]:
        names = self._labels(key)
        return [f"{key}/{entry}" for entry in (names if len(names) == n else range(n))]

    def take(self) -> dict[str, float]:
        """The means, on the host; then start anew."""
        found: dict[str, float] = {}
        for keys, (total, count) in self._sums.items():
            found.update(zip(keys, (total / count).tolist(), strict=True))
        self._sums.clear()
        return found

    def state_dict(self) -> dict[str, Any]:
        """What has been added since the last row."""
        return {"sums": [[list(k), total.cpu(), count] for k, (total, count) in self._sums.items()]}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continue a row that was under way; its sums move to the metrics' device at the next addition."""
        self._sums = {tuple(keys): (total, count) for keys, total, count in state["sums"]}


class NotFinite:
    """Tells of metrics that are not finite, of each once, whatever its name: in a file they are null."""

    def __init__(self) -> None:
        self._told: set[str] = set()

    def line(self, row: Metrics) -> str:
        """One line about those of ``row`` that nothing was said of yet: key, step, where from; empty if there are none.

        Args:
            row: metrics, with ``step`` and ``updates``.
        """
        found = [k for k, v in row.items() if isinstance(v, float) and not math.isfinite(v) and k not in self._told]
        if not found:
            return ""
        self._told.update(found)
        found.sort(key=lambda key: not _of_rewards(key))  # what others are made of first
        more = f" (and {len(found) - 1} more: {', '.join(found[1:4])}{' …' * (len(found) > 4)})" if found[1:] else ""
        where = f"at step {row['step']:,}, update {row['updates']:,}"
        return f"{found[0]}{more} is not finite {where}, and null in metrics.jsonl: {_source(found[0])}"


def _of_rewards(key: str) -> bool:
    return any(part in key for part in ("reward", "return", "critic"))


def _source(key: str) -> str:
    """What a metric that is not finite can come from."""
    largest, squared = "3e38, the largest float32", "1e19, whose square is no float32"
    diverged = "training may have diverged (try a lower learning rate)"
    if key.startswith("episode/"):
        return f"the environment's rewards add up to more than {largest}"
    if _of_rewards(key):
        return f"rewards may exceed {squared}, or {diverged}"
    return f"observations may exceed {squared}, a loss weight may be too large, or {diverged}"


class Sink(Protocol):
    """Receives metric rows."""

    def write(self, row: Metrics) -> None:
        """One row; ``step`` and ``updates`` are among its keys."""

    def sync(self) -> dict[str, Any]:
        """Make what was written durable; the state that a checkpoint keeps."""

    def restore(self, state: Mapping[str, Any]) -> str:
        """Forget rows after the checkpoint that ``state`` belongs to (empty = all rows).

        Returns:
            One line about rows before it that are missing; empty where none are.
        """

    def close(self) -> None:
        """Let go of files and connections."""


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


class WandbSink:
    """One W&B run a run folder: its id is kept in ``wandb/run-id``, so that a resumed run continues it.

    A run continues where W&B has an account. Offline each process writes a piece of its own, and of pieces with one id
    ``wandb sync`` keeps the last (wandb/wandb issues 3841 and 5865); so the rows that a piece lacks, those before a
    resume, are logged into it again from ``metrics.jsonl``. Pieces are opened when a run begins or goes on: one that
    had been finished opens none.

    Args:
        folder: the run folder.
        name: shown in W&B.
        config: the resolved configuration.
    """

    def __init__(self, folder: Path, name: str, config: Mapping[str, Any]) -> None:
        self._folder, self._name, self._config = folder, name, dict(config)
        self.id = wandb_id(folder)
        self._run: Any = None

    def write(self, row: Metrics) -> None:
        if self._run is None:
            self._run = self._open()
        # W&B keeps the first of two rows with one step: what a resumed run repeats is the same row.
        self._run.log({k: v for k, v in row.items() if not isinstance(v, str)}, step=int(row["updates"]))

    def sync(self) -> dict[str, Any]:
        return {}

    def restore(self, state: Mapping[str, Any]) -> str:
        """Open the run; called once ``metrics.jsonl`` has been cut back. W&B drops repeated steps by itself."""
        if self._run is None:
            self._run = run = self._open()
            metrics = self._folder / METRICS_FILE
            for row in read_metrics(metrics) if metrics.is_file() else []:
                if int(row["updates"]) >= run.starting_step:  # W&B has the earlier ones; offline it has none
                    self.write({k: math.nan if v is None else v for k, v in row.items()})
        return ""

    def close(self) -> None:
        if self._run is not None:
            self._run.finish()

    def _open(self) -> Any:
        import wandb  # an edge of the system: imported only where it is asked for

        try:
            return wandb.init(
                project="waker",
                name=printable(self._name, _WANDB_LONGEST),
                id=self.id,
                resume="allow",
                dir=str(self._folder),
                config=self._config,
                mode=wandb_mode(),  # type: ignore[arg-type]
                settings=wandb.Settings(silent=True, console="off"),
            )
        except wandb.errors.Error as error:
            raise UserError(f"W&B cannot be started: {error}; WANDB_MODE=offline needs no account") from error


class TensorBoardSink:
    """Event files in one folder; a resume hides what came after its checkpoint."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._writer: Any = None
        self._last = 0
        self._purge: int | None = None

    def write(self, row: Metrics) -> None:
        if self._writer is None:
            from torch.utils.tensorboard import SummaryWriter  # needs the tensorboard package

            self._writer = SummaryWriter(str(self.folder), purge_step=self._purge)
        self._last = int(row["updates"])
        for key, value in row.items():
            if not isinstance(value, str):
                self._writer.add_scalar(key, value, self._last)

    def sync(self) -> dict[str, Any]:
        if self._writer is not None:
            self._writer.flush()
        return {"updates": self._last}

    def restore(self, state: Mapping[str, Any]) -> str:
        self._last = int(state.get("updates", 0))
        self._purge = self._last + 1
        return ""

    def close(self) -> None:
        if self._writer is not None:
            self._writer.close()


class MultiSink:
    """Several sinks as one. One of somebody else's that fails is told and left out from then on: the run goes on."""

    def __init__(self, sinks: Mapping[str, Sink]) -> None:
        self.sinks = dict(sinks)

    def write(self, row: Metrics) -> None:
        for name, sink in [*self.sinks.items()]:
            with self._guarded(name):
                sink.write(row)

    def sync(self) -> dict[str, Any]:
        states = {}
        for name, sink in [*self.sinks.items()]:
            with self._guarded(name):
                states[name] = sink.sync()
        return states

    def restore(self, state: Mapping[str, Any]) -> str:
        told = []
        for name, sink in [*self.sinks.items()]:
            with self._guarded(name):
                told.append(sink.restore(state.get(name, {})))
        return "; ".join(filter(None, told))

    @property
    def rows(self) -> JsonlSink:
        """The file of rows that reports are made from."""
        sink = self.sinks["jsonl"]
        assert isinstance(sink, JsonlSink)
        return sink

    def close(self) -> None:
        for name, sink in [*self.sinks.items()]:
            with self._guarded(name):
                sink.close()

    @contextmanager
    def _guarded(self, name: str) -> Iterator[None]:
        if isinstance(self.sinks[name], JsonlSink):  # ours, and what fails there must end the run
            yield
            return
        done = False
        with leniently(f"sink {name!r} gets no more metrics"):
            yield
            done = True
        if not done:
            del self.sinks[name]


def check_sinks(names: Sequence[str]) -> None:
    """Look whether the packages of sinks are there, before anything is written.

    Raises:
        UserError: one is not installed.
    """
    for name in names:
        if name == "jsonl":
            continue
        found = importlib.util.find_spec(name)  # sinks are called as their packages are
        if found is None or found.origin is None:  # nothing, or a mere folder of that name
            raise UserError(f"sink {name!r} needs the package {name!r}, which is not installed; 'jsonl' needs none")


def make_sink(names: Sequence[str], folder: Path, run: str, config: Mapping[str, Any]) -> MultiSink:
    """The sinks of a run folder: always ``metrics.jsonl`` (reports are made from it), and those named.

    Args:
        names: of ``jsonl``, ``wandb``, ``tensorboard``.
        folder: the run folder.
        run: the run's name.
        config: the resolved configuration.

    Raises:
        UserError: one cannot be started.
    """

    def failed(error: BaseException) -> UserError:
        return UserError(f"sink 'wandb' cannot be started: {reason_of(error)}; leave it out, or set WANDB_MODE=offline")

    sinks: dict[str, Sink] = {"jsonl": JsonlSink(folder / METRICS_FILE)}  # first: others read it
    if "tensorboard" in names:
        sinks["tensorboard"] = TensorBoardSink(folder / "tensorboard")
    if "wandb" in names:
        with foreign("wandb.init", failed, (OSError, UserError)):
            sinks["wandb"] = WandbSink(folder, run, config)
    return MultiSink(sinks)
