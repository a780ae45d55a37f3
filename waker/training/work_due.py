"""What is due in a run: when it is evaluated, updated and saved. Asked by the training loop, which also asks
:class:`waker.training.session.Session` for what a curriculum wants measured.

All depends on the step alone, or on counts that are in the checkpoint, so that a resumed run keeps the rhythm of the
uninterrupted one.
"""

from __future__ import annotations

from dataclasses import dataclass

from waker.config.schema import Config


@dataclass
class Every:
    """Due once each time the step has passed another multiple of ``interval``.

    Args:
        interval: in steps; 0 = never due.
        passed: multiples already served.
    """

    interval: int
    passed: int = 0

    def due(self, step: int) -> bool:
        """Whether a multiple has been passed since the last :meth:`mark`."""
        return self.interval > 0 and step // self.interval > self.passed

    def mark(self, step: int) -> None:
        """Served. Multiples that were jumped over are not made up for."""
        if self.interval > 0:
            self.passed = step // self.interval


@dataclass(frozen=True)
class Ratio:
    """How many updates belong to a number of steps: one at step ``start``, then one every ``every`` steps."""

    every: float
    start: int = 0

    def allowed(self, step: int) -> int:
        """Updates that may have been made at ``step``."""
        return 0 if step < self.start else int((step - self.start) / self.every) + 1

    def due(self, step: int, updates: int) -> bool:
        """Whether an update is outstanding."""
        return updates < self.allowed(step)


class Schedule:
    """Which unit of a run's work is due: from its settings, and from how far it is.

    Args:
        config: the run's.

    Attributes:
        updates, adapted: updates of everything, and of the task policies alone, made so far.
        finished: the run is over, its last evaluation included.
    """

    def __init__(self, config: Config) -> None:
        self.config, train = config, config.train
        self.updates, self.adapted, self.finished = 0, 0, False
        # No window of T steps can be drawn before every slot has them.
        self.update_clock = Ratio(train.train_every, max(train.prefill, train.envs * train.length))
        self.save_clock, self.evaluate_clock = Every(train.save_every), Every(config.evaluation.every)
        # While adapting there are no steps: save as often, counted in updates.
        self.adapt_clock = Every(max(1, int(train.save_every / train.train_every)))

    @property
    def step(self) -> int:
        """Agent steps so far."""
        raise NotImplementedError

    @property
    def trained(self) -> int:
        """Those of them that are trained on: the others cost steps and earn no updates."""
        return self.step

    @property
    def all_updates(self) -> int:
        """Of the whole run, if every step is trained on."""
        train = self.config.train
        adapts = train.adapt_updates if train.task_policies == "after" else 0
        return self.update_clock.allowed(train.steps) + adapts

    @property
    def learning_due(self) -> bool:
        """Whether an update is outstanding."""
        return self.update_clock.due(self.trained, self.updates)

    @property
    def exploring(self) -> bool:
        """Whether there is still data to collect, or an update to make from it."""
        return self.step < self.config.train.steps or self.learning_due

    @property
    def adapting(self) -> bool:
        """Whether exploration is over and the task policies are still to be trained from its replay."""
        train = self.config.train
        return not self.exploring and train.task_policies == "after" and self.adapted < train.adapt_updates

    @property
    def evaluation_due(self) -> bool:
        """Whether it is time to measure the agent; the last evaluation is the end's, after every update."""
        return self.step < self.config.train.steps and self.evaluate_clock.due(self.step)

    @property
    def choosing(self) -> bool:
        """Whether environments are to be chosen next, for a model that has learned from all data so far."""
        return self.updates > 0 and self.step < self.config.train.steps and not self.learning_due

    @property
    def save_due(self) -> bool:
        """Whether it is time for a checkpoint."""
        return self.save_clock.due(self.step) or self.adapt_clock.due(self.adapted)

    def mark_saved(self) -> None:
        """There is a checkpoint of now."""
        self.save_clock.mark(self.step)
        self.adapt_clock.mark(self.adapted)
