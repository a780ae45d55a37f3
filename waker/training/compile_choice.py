"""Whether compiling pays, told before a run starts: what it costs, what it saves, and from how many updates on.

Figures are this machine's own, from the records of earlier runs (:mod:`waker.machine.compile_costs`); what is not
recorded is said to be unknown. ``train.compile = "auto"`` follows them. Where there are none of eager updates it times
some; where there are none of compiled ones it guesses by :data:`GAIN` and :data:`COLD_S`, and says so. Called where
runs are put together.
"""

from __future__ import annotations

import math
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, replace
from typing import Any, Literal, ParamSpec, TypeVar

import numpy as np
import torch

from waker.agent.agent import Agent
from waker.agent.task_adapter import HEADS, POLICIES, TaskAdapter
from waker.config.schema import CompileSetting, Config
from waker.errors import UserError
from waker.machine.compile_cache import CompileCache, compiler, graph_key, require_compiler
from waker.machine.compile_costs import Costs
from waker.replay.feed import Feed
from waker.specs import EnvSpec
from waker.training.work_due import Ratio

P = ParamSpec("P")
R = TypeVar("R")

GAIN = 1.25
"""A guess: eager over compiled time of a part never compiled here; less than was measured at laptop size
(docs/cpu.md)."""
COLD_S = 0.11
"""A guess: processor seconds of compiling an operation of a part never compiled here; more than was measured at laptop
size (docs/cpu.md)."""
ELSEWHERE = "at laptop size on another machine it took 400 s of processor time and saved a quarter to half of an update"
"""What is told where nothing is recorded; the figures of docs/cpu.md."""
_PROBED, _PROBE_MS = 16, 2_000.0
"""Eager calls where no run has timed any: so many, or fewer where they have taken so long."""
_LONG_S = 5.0
"""Calls that take as long are timed once: what fresh memory costs is little of them, and somebody waits."""

_GRAPHS_ON_CPU = "train.compile graphs records on CUDA alone: on a CPU updates run operation by operation"


def run_calls(config: Config) -> dict[str, int]:
    """How often a whole run calls each part that is compiled."""
    train = config.train
    calls = {"update": Ratio(train.train_every, max(train.prefill, train.envs * train.length)).allowed(train.steps)}
    return calls | (adapt_calls(config, train.adapt_updates) if train.task_policies == "after" else {})


def adapt_calls(config: Config, updates: int) -> dict[str, int]:
    """How often adaptation calls each part that is compiled."""
    train = config.train
    policies = max(0, updates - train.adapt_heads) * train.adapt_repeats
    return {HEADS: updates, POLICIES: policies} if updates else {}


@dataclass(frozen=True)
class Part:
    """One compiled function: what compiling it costs and what it saves; NaN = unknown.

    Attributes:
        calls: that the run makes.
        start: processor seconds until the first compiled call is over.
        eager, compiled: processor milliseconds of one call.
        cached: compiled here before, so that it is loaded.
    """

    name: str
    calls: int
    start: float
    eager: float
    compiled: float
    cached: bool

    @classmethod
    def of(cls, name: str, calls: int, known: Mapping[str, float]) -> Part:
        """What is recorded here, and no more: see :data:`waker.machine.compile_costs.FIGURES`."""
        cached = not {"cold", "warm"}.isdisjoint(known)
        start, eager, compiled = (known.get(figure, math.nan) for figure in ("warm", "off", "compile"))
        return cls(name, calls, start, eager, compiled, cached)

    @classmethod
    def guessed(cls, name: str, calls: int, known: Mapping[str, float]) -> Part:
        """With a guess in place of what is not recorded; of eager calls there is none."""
        part = cls.of(name, calls, known)
        cold = COLD_S * known.get("operations", math.nan)
        # Loading traces the function again: less than a sixth of compiling it.
        start = known.get("warm", known["cold"] / 6.0 if "cold" in known else cold)
        return replace(part, start=start, compiled=known.get("compile", part.eager / GAIN))


