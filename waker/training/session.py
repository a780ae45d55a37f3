"""Everything of a training run that has a state, in one place: made, saved and resumed together.

:mod:`waker.training.loop` decides *when*, a :class:`Session` knows *how*. A resume has what :meth:`Session.state` has.
"""

from __future__ import annotations

import functools
import json
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from waker.collection.collector import Collector
from waker.collection.episode import EnvironmentFailed
from waker.collection.family import Family
from waker.config.saved import plain
from waker.curriculum import Curriculum
from waker.curriculum.api import Columns
from waker.curriculum.thinning import WHOLE, Thinning
from waker.loggers import Means, NotFinite, make_sink
from waker.machine.compile_costs import processor_seconds
from waker.protocols import Learner
from waker.replay.feed import Feed
from waker.replay.ring import Replay, record_fields
from waker.replay.store import ReplayStore
from waker.seeding import Streams, load_torch_state, preserved_torch, seed_for, torch_state
from waker.storage.checkpoint import Checkpoints
from waker.storage.files import saving, write_text
from waker.storage.lost_files import BESIDE
from waker.storage.run_folder import RunFolder, read_record
from waker.storage.salvage import TABLES
from waker.storage.state_shapes import check_fit
from waker.storage.tables import Row, Table
from waker.terminal.notices import tell_loss
from waker.terminal.progress import Progress
from waker.terminal.signals import Paused
from waker.training.clock import Every, Ratio
from waker.training.extending import before_adapting, kept_before_adapting, standing, taken_back, told
from waker.training.measuring import Measure, Measuring
from waker.training.restore import refuse_rows_alone, restore_logs, restore_replay
from waker_envs.api import FiniteThetaSpace

Evaluate = Callable[[Learner, Curriculum], Mapping[str, Sequence[Row] | Columns]]
"""Measures an agent: rows by table (``evaluation``, ``model_error``, ``curriculum``), with chance of its own."""


@dataclass(frozen=True)
class Parts:
    """The factories that a run is made of; called once each, in this order, with all seeds set.

    Attributes:
        family: of its environments.
        make_curriculum: from its own generator.
        make_agent: the learner; draws its weights from torch's global generator.
        evaluate: see :data:`Evaluate`.
        measured: ids of the θ whose model error it measures: a snapshot of the curriculum keeps their own rows.
        measure: what a curriculum may ask to have measured; None = such a curriculum cannot be used.
    """

    family: Family
    make_curriculum: Callable[[np.random.Generator], Curriculum]
    make_agent: Callable[[], Learner]
    evaluate: Evaluate
    measured: Sequence[int] = ()
    measure: Measure | None = None


