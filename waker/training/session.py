"""Everything of a training run that has a state, in one place: made, saved and resumed together.

:class:`waker.training.work_due.Schedule` decides what is due, :mod:`waker.training.loop` in which order, a
:class:`Session` knows how. A resume has what :meth:`Session.state` has.
"""

from __future__ import annotations

import functools
import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import torch

from waker.agent.agent import MeasuredCredit
from waker.agent.evidence_maker import STEP_LOSS
from waker.analysis.logged import curriculum_metrics
from waker.collection.collector import Collector
from waker.collection.episode import EnvironmentFailed
from waker.config.saved import plain
from waker.curriculum.thinning import thinning_of
from waker.loggers import make_sink
from waker.replay.curious import Curious
from waker.replay.feed import Feed
from waker.replay.ring import Replay, record_fields
from waker.replay.store import ReplayStore
from waker.seeding import Streams, load_torch_state, preserved_torch, seed_for, torch_state
from waker.storage.checkpoint import Checkpoints
from waker.storage.files import saving, write_text
from waker.storage.run_folder import RunFolder
from waker.storage.state_shapes import check_fit
from waker.terminal.notices import tell_loss
from waker.terminal.progress import Progress
from waker.terminal.signals import Paused
from waker.training.extending import before_adapting, kept_before_adapting, past_schedules, standing, taken_back, told
from waker.training.measuring import Measuring
from waker.training.parts import Parts
from waker.training.recording import Recording
from waker.training.row_writer import Metrics, RowWriter, Times
from waker.training.work_due import Schedule

if TYPE_CHECKING:
    from waker.agent.agent import Agent