@dataclass(frozen=True)
class Forecast:
    """What compiling costs a run and saves it, in processor seconds; NaN = unknown."""

    parts: Sequence[Part]

    @property
    def updates(self) -> int:
        """Of the run, those of adaptation included."""
        return sum(part.calls for part in self.parts if part.name != POLICIES)

    @property
    def start(self) -> float:
        """Until everything is compiled, or loaded."""
        return sum(part.start for part in self.parts)

    @property
    def eager(self) -> float:
        """Of the whole run's updates, not compiled."""
        return sum(1e-3 * part.calls * part.eager for part in self.parts)

    @property
    def saved(self) -> float:
        """What the run's updates take less, the start not counted."""
        return sum(1e-3 * part.calls * (part.eager - part.compiled) for part in self.parts)

    @property
    def known(self) -> bool:
        """Whether both what it costs and what it saves are."""
        return not math.isnan(self.start + self.saved)

    @property
    def pays(self) -> bool:
        """Whether the run gains; not where that is unknown."""
        return self.saved > self.start

    @property
    def share(self) -> float:
        """How much longer the run would have to be to gain: 1 = as it is; infinite = however long, it does not."""
        return self.start / self.saved if self.saved > 0.0 else math.inf

    def __str__(self) -> str:
        cached = all(part.cached for part in self.parts)
        doing = "loading compiled updates" if cached else "compiling"
        unknown = [math.isnan(self.start), math.isnan(self.saved)]
        elsewhere = "" if cached else f" ({ELSEWHERE})"
        if all(unknown):
            return f"what {doing} takes and saves is unknown here{elsewhere}{self._eagerly()}"
        start = f"{doing} takes {self.start:,.0f} s of processor time"
        if unknown[1]:
            return f"{start}, what it saves is unknown here{self._eagerly()}"
        each = ", ".join(f"{part.name} {part.compiled:.1f} instead of {part.eager:.1f} ms" for part in self.parts)
        saves = f"saves {self.saved:,.0f} of {self.eager:,.0f} s ({each})"
        if self.saved <= 0.0:
            saves = f"saves nothing ({each})"
        if unknown[0]:
            return f"what {doing} takes is unknown here{elsewhere}, it {saves}"
        if self.share == math.inf:
            return f"{start} and {saves}"
        pays = f"pays from {math.ceil(self.share * self.updates):,} updates on; these are {self.updates:,}"
        return f"{start}, {saves}: {pays}"

    def _eagerly(self) -> str:
        if math.isnan(self.eager):
            return ""
        each = ", ".join(f"{part.name} {part.eager:.1f} ms" for part in self.parts)
        return f"; without it updates take {self.eager:,.0f} s ({each})"


def forecast(known: Mapping[str, Mapping[str, float]], calls: Mapping[str, int], guess: bool = False) -> Forecast:
    """From the records of a configuration.

    Args:
        guess: fill in by :data:`GAIN` and :data:`COLD_S` what is not recorded: to decide by, not to be told.
    """
    part = Part.guessed if guess else Part.of
    return Forecast([part(name, n, known.get(name, {})) for name, n in calls.items() if n])


@dataclass(frozen=True)
class Compiling:
    """How a run's updates are made.

    Attributes:
        config: the run's, with ``train.compile`` decided.
        costs: notes what updates cost; None = nobody asked.
        record: how it was decided, for ``config.yaml``.
        told: what to tell before the run begins; empty = nothing.
    """

    config: Config
    costs: Costs | None = None
    record: Mapping[str, Any] | None = None
    told: str = ""


def decide(
    config: Config,
    spec: EnvSpec,
    calls: Mapping[str, int],
    note: Callable[[str], None],
    before: CompileSetting | None = None,
    tasks: tuple[str, ...] | None = None,
) -> Compiling:
    """Settle ``train.compile``, find what compiling costs, and let torch keep what it compiles in the cache.

    Args:
        calls: how often each part will be called.
        note: told before eager updates are timed; and later, when something is compiled or another process that
            compiles it is waited for.
        before: how the run that goes on was made so far: what ``auto`` stays with, so that it goes on bit for bit.
        tasks: those that policies are adapted for; None = the environment's.

    Raises:
        UserError: ``compile`` on a CPU, without a C++ compiler; ``reduce-overhead`` on a CPU; or a cache folder that
            cannot be made.
    """
    asked = config.train.compile
    if asked == "off":
        return Compiling(config)
    choice = before if asked == "auto" and before is not None else asked
    on_cpu = torch.device(config.device).type == "cpu"
    if on_cpu and choice == "reduce-overhead":
        raise UserError("train.compile 'reduce-overhead' is for CUDA; on a CPU choose 'compile', 'auto' or 'off'")
    if not on_cpu or choice == "graphs":
        if choice == "auto":  # recording takes seconds and saves most of an update (results/gpu)
            told = "train.compile auto: graphs"
            return Compiling(_chosen(config, "graphs"), record={"asked": asked, "why": "CUDA"}, told=told)
        if choice in ("compile", "reduce-overhead"):
            CompileCache(config.train.compile_cache).use()
        return Compiling(_chosen(config, choice), told=_GRAPHS_ON_CPU if on_cpu else "")
    if choice == "compile":
        require_compiler()
    elif choice == "auto" and compiler() is None:
        told = "train.compile auto: off, as there is no C++ compiler (g++, or what CXX names)"
        return Compiling(_chosen(config, "off"), record={"asked": asked, "why": "no C++ compiler"}, told=told)
    cache = CompileCache(config.train.compile_cache)
    cache.use()
    key = graph_key(spec, config, None if tasks is None else len(tasks))
    record: dict[str, Any] = {"asked": asked}
    if choice == "auto":
        if not forecast(cache.costs(key), calls, guess=True).known:
            note("train.compile auto: timing a few eager updates first")
            _time_eager(cache, key, spec, config, calls, tasks or spec.tasks)
        likely = forecast(cache.costs(key), calls, guess=True)
        choice = "compile" if likely.pays else "off"
        record |= {} if forecast(cache.costs(key), calls).known else {"guessed": _figures(likely)}
    found = forecast(cache.costs(key), calls)
    told = str(found) if found.parts else ""
    if asked == "auto":
        why = ", by a guess" if "guessed" in record else ", as it was begun" if before is not None else ""
        told = f"{told}; train.compile auto: {'on' if choice == 'compile' else 'off'}{why}".removeprefix("; ")
    mode: Literal["off", "compile"] = "compile" if choice == "compile" else "off"
    return Compiling(_chosen(config, mode), Costs(cache, key, mode, note), record | _figures(found), told)


