"""The training loop: evaluate, collect, learn, save. It imports no algorithm; it is handed factories.

Called by the command line through :mod:`waker.training.build`, and by tests with a dummy agent. ``waker adapt``
(:mod:`waker.training.adapt`) has the part of it that comes after exploration.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import closing, nullcontext
from dataclasses import asdict
from enum import Enum
from typing import TYPE_CHECKING, TypeVar

from waker.collection.episode import EnvironmentFailed
from waker.curriculum.labels import sampler_label
from waker.replay.memory import amount
from waker.storage.run_folder import RunFolder
from waker.terminal.progress import Progress
from waker.terminal.signals import Interrupted, StopSignals
from waker.terminal.slow_calls import watched
from waker.training.parts import Parts
from waker.training.session import Session

if TYPE_CHECKING:
    from waker.training.adapt import Adaptation

Work = TypeVar("Work", Session, "Adaptation")

_LOWERED = {
    "bf16": "train.precision = bf16 is many times slower than fp32 on a CPU",
    "tf32": "train.precision = tf32 is fp32 on a CPU",
}
"""What precisions for GPUs are on a CPU."""


class Outcome(Enum):
    """How :func:`train` ended."""

    FINISHED = "finished"
    SKIPPED = "was finished before"


def train(parts: Parts, run: RunFolder, progress: Progress | None = None) -> Outcome:
    """Train from nothing, or from the newest whole checkpoint, to the last evaluation.

    Every pass of the loop does one unit of work (a tick of all environments, an update, an evaluation), and every
    boundary between two units is a state that can be saved and resumed bit for bit.

    Args:
        parts: the factories.
        run: the run folder; its configuration says how much and how often.
        progress: None = a line on standard error.

    Returns:
        How it ended.

    Raises:
        Interrupted: Ctrl-C or SIGTERM; the run is saved.
        EnvironmentFailed: an environment failed; all data before it is saved.
        SaveFailed: the disk is full, say; the checkpoint before is intact.
        UserError: another process works in the folder, or none of its checkpoints is whole.
    """
    progress = progress or Progress(run.name, run.config.train.steps)
    with nullcontext() if run.lock is not None else run.locked(), StopSignals() as stop, watched():
        session = Session(parts, run, progress)
        with closing(session):
            try:
                return to_its_end(session, _train, stop)
            except EnvironmentFailed as failure:
                raise session.failed(failure) from failure


def to_its_end(session: Work, work: Callable[[Work, StopSignals], None], stop: StopSignals) -> Outcome:
    """Take up what was begun before, do what is left of it, and save it where it is asked to stop.

    Args:
        session: of training, or of adaptation alone.
        work: works until the session is finished and saved, or ``stop`` is requested.

    Raises:
        Interrupted: ``stop`` was requested; the session is saved.
    """
    session.resume()
    if session.finished:
        session.progress.note(f"finished before, at {session.place}; nothing to do")
        return Outcome.SKIPPED
    session.progress.start()
    work(session, stop)
    if stop.number is not None and not session.finished:
        session.save()
        session.progress.note(f"stopped and saved at {session.place}; the same command goes on from here")
        raise Interrupted(stop.number)
    return Outcome.FINISHED


def _train(session: Session, stop: StopSignals) -> None:
    _describe(session)
    _explore(session, stop)
    adapt(session, stop)
    if not stop.requested and session.evaluate():
        session.finished = True
        session.save()


def _explore(session: Session, stop: StopSignals) -> None:
    while session.exploring and not stop.requested:
        # Evaluate.
        if session.evaluation_due and not session.evaluate():
            break

        # Measure: what a curriculum asks for, of a model that has learned from all data so far.
        if session.measurement_due:
            session.measure()
        elif session.heldout_due:
            session.measure_heldout()

        # Collect: only when every update that the data so far allows has been made.
        elif not session.learning_due:
            session.collect()

        # Learn: everything, from fresh data.
        else:
            session.learn()

        # Save.
        if session.save_due:
            session.save()


def adapt(session: Session | Adaptation, stop: StopSignals) -> None:
    """Learn the task policies alone, from a replay and a model that change no more."""
    while session.adapting and not stop.requested:
        session.adapt()
        if session.save_due:
            session.save()


def _describe(session: Session) -> None:
    """Say what the run takes, and where its settings are unusual."""
    config, replay, note = session.config, session.replay, session.progress.note
    room = f"room for {replay.slots * replay.size:,} steps, {amount(replay.bytes)} when full"
    note(f"replay: {room}; checkpoints keep the same steps once more, compressed")
    if (label := sampler_label(config.curriculum.sampler, asdict(config.explorer))) != config.curriculum.sampler:
        note(f"{label}: a variant; published: --explorer.credit imagined --explorer.credit-steps 0")
    if config.device.startswith("cpu") and (slow := _LOWERED.get(config.train.precision)):
        note(slow)