class Session(Schedule):
    """A training run under way.

    Args:
        parts: what it is made of.
        run: its folder, locked by the caller.
        progress: shows where it is.
    """

    def __init__(self, parts: Parts, run: RunFolder, progress: Progress) -> None:
        super().__init__(run.config)
        self.parts, self.run, self.progress, train = parts, run, progress, run.config.train
        self.streams = Streams.from_seed(self.config.seed)
        self.replay = Replay(record_fields(parts.family.spec), train.envs, train.replay, run.path / "replay")
        self.store = ReplayStore(run.path / "replay", self.replay)
        self.checkpoints = Checkpoints(run.path / "checkpoints", train.keep)
        self.curriculum = parts.make_curriculum(self.streams.curriculum)
        self.measuring = Measuring(self.curriculum, parts.measure)
        torch.manual_seed(seed_for(self.config.seed, "torch"))
        self.agent = parts.make_agent()
        self.curious: Curious | None = None
        if self.config.replay.choice == "curious":
            self.curious = Curious(self.replay, train.length, self.config.replay)
            cast("Agent", self.agent).measure({STEP_LOSS})
        feed = self.replay, self.streams.replay, train.batch, train.length, self.config.device
        self.feed = Feed(*feed, self.curious)
        with saving(f"metrics in {run.path}"):
            sink = make_sink(self.config.sinks, run.path, run.name, plain(self.config))
        self.metrics = Metrics(sink, self._entries, progress, run.path)
        self.rows = RowWriter(run, self.metrics, thinning_of(parts.family.space, parts.measured))
        self.recording = Recording(self.curriculum, self.agent, parts.family, self.config)
        space = parts.family.space
        self._hard = [i for i in map(space.index, space.hard) if i >= 0]
        self.times = Times(lambda: self.collector.slots.cpu_seconds)
        self.collector = Collector(
            parts.family,
            self.curriculum,
            self.replay,
            train.envs,
            self.streams,
            lambda row: self.rows.episode(row, self.updates),
            train.env_processes,
            self.recording.gate(self.replay),
            lambda finished: self.recording.episode(finished, self.step),
            self.recording.chosen,
        )
        self.explorer = self.agent.explorer()
        progress.updates = self.all_updates
        self._before_adapting: dict[str, Any] | None = None
        self._again, self._exact = False, True  # task policies were given up; and nothing else but them
        self._intact = ""  # said when a save fails
        self.times.start({}, 0)

    @functools.cached_property
    def adapt_feed(self) -> Feed:
        """Batches for the task policies that are trained afterwards; runs that train none make no room for one."""
        train = self.config.train
        return Feed(self.replay, self.streams.replay, train.adapt_batch, train.length, self.config.device)

    @property
    def step(self) -> int:
        return self.collector.step

    @property
    def trained(self) -> int:
        return self.step - (self.collector.gate.aside if self.collector.gate else 0)

    @property
    def place(self) -> str:
        """How far it is."""
        return f"step {self.step:,}"

    @property
    def measurement_due(self) -> bool:
        """Whether the curriculum wants a measurement of a model that has learned from all data so far."""
        return self.choosing and self.measuring.due(self.step)

    @property
    def heldout_due(self) -> bool:
        """Whether the model is to be measured again on episodes that are kept out of training."""
        return self.choosing and self.recording.due(self.step)

    def collect(self) -> None:
        """One tick: uniform random actions until learning begins, then the exploration policy."""
        self.collector.tick(self.explorer if self.step >= self.update_clock.start else None)
        self._show("explore" if self.updates else "prefill")

    def learn(self) -> None:
        """One update, its credit to the curriculum, and a metric row when it is time."""
        batch = self.feed.next()
        self.recording.before_update(batch)
        credit, metrics = self.agent.update(batch)
        if self.curious is not None:
            assert isinstance(credit, MeasuredCredit)
            self.curious.visited(credit.measured[STEP_LOSS].float().cpu().numpy())
        self.recording.after_update(credit, self.step)
        self.curriculum.observe(credit.theta_id.cpu().numpy(), credit.error.detach().cpu().numpy(), self.step)
        self.metrics.means.add(metrics)
        self.updates += 1
        self.recording.updates = self.updates
        if self.updates == 1:
            self.measuring.skip(self.step)
        if self.updates % self.config.train.log_every == 0:
            self._log()
            self.rows.snapshot(self.curriculum.table(), self.step, self.updates)
        self._show("explore")

    def measure(self) -> None:
        """What the curriculum asks for; not where a signal comes first, and a resumed run makes it then."""
        first = self.measuring.seconds == 0
        try:
            with self.times.excluded():
                self.measuring.make(self.agent, self.step)
        except Paused:
            return
        if first:
            self.progress.note(self.measuring.told)
        self._show("measure")

    def measure_heldout(self) -> None:
        """Of the present model, for the curriculum."""
        self.recording.measure_heldout(self.step)
        self._show("measure")

    def adapt(self) -> None:
        """One update of the task policies alone."""
        if not self.adapted:
            self._before_adapting = before_adapting(self.state(), self.metrics.sink.sync())
        metrics = self.agent.adapt_update(self.adapt_feed.next())
        self.metrics.means.add({f"adapt/{key}": value for key, value in metrics.items()})
        self.adapted += 1
        if self.adapted % self.config.train.log_every == 0 or not self.adapting:
            self._log()
        self._show(f"adapt {self.adapted:,}/{self.config.train.adapt_updates:,}")

    def evaluate(self) -> bool:
        """Measure the agent; training's streams stay as they were. Saves first: it may take long, or fail.

        Returns:
            Whether it was finished; not where a signal came first, and the next one goes on from there.
        """
        self.save()
        self.progress.note(f"evaluating at step {self.step:,}")
        try:
            with self.times.excluded(), preserved_torch():
                found = self.parts.evaluate(self.agent)
        except Paused:
            return False
        self.rows.measured(found, self.step, self.updates)
        self.metrics.evaluated(found, self.run.columns, self.step, self.updates + self.adapted)
        self.rows.snapshot(self.curriculum.table(), self.step, self.updates)
        self.evaluate_clock.mark(self.step)
        return True

    def save(self) -> Path:
        """Save everything: replay and rows first, then the checkpoint that names what belongs to it.

        Raises:
            SaveFailed: the disk is full, say; the checkpoint before is intact. Or the folder was removed, or files of
                it were, since they were written.
        """
        self.run.check_there(*self.rows.gone(), self.store.gone())
        self.mark_saved()
        with saving(f"the run at step {self.step:,}", hint=self._intact):
            replay = self.store.save()
            logs = self.rows.save() | {"before_adapting": (self._before_adapting or {}).get("sinks")}
            state, beside = self.state() | {"replay": replay, "logs": logs}, self.rows.manifest(logs)
            path = self.checkpoints.save(state, self.step, self.updates + self.adapted, replay, beside)
            self._prune()
        return path

    def state(self) -> dict[str, Any]:
        """All that a resumed run needs, but for replay and logs."""
        state = {
            "updates": self.updates,
            "adapted": self.adapted,
            "finished": self.finished,
            **self.times.state_dict(),
            "measuring_seconds": self.measuring.seconds,
            "evaluations": self.evaluate_clock.passed,
            "measuring": self.measuring.state_dict(),
            "agent": self.agent.state_dict(),
            "curriculum": self.curriculum.state_dict(),
            "collector": self.collector.state_dict(),
            "streams": self.streams.state_dict(),
            "means": self.metrics.means.state_dict(),
            "torch": torch_state(),
            "before_adapting": self._before_adapting and self._before_adapting["state"],
        }
        if self.curious is not None:
            state["curious"] = self.curious.state_dict()
        if self.recording.active:
            state |= {"recording": self.recording.state_dict(), "evidence_seconds": self.recording.seconds}
        return state

    def resume(self) -> bool:
        """Go on from the newest whole checkpoint, if there is one; else clear what a run without one left.

        Damaged chunks of the replay are left out where no checkpoint is whole with all of its own.

        Returns:
            Whether there was one.

        Raises:
            UserError: there are checkpoints, and none is whole or fits.
            SaveFailed: what it computes with from now on cannot be recorded.
        """
        self.checkpoints.tidy()
        anyhow = functools.partial(self._restore, without_damaged=True)
        found = self.checkpoints.newest(self._restore, self.progress.note, anyhow)
        if found is None:
            self.rows.begin()
            self.store.clear()
        elif self.run.growth:
            self.progress.note(told(self.run.growth, self.step, self._again, self._exact))
            for line in past_schedules(self.config, self.update_clock.allowed(self.config.train.steps)):
                self.progress.note(line)
        elif not self.finished:
            self.progress.note(f"going on from step {self.step:,}, {self.updates:,} updates")
        if not self.finished or self.run.growth:
            self.run.going_on(self.step, self._exact)
        if self._again:  # their metrics are gone
            self.save()
        return found is not None

    def failed(self, failure: EnvironmentFailed) -> EnvironmentFailed:
        """Keep the report of an environment's failure, and all data up to one in training; the error to raise."""
        path = self.run.path / "failure.json"
        with saving(f"the failure report in {path}"):
            write_text(path, json.dumps(failure.report, indent=1))
        if not failure.report["suite"]:  # before an evaluation the run is saved, and its own episodes are intact
            self.collector.abandon()
            self.save()
        return EnvironmentFailed(failure.report, path)

    def close(self) -> None:
        """Close environments, sinks and the display."""
        self.collector.close()
        self.metrics.sink.close()
        self.progress.close()

    def _restore(self, state: dict[str, Any], without_damaged: bool = False) -> bool:
        check_fit(state["agent"], self.agent.state_dict(), "agent")
        finished, self._again = standing(state, self.config.train)
        length = 0 if finished else self.config.train.length
        lost = self.store.resume(state["replay"], length, without_damaged, self.progress.note)
        if self._again:  # more is asked for than when they were trained
            state, self._exact = taken_back(state)
        self.updates, self.adapted, self.finished = state["updates"], state["adapted"], finished
        self.times.start(state, self.updates + self.adapted)
        self.evaluate_clock.passed = state["evaluations"]
        if "measuring" in state:  # not in states of before there was any
            self.measuring.load_state_dict(state["measuring"])
            self.measuring.seconds = state["measuring_seconds"]
        self.recording.updates = self.updates
        if "recording" in state:
            self.recording.load_state_dict(state["recording"])
            self.recording.seconds = state["evidence_seconds"]
        if self.curious is not None:
            self.curious.load_state_dict(state["curious"])
        self.agent.load_state_dict(state["agent"])
        if self._again:
            self.agent.forget_adaptation()
        self._before_adapting = kept_before_adapting(state)
        self.curriculum.load_state_dict(state["curriculum"])
        self.explorer = self.agent.explorer()
        self.collector.load_state_dict(state["collector"], self.explorer, self.progress.note)
        self.mark_saved()
        self.streams.load_state_dict(state["streams"])
        self.metrics.means.load_state_dict(state["means"])
        self.rows.restore(state["logs"], self.step, self.finished, self.progress.note)
        load_torch_state(state["torch"])
        for what in lost:
            tell_loss(self.progress.note, what)
            self.run.lose({"step": self.step, "what": what})
        self._prune()
        return True

    def _prune(self) -> None:
        """Remove chunks of the replay that no checkpoint names."""
        kept = self.checkpoints.manifests()
        self.store.prune(m["replay"] for m in kept)
        if kept:
            self._intact = f"; the checkpoint at step {kept[0]['step']:,} is intact, the same command goes on from it"

    def _entries(self, metric: str) -> Sequence[str]:
        """What a metric's entries are called: tasks for reward heads and adapted policies, else the stack's members."""
        by_task = metric == "reward_loss" or metric.startswith("adapt/")
        return self.parts.family.spec.tasks if by_task else self.explorer.names

    def _log(self) -> None:
        done = self.updates + self.adapted
        times = {**self.times.state_dict(), "updates_per_second": self.times.speed(done)}
        if self.measuring.wanted is not None:
            times["measuring_cpu_seconds"] = self.measuring.seconds
        chosen = curriculum_metrics(self.curriculum.probabilities(), self._hard) if self.exploring else {}
        more = {
            "replay/steps": float(len(self.replay)),
            **chosen,
            **{f"time/{name}": value for name, value in times.items()},
            **self.recording.metrics(self.collector.gate),
        }
        self.metrics.write(self.step, done, more)

    def _show(self, phase: str) -> None:
        theta = self.collector.theta if self.exploring else ()  # no episodes are played while policies are adapted
        shown = self.parts.family.space.format
        self.progress.update(self.step, self.updates + self.adapted, lambda: shown(theta) if len(theta) else "", phase)
