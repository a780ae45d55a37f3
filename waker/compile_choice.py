"""Whether compiling pays, told before a run starts: what it costs, what it saves, and from how many updates on.

Figures are this machine's own, from the records of earlier runs (:mod:`waker.compile_costs`). Where there are none of
eager updates, these are timed; where there are none of compiled ones, :data:`GAIN` and :data:`COLD_S` stand in.
``train.compile = "auto"`` follows what is found. Called where runs are put together.
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

from waker.agent import Agent
from waker.behaviour.adaptation import HEADS, POLICIES, TaskAdapter
from waker.clock import Ratio
from waker.compile_cache import CompileCache, compiler, graph_key, require_compiler
from waker.compile_costs import Costs
from waker.config import CompileSetting, Config
from waker.feed import Feed
from waker.spaces import EnvSpec

P = ParamSpec("P")
R = TypeVar("R")

GAIN = 1.25
"""Eager over compiled time of a part never compiled here; less than was measured at laptop size (README)."""
COLD_S = 0.11
"""Processor seconds of compiling an operation of a part never compiled here; more than was measured (README)."""
_PROBED, _PROBE_MS = 16, 2_000.0
"""Eager calls where no run has timed any: so many, or fewer where they have taken so long."""


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
    """One compiled function: what compiling it costs and what it saves.

    Attributes:
        calls: that the run makes.
        start: processor seconds until the first compiled call is over.
        eager, compiled: processor milliseconds of one call.
        cached: compiled before, so that it is loaded.
        recorded: ``start`` and ``compiled`` were measured here on this configuration.
    """

    name: str
    calls: int
    start: float
    eager: float
    compiled: float
    cached: bool
    recorded: bool

    @classmethod
    def of(cls, name: str, calls: int, known: Mapping[str, float]) -> Part:
        """From a record that has the eager figures at least: see :data:`waker.compile_costs.FIGURES`."""
        cold, eager = known.get("cold", COLD_S * known["operations"]), known["off"]
        cached = "cold" in known or "warm" in known
        # Loading traces the function again: less than a sixth of compiling it; noted as soon as it has been done once.
        start = known.get("warm", cold / 6.0) if cached else cold
        recorded = ("warm" in known if cached else "cold" in known) and "compile" in known
        return cls(name, calls, start, eager, known.get("compile", eager / GAIN), cached, recorded)


@dataclass(frozen=True)
class Forecast:
    """What compiling costs a run and saves it, in processor seconds."""

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
    def pays(self) -> bool:
        """Whether the run gains."""
        return self.saved > self.start

    @property
    def share(self) -> float:
        """How much longer the run would have to be to gain: 1 = as it is; infinite = however long, it does not."""
        return self.start / self.saved if self.saved > 0.0 else math.inf

    def __str__(self) -> str:
        about = "" if all(part.recorded for part in self.parts) else "about "
        doing = "loading compiled updates" if all(part.cached for part in self.parts) else "compiling"
        start = f"{doing} takes {about}{self.start:,.0f} s of processor time"
        each = ", ".join(f"{part.name} {part.compiled:.1f} instead of {part.eager:.1f} ms" for part in self.parts)
        saves = f"saves {about}{self.saved:,.0f} of {self.eager:,.0f} s ({each})"
        if self.share == math.inf:
            return f"{start} and saves nothing ({each})"
        pays = f"pays from {math.ceil(self.share * self.updates):,} updates on; these are {self.updates:,}"
        return f"{start}, {saves}: {pays}"


def forecast(known: Mapping[str, Mapping[str, float]], calls: Mapping[str, int]) -> Forecast | None:
    """From the records of a configuration; None where the eager time of a part is not known."""
    called = {name: n for name, n in calls.items() if n}
    if not called or any("off" not in known.get(name, {}) or "operations" not in known[name] for name in called):
        return None
    return Forecast([Part.of(name, n, known[name]) for name, n in called.items()])


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
        note: told later, when something is compiled or another process that compiles it is waited for.
        before: how the run that goes on was made so far: what ``auto`` stays with, so that it goes on bit for bit.
        tasks: those that policies are adapted for; None = the environment's.

    Raises:
        UserError: ``compile`` on a CPU, without a C++ compiler; or a cache folder that cannot be made.
    """
    asked = config.train.compile
    if asked == "off":
        return Compiling(config)
    choice = before if asked == "auto" and before is not None else asked
    if torch.device(config.device).type != "cpu" or choice in ("graphs", "reduce-overhead"):
        if choice == "auto":  # recording takes seconds and saves most of an update (results/gpu)
            told = "train.compile auto: graphs"
            return Compiling(_chosen(config, "graphs"), record={"asked": asked, "why": "CUDA"}, told=told)
        if choice in ("compile", "reduce-overhead"):
            CompileCache(config.train.compile_cache).use()
        return Compiling(_chosen(config, choice))
    if choice == "compile":
        require_compiler()
    elif choice == "auto" and compiler() is None:
        told = "train.compile auto: off, as there is no C++ compiler (g++, or what CXX names)"
        return Compiling(_chosen(config, "off"), record={"asked": asked, "why": "no C++ compiler"}, told=told)
    cache = CompileCache(config.train.compile_cache)
    cache.use()
    key = graph_key(spec, config, None if tasks is None else len(tasks))
    found = forecast(cache.costs(key), calls)
    if found is None and before is None:
        _time_eager(cache, key, spec, config, calls, tasks or spec.tasks)
        found = forecast(cache.costs(key), calls)
    if choice == "auto":
        choice = "compile" if found is not None and found.pays else "off"
    told = "" if found is None else str(found)
    if asked == "auto":
        told = f"{told}; train.compile auto: {'on' if choice == 'compile' else 'off'}".removeprefix("; ")
    mode: Literal["off", "compile"] = "compile" if choice == "compile" else "off"
    record = {"asked": asked, "start_s": found.start, "saves_s": found.saved} if found is not None else {"asked": asked}
    return Compiling(_chosen(config, mode), Costs(cache, key, mode, note), record, told)


def _chosen(config: Config, choice: CompileSetting) -> Config:
    return replace(config, train=replace(config.train, compile=choice))


class _Probe(Costs):
    """Notes the operations of an eager call, and the processor time of some of those after it."""

    def __init__(self, cache: CompileCache, key: str) -> None:
        super().__init__(cache, key, "off")
        self.spent: dict[str, list[float]] = {}

    def watched(self, part: str, function: Callable[P, R]) -> Callable[P, R]:
        """See :class:`Costs`."""
        from waker.bench.counting import OperationCounter

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
        """Make updates until the first, in which memory is fresh, are a small part of them; two where one is long."""
        update()
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
    from waker.bench.configs import synthetic_replay

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
