"""The training loop: evaluate, collect, learn, save. It imports no algorithm; it is handed factories.

Called by the command line through :mod:`waker.training.build`, and by tests with a dummy agent.
"""

from __future__ import annotations

from contextlib import nullcontext
from dataclasses import asdict
from enum import Enum

from waker.collection.episode import EnvironmentFailed
from waker.curriculum.labels import sampler_label
from waker.replay.memory import amount
from waker.storage.run_folder import RunFolder
from waker.terminal.progress import Progress
from waker.terminal.signals import Interrupted, StopSignals
from waker.terminal.slow_calls import watched
from waker.training.session import Parts, Session

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
        try:
            session.resume()
            if session.finished:
                progress.note(f"finished before, at step {session.step:,}; nothing to do")
                return Outcome.SKIPPED
            progress.start()
            replay = session.replay
            room = f"room for {replay.slots * replay.size:,} steps, {amount(replay.bytes)} when full"
            progress.note(f"replay: {room}; checkpoints keep the same steps once more, compressed")
            c = run.config
            if (label := sampler_label(c.curriculum.sampler, asdict(c.explorer))) != c.curriculum.sampler:
                progress.note(f"{label}: a variant; published: --explorer.credit imagined --explorer.credit-steps 0")
            if run.config.device.startswith("cpu") and (told := _LOWERED.get(run.config.train.precision)):
                progress.note(told)
            _run(session, stop)
            if stop.number is not None and not session.finished:
                session.save()
                progress.note(f"stopped and saved at step {session.step:,}; the same command goes on from here")
                raise Interrupted(stop.number)
            return Outcome.FINISHED
        except EnvironmentFailed as failure:
            raise session.failed(failure) from failure
        finally:
            session.close()


def _run(session: Session, stop: StopSignals) -> None:
    """Until the run is finished or asked to stop."""
    while (session.exploring or session.adapting) and not stop.requested:
        # Evaluate.
        if session.evaluation_due and not session.evaluate():
            break

        # Measure: what a curriculum asks for, of a model that has learned from all data so far.
        if session.measurement_due:
            session.measure()

        # Collect: only when every update that the data so far allows has been made.
        elif session.exploring and not session.learning_due:
            session.collect()

        # Learn: everything from fresh data, or the task policies alone once exploration is over.
        elif session.exploring:
            session.learn()
        else:
            session.adapt()

        # Save.
        if session.save_due:
            session.save()

    if not stop.requested and session.evaluate():
        session.finished = True
        session.save()
