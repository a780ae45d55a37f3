"""Where compiled updates are kept between runs, and what compiling and running them has cost there.

One folder for all runs of a user: the first run of a configuration compiles, later ones, and runs beside it, load.
Machines, interpreters and versions of torch keep apart inside it, as code compiled for one processor may not run on
another. Beside the code lie records of what it cost (:mod:`waker.machine.compile_costs`), so that deleting the folder
makes everything unknown again. Called where runs are put together.
"""

from __future__ import annotations

import dataclasses
import fcntl
import functools
import hashlib
import json
import os
import platform
import shutil
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path

import torch

from waker.config.schema import Config
from waker.errors import UserError
from waker.machine import mkl_dispatch, products
from waker.specs import EnvSpec
from waker.storage.files import saving, write_text

_SOURCES = ("agent", "behaviour", "exploration", "model", "machine")
"""What is compiled, below this package."""
Figures = Mapping[str, float]
"""Of one compiled part; see :data:`waker.machine.compile_costs.FIGURES`."""


def default_place() -> Path:
    """``waker/compile`` in the user's cache folder.

    Not what ``TORCHINDUCTOR_CACHE_DIR`` says: torch sets it by itself, to a folder that is lost with ``/tmp``.
    """
    caches = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(caches) / "waker" / "compile"


def compiler() -> str | None:
    """The C++ compiler that torch would call; None = there is none."""
    name = os.environ.get("CXX", "clang++" if sys.platform == "darwin" else "g++")
    return shutil.which(name.split()[0]) if name.strip() else None


def require_compiler() -> None:
    """Refuse to compile for a CPU where nothing can.

    Raises:
        UserError: there is no C++ compiler.
    """
    if compiler() is None:
        raise UserError(
            "train.compile 'compile' needs a C++ compiler, and there is no g++ (CXX names another one); "
            "install one, or choose 'off' or 'auto'"
        )


def graph_key(spec: EnvSpec, config: Config, tasks: int | None = None) -> str:
    """A name for everything that the updates of a configuration depend on, on one machine: their graphs and costs.

    Seeds, curricula and the loop's numbers are no part of it: the runs of a sweep share theirs. Who multiplies, which
    is settled before (:mod:`waker.machine.arithmetic`), is: it decides what an eager update costs.

    Args:
        tasks: for how many tasks policies are adapted; None = the environment's.
    """
    train = config.train
    shapes = (train.batch, train.length, train.adapt_batch, train.task_policies, train.precision)
    nets = [dataclasses.asdict(section) for section in (config.model, config.behaviour, config.explorer)]
    keys = [dataclasses.asdict(key) for key in spec.observation]
    counts = (len(spec.tasks), len(spec.tasks) if tasks is None else tasks)
    action = dataclasses.asdict(spec.action)
    device = torch.device(config.device).type
    multiplies = (products.used(), mkl_dispatch.believes())
    told = [shapes, nets, keys, counts, action, device, torch.get_num_threads(), multiplies, _source()]
    return _short(json.dumps(told, sort_keys=True, default=str), 16)


def _source() -> str:
    found = hashlib.sha256()
    root = Path(__file__).parents[1]
    for name in _SOURCES:
        for file in sorted((root / name).rglob("*.py")):
            found.update(file.read_bytes())
    return found.hexdigest()


def _short(text: str, digits: int) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:digits]


def _machine() -> str:
    """What compiled code depends on besides its source: processor, torch, interpreter."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
        processor = "".join(dict.fromkeys(line for line in lines if line.startswith(("model name", "flags"))))
    except OSError:
        processor = platform.processor() or platform.machine()
    python = sys.implementation.cache_tag or platform.python_version()
    return f"torch-{torch.__version__.split('+')[0]}-{python}-{_short(processor + str(torch.__version__), 8)}"


class CompileCache:
    """One machine's part of a cache folder.

    Args:
        place: ``train.compile_cache``; empty = :func:`default_place`.

    Attributes:
        folder: where torch keeps compiled code; records are in its folder ``costs``.

    Raises:
        SaveFailed: the folder cannot be made.
    """

    def __init__(self, place: str = "") -> None:
        self.folder = (Path(place).expanduser() if place else default_place()).absolute() / _machine()
        self._costs = self.folder / "costs"
        with saving(f"compiled updates in {self.folder}", hint="; train.compile_cache names another folder"):
            self._costs.mkdir(parents=True, exist_ok=True)

    def use(self) -> None:
        """Let torch keep compiled code here, from the next compilation of this process on."""
        os.environ["TORCHINDUCTOR_CACHE_DIR"] = str(self.folder)

    def costs(self, key: str) -> dict[str, dict[str, float]]:
        """What is known of a configuration: part → figures; nothing where nothing, or nothing legible, is kept."""
        try:
            found = json.loads((self._costs / f"{key}.json").read_text(encoding="utf-8"))
            return {str(part): {k: float(v) for k, v in figures.items()} for part, figures in found.items()}
        except (OSError, ValueError, TypeError, AttributeError):
            return {}

    def record(self, key: str, part: str, figures: Figures) -> None:
        """Keep figures of one part; its other figures stay. A record that cannot be written is left out."""
        try:
            with self._held(f"{key}.lock"):
                known = self.costs(key)
                known[part] = {**known.get(part, {}), **figures}
                write_text(self._costs / f"{key}.json", json.dumps(known, indent=1))
        except OSError:  # a full disk: a run must not end for want of a record
            return

    @contextmanager
    def alone(self, key: str, part: str, note: Callable[[str], None]) -> Iterator[None]:
        """Compile with no other process compiling the same: it would cost twice and gain nothing.

        Where no lock can be had (a folder that is only read, a file system without locks) it may cost twice.

        Args:
            note: told once if another one is at it, or if there is no lock.
        """
        with ExitStack() as lock:
            try:
                waiting = functools.partial(note, f"another process is compiling the same {part}: waiting for it")
                lock.enter_context(self._held(f"{key}-{part}.lock", waiting))
            except OSError as error:
                why = error.strerror or str(error)
                note(f"no lock in {self._costs} ({why}): another process may compile the same {part} meanwhile")
            yield

    @contextmanager
    def _held(self, name: str, wait: Callable[[], None] | None = None) -> Iterator[None]:
        """Hold a lock file; the system lets go even when this process is killed."""
        with open(self._costs / name, "w") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                if wait is not None:
                    wait()
                fcntl.flock(file, fcntl.LOCK_EX)
            yield