def _figures(found: Forecast) -> dict[str, float]:
    """What is known of them, for a record."""
    figures = {"start_s": found.start, "saves_s": found.saved}
    return {name: value for name, value in figures.items() if not math.isnan(value)}


def _chosen(config: Config, choice: CompileSetting) -> Config:
    return replace(config, train=replace(config.train, compile=choice))


class _Probe(Costs):
    """Notes the operations of an eager call, and the processor time of some of those after it."""

    def __init__(self, cache: CompileCache, key: str) -> None:
        super().__init__(cache, key, "off")
        self.spent: dict[str, list[float]] = {}

    def watched(self, part: str, function: Callable[P, R]) -> Callable[P, R]:
        """See :class:`Costs`."""
        from waker.machine.operations import OperationCounter

        spent = self.spent.setdefault(part, [])

        def call(*args: P.args, **kwargs: P.kwargs) -> R:
            began = time.process_time()
            counter = nullcontext() if spent else OperationCounter()
            with counter:
                result = function(*args, **kwargs)
            spent.append(1e3 * (time.process_time() - began))
            if isinstance(counter, OperationCounter):
                self.cache.record(self.key, part, {"operations": counter.operations})
            return result

        return call

    def probe(self, parts: Sequence[str], update: Callable[[], object]) -> None:
        """Make updates until the first, in which memory is fresh, are a small part of them; one where it is long."""
        update()
        if sum(sum(self.spent[part]) for part in parts) < 1e3 * _LONG_S:
            while any(sum(self.spent[part]) < _PROBE_MS and len(self.spent[part]) < _PROBED for part in parts):
                update()
            update()
        for part in parts:
            spent = self.spent[part]
            self.cache.record(self.key, part, {"off": statistics.median(spent[len(spent) // 2 :])})


def _time_eager(
    cache: CompileCache, key: str, spec: EnvSpec, config: Config, calls: Mapping[str, int], tasks: tuple[str, ...]
) -> None:
    """Note what eager updates of arbitrary data cost; every random stream is left as it was."""
    from waker.collection.synthetic import synthetic_replay

    config = _chosen(config, "off")
    config = replace(config, train=replace(config.train, adapt_heads=0, adapt_repeats=1))
    train, probe = config.train, _Probe(cache, key)
    replay = synthetic_replay(spec, 2, 4 * train.length, 1)
    with torch.random.fork_rng(devices=[]):
        agent = Agent(spec, config, costs=probe)
        if calls.get("update"):
            feed = Feed(replay, np.random.default_rng(0), train.batch, train.length, config.device)
            probe.probe(["update"], lambda: agent.update(feed.next()))
        if calls.get(HEADS):
            adapter = TaskAdapter(agent.model, spec, config, tasks, costs=probe)
            feed = Feed(replay, np.random.default_rng(0), train.adapt_batch, train.length, config.device)
            rewards = torch.zeros(train.adapt_batch, train.length, len(tasks), device=config.device)
            probe.probe([HEADS, POLICIES], lambda: adapter.update({**feed.next(), "task_rewards": rewards}))