class Session:
    """A training run under way.

    Args:
        parts: what it is made of.
        run: its folder, locked by the caller.
        progress: told what happens.

    Attributes:
        updates, adapted: updates of everything, and of the task policies alone, made so far.
        finished: the run is over, its last evaluation included.
    """

    def __init__(self, parts: Parts, run: RunFolder, progress: Progress) -> None:
        self.parts, self.run, self.progress = parts, run, progress
        self.config = run.config
        train = self.config.train
        self.updates, self.adapted, self.finished = 0, 0, False
        self.streams = Streams.from_seed(self.config.seed)
        self.replay = Replay(record_fields(parts.family.spec), train.envs, train.replay, run.path / "replay")
        self.store = ReplayStore(run.path / "replay", self.replay)
        self.checkpoints = Checkpoints(run.path / "checkpoints", train.keep)
        self.curriculum = parts.make_curriculum(self.streams.curriculum)
        self.measuring = Measuring(self.curriculum, parts.measure)
        torch.manual_seed(seed_for(self.config.seed, "torch"))
        self.agent = parts.make_agent()
        self.feed = Feed(self.replay, self.streams.replay, train.batch, train.length, self.config.device)
        self.tables = {name: Table(run.path / f"{name}.parquet") for name in TABLES}
        self._thin: Thinning | None = None
        if isinstance(parts.family.space, FiniteThetaSpace) and parts.family.space.size > WHOLE:
            self._thin = Thinning(parts.family.space, parts.measured)
        with saving(f"metrics in {run.path}"):
            self.sink = make_sink(self.config.sinks, run.path, run.name, plain(self.config))
        self.means, self.not_finite = Means(self._entries), NotFinite()
        self.collector = Collector(
            parts.family,
            self.curriculum,
            self.replay,
            train.envs,
            self.streams,
            self._episode,
            train.env_processes,
        )
        self.explorer = self.agent.explorer()
        # No window of T steps can be drawn before every slot has them.
        self.update_clock = Ratio(train.train_every, max(train.prefill, train.envs * train.length))
        adapts = train.adapt_updates if train.task_policies == "after" else 0
        progress.updates = self.update_clock.allowed(train.steps) + adapts
        self.save_clock, self.evaluate_clock = Every(train.save_every), Every(self.config.evaluation.every)
        # While adapting there are no steps: save as often, counted in updates.
        self.adapt_clock = Every(max(1, int(train.save_every / train.train_every)))
        self._record: dict[str, Any] = {}  # of config.yaml, for checkpoints
        self._before_adapting: dict[str, Any] | None = None
        self._again, self._exact = False, True  # task policies were given up; and nothing else but them
        self._intact = ""  # said when a save fails
        self._seconds, self._since = 0.0, time.monotonic()
        self._cpu, self._cpu_since = 0.0, self._cpu_now()
        self._logged = (0, self._since)  # updates and time of the newest metric row

    @functools.cached_property
    def adapt_feed(self) -> Feed:
        """Batches for the task policies that are trained afterwards; runs that train none make no room for one."""
        train = self.config.train
        return Feed(self.replay, self.streams.replay, train.adapt_batch, train.length, self.config.device)

    @property
    def step(self) -> int:
        """Agent steps so far."""
        return self.collector.step

    @property
    def learning_due(self) -> bool:
        """Whether an update is outstanding."""
        return self.update_clock.due(self.step, self.updates)

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
    def measurement_due(self) -> bool:
        """Whether the curriculum wants a measurement of a model that has learned from all data so far."""
        choosing = self.updates > 0 and self.step < self.config.train.steps and not self.learning_due
        return choosing and self.measuring.due(self.step)

    @property
    def save_due(self) -> bool:
        """Whether it is time for a checkpoint."""
        return self.save_clock.due(self.step) or self.adapt_clock.due(self.adapted)

    def collect(self) -> None:
        """One tick: uniform random actions until learning begins, then the exploration policy."""
        self.collector.tick(self.explorer if self.step >= self.update_clock.start else None)
        self._show("explore" if self.updates else "prefill")

    def learn(self) -> None:
        """One update, its credit to the curriculum, and a metric row when it is time."""
        credit, metrics = self.agent.update(self.feed.next())
        self.curriculum.observe(credit.theta_id.cpu().numpy(), credit.error.detach().cpu().numpy(), self.step)
        self.means.add(metrics)
        self.updates += 1
        if self.updates == 1:
            self.measuring.skip(self.step)
        if self.updates % self.config.train.log_every == 0:
            self._log()
            self._table("curriculum", self.curriculum.table())
        self._show("explore")

    def measure(self) -> None:
        """What the curriculum asks for; not where a signal comes first, and a resumed run makes it then."""
        before = self.measuring.seconds
        try:
            self.measuring.make(self.agent, self.step)
        except Paused:
            return
        finally:
            self._cpu_since += self.measuring.seconds - before  # told by itself
        if before == 0:
            self.progress.note(self.measuring.told)
        self._show("measure")

    def adapt(self) -> None:
        """One update of the task policies alone."""
        if not self.adapted:
            self._before_adapting = before_adapting(self.state(), self.sink.sync())
        self.means.add({f"adapt/{k}": v for k, v in self.agent.adapt_update(self.adapt_feed.next()).items()})
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
        began = processor_seconds()
        try:
            with preserved_torch():
                tables = self.parts.evaluate(self.agent, self.curriculum)
        except Paused:
            return False
        finally:
            self._cpu_since += processor_seconds() - began  # not part of what training costs
        with saving(f"the evaluation at step {self.step:,}"):
            # `waker evaluate` may have measured the checkpoint that a resume went on from.
            for name in ("evaluation", "model_error"):
                self.tables[name].forget(self.step)
        for name, rows in tables.items():
            self._table(name, rows)
        self.evaluate_clock.mark(self.step)
        return True

    def save(self) -> Path:
        """Save everything: replay, tables and sinks first, then the checkpoint that names what belongs to it.

        Raises:
            SaveFailed: the disk is full, say; the checkpoint before is intact. Or the folder was removed, or files of
                it were, since they were written.
        """
        self.run.check_there(self.sink.rows.gone(), self.store.gone(), *(t.gone() for t in self.tables.values()))
        self.save_clock.mark(self.step)
        self.adapt_clock.mark(self.adapted)
        with saving(f"the run at step {self.step:,}", hint=self._intact):
            replay = self.store.save()
            counts = {n: {"rows": table.save(), "generation": table.generation} for n, table in self.tables.items()}
            sinks = self.sink.sync()
            logs = {"tables": counts, "sinks": sinks, "before_adapting": (self._before_adapting or {}).get("sinks")}
            state = self.state() | {"replay": replay, "logs": logs}
            files = [name for name in BESIDE if (self.run.path / name).exists()]
            beside = {"tables": counts, "metrics": sinks["jsonl"]["bytes"], "files": files, "record": self._record}
            path = self.checkpoints.save(state, self.step, self.updates + self.adapted, replay, beside)
            self._prune()
        return path

    def state(self) -> dict[str, Any]:
        """All that a resumed run needs, but for replay and logs."""
        return {
            "updates": self.updates,
            "adapted": self.adapted,
            "finished": self.finished,
            "seconds": self._seconds + time.monotonic() - self._since,
            "cpu_seconds": self._cpu + self._cpu_now() - self._cpu_since,
            "measuring_seconds": self.measuring.seconds,
            "evaluations": self.evaluate_clock.passed,
            "measuring": self.measuring.state_dict(),
            "agent": self.agent.state_dict(),
            "curriculum": self.curriculum.state_dict(),
            "collector": self.collector.state_dict(),
            "streams": self.streams.state_dict(),
            "means": self.means.state_dict(),
            "torch": torch_state(),
            "before_adapting": self._before_adapting and self._before_adapting["state"],
        }

    def resume(self) -> bool:
        """Go on from the newest whole checkpoint, if there is one; else clear what a run without one left.

        Returns:
            Whether there was one.

        Raises:
            UserError: there are checkpoints, and none is whole or fits. Damaged chunks of the replay are done without
                where no checkpoint is whole with all of its own; that is told and recorded.
            SaveFailed: what it computes with from now on cannot be recorded.
        """
        self.checkpoints.tidy()
        anyhow = functools.partial(self._restore, without_damaged=True)
        found = self.checkpoints.newest(self._restore, self.progress.note, anyhow)
        if found is None:
            refuse_rows_alone(self.run.path)
            self.store.clear()
            for table in self.tables.values():
                table.restore(0, -1)
            self.sink.restore({})
        elif self.run.growth:
            self.progress.note(told(self.run.growth, self.step, self._again, self._exact))
        elif not self.finished:
            self.progress.note(f"going on from step {self.step:,}, {self.updates:,} updates")
        if not self.finished or self.run.growth:
            self.run.going_on(self.step, self._exact)
        self._record = read_record(self.run.path)
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
        self.sink.close()
        self.progress.close()

    def _restore(self, state: dict[str, Any], without_damaged: bool = False) -> bool:
        check_fit(state["agent"], self.agent.state_dict(), "agent")
        finished, self._again = standing(state, self.config.train)
        length = 0 if finished else self.config.train.length
        lost = restore_replay(self.store, state["replay"], length, without_damaged, self.progress.note)
        if self._again:  # more is asked for than when they were trained
            state, self._exact = taken_back(state)
        self.updates, self.adapted, self.finished = state["updates"], state["adapted"], finished
        self._seconds, self._since = state["seconds"], time.monotonic()
        self._cpu, self._cpu_since = state.get("cpu_seconds", 0.0), self._cpu_now()
        self._logged = (self.updates + self.adapted, self._since)
        self.evaluate_clock.passed = state["evaluations"]
        if "measuring" in state:  # not in states of before there was any
            self.measuring.load_state_dict(state["measuring"])
            self.measuring.seconds = state["measuring_seconds"]
        self.agent.load_state_dict(state["agent"])
        if self._again:
            self.agent.forget_adaptation()
        self._before_adapting = kept_before_adapting(state)
        self.curriculum.load_state_dict(state["curriculum"])
        self.explorer = self.agent.explorer()
        self.collector.load_state_dict(state["collector"], self.explorer, self.progress.note)
        self.save_clock.mark(self.step)
        self.adapt_clock.mark(self.adapted)
        self.streams.load_state_dict(state["streams"])
        self.means.load_state_dict(state["means"])
        restore_logs(self.run.path, self.tables, self.sink, state["logs"], self.step, self.finished, self.progress.note)
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

    def _cpu_now(self) -> float:
        """Processor seconds of this process, of the environments' and of compilers that it called."""
        return processor_seconds() + self.collector.slots.cpu_seconds

    def _entries(self, metric: str) -> Sequence[str]:
        """What a metric's entries are called: tasks for reward heads and adapted policies, else the stack's members."""
        by_task = metric == "reward_loss" or metric.startswith("adapt/")
        return self.parts.family.spec.tasks if by_task else self.explorer.names

    def _episode(self, row: Row) -> None:
        with saving(f"episodes in {self.run.path}"):
            self.tables["episodes"].append([{**self.run.columns, "updates": self.updates, **row}])
        self.means.add({f"episode/{k}": row[k] for k in row if k == "length" or k.startswith("return_")})

    def _table(self, name: str, rows: Sequence[Row] | Columns) -> None:
        if name == "curriculum" and self._thin is not None and isinstance(rows, dict):
            rows = self._thin(rows)
        where = {**self.run.columns, "step": self.step, "updates": self.updates}
        with saving(f"rows of {name} in {self.run.path}"):
            self.tables[name].append(rows, where)

    def _log(self) -> None:
        now, done = time.monotonic(), self.updates + self.adapted
        means = self.means.take()
        speed = (done - self._logged[0]) / max(now - self._logged[1], 1e-9)
        times = {
            "time/seconds": self._seconds + now - self._since,
            "time/cpu_seconds": self._cpu + self._cpu_now() - self._cpu_since,
            "time/updates_per_second": speed,
        }
        if self.measuring.wanted is not None:
            times["time/measuring_cpu_seconds"] = self.measuring.seconds
        self._logged = (done, now)
        row = {"step": self.step, "updates": done, "replay/steps": len(self.replay), **means, **times}
        if told := self.not_finite.line(row):
            self.progress.note(told)
        with saving(f"metrics in {self.run.path}"):
            self.sink.write(row)
        self.progress.metrics(means)

    def _show(self, phase: str) -> None:
        theta = self.collector.theta if self.exploring else ()  # no episodes are played while policies are adapted
        shown = self.parts.family.space.format
        self.progress.update(self.step, self.updates + self.adapted, lambda: shown(theta) if len(theta) else "", phase)
